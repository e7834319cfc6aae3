//! The thread pool, as the codec wants it.

use rayon::{ThreadPool, ThreadPoolBuilder};
use unweight_cpu::{Executor, Serial, free_thread_buffers};

use crate::tasks::{Share, in_order_on};

/// Works on a few chunks per thread at a time. The caller's thread is one of them and takes what is done in between: a thread
/// more than there are processors, that wakes whenever something is done, costs the others their processor and their cache.
#[derive(Debug)]
pub(crate) struct Parallel {
    /// All threads but the caller's. None where that is all.
    helpers: Option<ThreadPool>,
}

/// Chunks of one task: a chunk takes 4 to 40 us, and what a task needs from another processor some tenths of one.
const ITEMS_PER_TASK: u64 = 8;
/// Tasks in flight per thread: enough that threads seldom wait for the one that is to be handed over next.
const TASKS_PER_THREAD: u64 = 3;

impl Parallel {
    pub(crate) fn new(threads: usize) -> Result<Parallel, rayon::ThreadPoolBuildError> {
        let helpers = match threads {
            0 | 1 => None,
            _ => Some(helpers(threads)?),
        };
        Ok(Parallel { helpers })
    }

    /// The caller's included.
    pub(crate) fn threads(&self) -> usize {
        1 + self.helpers().map_or(0, ThreadPool::current_num_threads)
    }

    /// All threads but the caller's, for work that is not in order.
    pub(crate) fn helpers(&self) -> Option<&ThreadPool> {
        self.helpers.as_ref()
    }
}

/// For so many threads with the caller's.
fn helpers(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(threads - 1).build()
}

impl Executor for Parallel {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        in_order(self.helpers(), items, u64::MAX, work, then)
    }

    fn at_most(&self, items: u64) -> impl Executor {
        Bounded {
            of: self,
            at_most: items.max(1),
        }
    }
}

/// The same threads where there is memory for so many items only.
#[derive(Debug)]
struct Bounded<'p> {
    of: &'p Parallel,
    at_most: u64,
}

impl Executor for Bounded<'_> {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let at_most = self.at_most;
        match self.of.helpers() {
            Some(pool) if at_most < self.of.threads() as u64 => {
                // Threads keep their buffers: those of the pool would take turns, and in the end all of them would have some. Only a
                // budget that was asked for is so small.
                pool.broadcast(|_| free_thread_buffers());
                let fewer = (at_most > 1).then(|| helpers(at_most as usize).ok());
                in_order(fewer.flatten().as_ref(), items, at_most, work, then)
            }
            helpers => in_order(helpers, items, at_most, work, then),
        }
    }

    fn at_most(&self, items: u64) -> impl Executor {
        Bounded {
            of: self.of,
            at_most: items.clamp(1, self.at_most),
        }
    }
}

/// With at most so many items begun and not yet taken, one for each thread at least.
fn in_order<T: Send, E: Send>(
    helpers: Option<&ThreadPool>,
    items: u64,
    at_most: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let Some(helpers) = helpers else {
        return Serial.in_order(items, work, then);
    };
    let threads = 1 + helpers.current_num_threads() as u64;
    // Where there is little room, shorter tasks first, so that every thread has one.
    let items_per_task = (at_most / threads).clamp(1, ITEMS_PER_TASK);
    if items <= items_per_task {
        return Serial.in_order(items, work, then);
    }
    let share = Share {
        items_per_task,
        tasks_in_flight: (at_most / items_per_task).clamp(1, TASKS_PER_THREAD * threads),
    };
    in_order_on(helpers, share, items, work, then)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    #[should_panic = "item 9"]
    fn a_panic_in_the_work_does_not_hang() {
        let work = |item| match item {
            9 => panic!("item 9"),
            _ => Ok::<_, ()>(item),
        };
        let _ = Parallel::new(2).unwrap().in_order(100, work, |_| Ok(()));
    }

    #[test]
    #[should_panic = "item 9"]
    fn a_panic_of_the_consumer_does_not_hang() {
        let parallel = Parallel::new(3).unwrap();
        let _ = parallel.in_order(1000, Ok::<_, ()>, |item| match item {
            9 => panic!("item 9"),
            _ => Ok(()),
        });
    }

    #[test]
    fn hands_over_in_order_and_stops_at_the_first_error() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads).unwrap();
            let mut seen = Vec::new();
            let all = parallel.in_order(1000, Ok::<_, u64>, |item| {
                seen.push(item);
                Ok(())
            });
            assert_eq!(all, Ok(()));
            assert_eq!(seen, (0..1000).collect::<Vec<_>>());

            let work = |item| if item % 40 == 39 { Err(item) } else { Ok(item) };
            let mut last = None;
            let stopped = parallel.in_order(100, work, |item| {
                last = Some(item);
                Ok(())
            });
            assert_eq!((stopped, last), (Err(39), Some(38)));
        }
    }

    /// Runs 1000 items, of which `most` at a time are begun and not yet taken.
    fn holds(executor: &impl Executor, most: u64) {
        let begun = std::sync::atomic::AtomicU64::new(0);
        let mut taken = 0;
        let work = |item| Ok::<_, ()>((begun.fetch_add(1, Ordering::SeqCst), item));
        let all = executor.in_order(1000, work, |(_, item)| {
            assert_eq!(item, taken);
            assert!(begun.load(Ordering::SeqCst) <= taken + most, "{most}");
            taken += 1;
            Ok(())
        });
        assert_eq!((all, taken), (Ok(()), 1000));
    }

    #[test]
    fn never_holds_more_than_a_few_items_a_thread() {
        holds(
            &Parallel::new(2).unwrap(),
            2 * TASKS_PER_THREAD * ITEMS_PER_TASK,
        );
    }

    #[test]
    fn never_holds_more_items_than_there_is_memory_for() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads).unwrap();
            for most in [1, 2, 3, 4, 5, 7, 8, 9, 20, 100, u64::MAX] {
                let bounded = parallel.at_most(most);
                holds(&bounded, most.min(1000));
                // What has been bounded stays so.
                holds(&bounded.at_most(u64::MAX), most.min(1000));
                holds(&bounded.at_most(3), most.min(3));
            }
        }
    }

    #[test]
    fn never_works_on_more_threads_than_there_is_memory_for() {
        let parallel = Parallel::new(4).unwrap();
        let threads = std::sync::Mutex::new(std::collections::HashSet::new());
        let work = |_| {
            threads.lock().unwrap().insert(std::thread::current().id());
            Ok::<_, ()>(())
        };
        parallel.at_most(2).in_order(1000, work, Ok).unwrap();
        assert!(threads.lock().unwrap().len() <= 2);
    }
}
