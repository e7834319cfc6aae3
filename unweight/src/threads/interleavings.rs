//! The task queue under loom, which runs a test once for each order in which the threads can take
//! turns, up to a number of preemptions. It finds deadlocks, lost wake-ups and items out of order.
//!
//! The code is that of `tasks.rs`, compiled again with loom's locks and threads. The threads of
//! `parallel` are rayon's, which loom does not know. loom's waits neither time out nor end early.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::spawn;

use super::executor;

mod sync {
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(super) use loom::thread::{ThreadId, current};
}

#[expect(
    dead_code,
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the file is compiled again, and the functions around the queue need an executor"
)]
#[path = "tasks.rs"]
mod tasks;

use tasks::{Share, Stages, Tasks};

/// The most items of a case.
const MOST_ITEMS: usize = 4;

/// What happens to an item instead of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    WorkFails(u64),
    WorkPanics(u64),
    ThenFails(u64),
    ThenPanics(u64),
    FinishFails(u64),
    FinishPanics(u64),
}

impl Fault {
    /// Fails or panics, if `at` is this fault's place.
    fn strike(self, fails: Fault, panics: Fault, item: u64) -> Result<(), u64> {
        match self {
            fault if fault == fails => Err(item),
            fault if fault == panics => panic!("item {item}"),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    helpers: usize,
    items: u64,
    items_per_task: u64,
    tasks_in_flight: u64,
    finishes: bool,
    fault: Fault,
}

impl Case {
    /// Runs the case in every order with at most this many preemptions.
    fn check(self, preemptions: usize) {
        let mut model = Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || self.run());
    }

    fn run(self) {
        let counts = || Arc::new([const { std::sync::atomic::AtomicU8::new(0) }; MOST_ITEMS]);
        let (worked, finished) = (counts(), counts());
        let held = Arc::new(AtomicUsize::new(0));
        let Case { fault, .. } = self;
        let most = (self.tasks_in_flight * self.items_per_task) as usize;
        let count = |counts: &[std::sync::atomic::AtomicU8; MOST_ITEMS], item: u64| {
            counts[item as usize].fetch_add(1, Ordering::Relaxed)
        };
        let work = {
            let (worked, held) = (worked.clone(), held.clone());
            move |item| {
                assert!(held.fetch_add(1, Ordering::Relaxed) < most, "{self:?}");
                assert_eq!(count(&worked, item), 0, "{self:?}");
                fault.strike(Fault::WorkFails(item), Fault::WorkPanics(item), item)?;
                Ok(item)
            }
        };
        let finish = {
            let (finished, held) = (finished.clone(), held.clone());
            move |item| {
                held.fetch_sub(1, Ordering::Relaxed);
                assert_eq!(count(&finished, item), 0, "{self:?}");
                fault.strike(Fault::FinishFails(item), Fault::FinishPanics(item), item)
            }
        };
        let share = Share {
            items_per_task: self.items_per_task,
            tasks_in_flight: self.tasks_in_flight,
        };
        let stages = Stages {
            work,
            finish: self.finishes.then_some(finish),
        };
        let tasks = Arc::new(Tasks::new(share, self.items, stages));
        let helpers: Vec<_> = (0..self.helpers)
            .map(|_| {
                let tasks = tasks.clone();
                spawn(move || tasks.help())
            })
            .collect();
        let mut taken = 0;
        let then = |item| {
            assert_eq!(item, taken, "{self:?}");
            taken += 1;
            if !self.finishes {
                held.fetch_sub(1, Ordering::Relaxed);
            }
            fault.strike(Fault::ThenFails(item), Fault::ThenPanics(item), item)?;
            Ok(item)
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| tasks.lead(then)));
        for helper in helpers {
            helper.join().unwrap();
        }
        self.require_outcome(outcome.map_err(|_| ()), taken);
        if fault == Fault::None {
            let done = |counts: &[std::sync::atomic::AtomicU8; MOST_ITEMS]| {
                let all = counts[..self.items as usize].iter();
                all.map(|count| u64::from(count.load(Ordering::Relaxed)))
                    .sum::<u64>()
            };
            let finishes = if self.finishes { self.items } else { 0 };
            assert_eq!(
                (done(&worked), done(&finished)),
                (self.items, finishes),
                "{self:?}"
            );
        }
    }

    /// The outcome is that of the fault, and no item behind it was taken.
    fn require_outcome(self, outcome: Result<Result<(), u64>, ()>, taken: u64) {
        let (expected, least_taken) = match self.fault {
            Fault::None => (Ok(Ok(())), self.items),
            Fault::WorkFails(item) => (Ok(Err(item)), item),
            Fault::WorkPanics(item) => (Err(()), item / self.items_per_task * self.items_per_task),
            Fault::ThenFails(item) => (Ok(Err(item)), item + 1),
            Fault::ThenPanics(item) => (Err(()), item + 1),
            Fault::FinishFails(item) => (Ok(Err(item)), item + 1),
            Fault::FinishPanics(item) => (Err(()), item + 1),
        };
        assert_eq!(outcome, expected, "{self:?}");
        match self.fault {
            // Later tasks may be taken before the failure is seen.
            Fault::FinishFails(_) | Fault::FinishPanics(_) => assert!(taken >= least_taken),
            _ => assert_eq!(taken, least_taken, "{self:?}"),
        }
    }
}

const SUCCESS: Case = Case {
    helpers: 1,
    items: 3,
    items_per_task: 1,
    tasks_in_flight: 2,
    finishes: true,
    fault: Fault::None,
};

#[test]
fn every_order_of_two_threads_works_on_each_item_once() {
    for finishes in [false, true] {
        for tasks_in_flight in 1..=3 {
            for (items, items_per_task) in [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2)] {
                let case = Case {
                    items,
                    items_per_task,
                    tasks_in_flight,
                    finishes,
                    ..SUCCESS
                };
                case.check(3);
            }
        }
    }
}

#[test]
fn every_order_of_three_threads_works_on_each_item_once() {
    for finishes in [false, true] {
        for tasks_in_flight in 1..=3 {
            Case {
                helpers: 2,
                tasks_in_flight,
                finishes,
                ..SUCCESS
            }
            .check(2);
        }
    }
}

#[test]
fn every_order_ends_with_the_first_error_or_panic() {
    let faults = [
        Fault::WorkFails,
        Fault::WorkPanics,
        Fault::ThenFails,
        Fault::ThenPanics,
        Fault::FinishFails,
        Fault::FinishPanics,
    ];
    for fault in faults {
        for item in 0..SUCCESS.items {
            for items_per_task in [1, 2] {
                let fault = fault(item);
                Case {
                    fault,
                    items_per_task,
                    ..SUCCESS
                }
                .check(3);
                Case {
                    fault,
                    items_per_task,
                    helpers: 2,
                    ..SUCCESS
                }
                .check(1);
            }
        }
    }
}
