//! The thread pool, as the codec wants it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use unweight_cpu::{Executor, Serial, free_thread_buffers};

/// Works on a few chunks per thread at a time, while the caller's thread takes what is done.
#[derive(Debug)]
pub(crate) struct Parallel {
    pool: ThreadPool,
}

/// Chunks of one task: to hand a task to a thread and its results back costs some 3 us, a chunk 4 to 40.
const ITEMS_PER_TASK: u64 = 8;
/// Tasks in flight per thread: enough that threads seldom wait for the one that is to be handed over next.
const TASKS_PER_THREAD: u64 = 3;

impl Parallel {
    pub(crate) fn new(threads: usize) -> Result<Parallel, rayon::ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok(Parallel { pool })
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// For work that is not in order.
    pub(crate) fn scope<'s>(&self, work: impl FnOnce(&rayon::Scope<'s>) + Send) {
        self.pool.scope(work);
    }
}

impl Executor for Parallel {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        in_order_on(&self.pool, Share::of(&self.pool), items, work, then)
    }

    fn at_most(&self, items: u64) -> impl Executor {
        Bounded {
            pool: &self.pool,
            at_most: items.max(1),
        }
    }
}

/// The same pool where there is memory for so many items only.
#[derive(Debug)]
struct Bounded<'p> {
    pool: &'p ThreadPool,
    at_most: u64,
}

impl Executor for Bounded<'_> {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let threads = self.pool.current_num_threads() as u64;
        if self.at_most >= threads {
            let share = Share::of(self.pool).at_most(self.at_most, threads);
            return in_order_on(self.pool, share, items, work, then);
        }
        // Threads keep their buffers: those of the pool would take turns, and in the end all of them would have some. Only a
        // budget that was asked for is so small.
        self.pool.broadcast(|_| free_thread_buffers());
        if self.at_most == 1 {
            return Serial.in_order(items, work, then);
        }
        let fewer = ThreadPoolBuilder::new().num_threads(self.at_most as usize);
        match fewer.build() {
            Ok(pool) => {
                let share = Share::of(&pool).at_most(self.at_most, self.at_most);
                in_order_on(&pool, share, items, work, then)
            }
            Err(_) => Serial.in_order(items, work, then),
        }
    }

    fn at_most(&self, items: u64) -> impl Executor {
        Bounded {
            pool: self.pool,
            at_most: items.clamp(1, self.at_most),
        }
    }
}

/// How work is cut.
#[derive(Clone, Copy, Debug)]
struct Share {
    items_per_task: u64,
    tasks_in_flight: u64,
}

impl Share {
    fn of(pool: &ThreadPool) -> Share {
        Share {
            items_per_task: ITEMS_PER_TASK,
            tasks_in_flight: TASKS_PER_THREAD * pool.current_num_threads() as u64,
        }
    }

    /// No more than `items` in flight: shorter tasks first, so that every thread has one.
    fn at_most(self, items: u64, threads: u64) -> Share {
        let items_per_task = (items / threads).clamp(1, self.items_per_task);
        Share {
            items_per_task,
            tasks_in_flight: (items / items_per_task).clamp(1, self.tasks_in_flight),
        }
    }
}

fn in_order_on<T: Send, E: Send>(
    pool: &ThreadPool,
    share: Share,
    items: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    mut then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    // One thread is one thread: not a second one that takes what the first has done.
    if pool.current_num_threads() == 1 || items <= 1 {
        return Serial.in_order(items, work, then);
    }
    let tasks = items.div_ceil(share.items_per_task);
    let (work, stop) = (&work, &AtomicBool::new(false));
    pool.in_place_scope(|scope| {
        let (sender, results) = mpsc::channel();
        let begin = |task: u64| {
            let sender = sender.clone();
            let first = task * share.items_per_task;
            scope.spawn(move |_| {
                if !stop.load(Ordering::Relaxed) {
                    let of_task = first..items.min(first + share.items_per_task);
                    // A panic is handed over too: the other side would wait for ever.
                    let done = catch_unwind(AssertUnwindSafe(|| {
                        of_task.map(work).collect::<Vec<Result<T, E>>>()
                    }));
                    // Nobody listens any more after an error.
                    let _ = sender.send((task, done));
                }
            });
        };
        let mut begun = tasks.min(share.tasks_in_flight);
        (0..begun).for_each(begin);
        let mut waiting = BTreeMap::new();
        for next in 0..tasks {
            let done = loop {
                if let Some(done) = waiting.remove(&next) {
                    break done;
                }
                let (task, done) = results.recv().expect("task `next` is in flight");
                waiting.insert(task, done);
            };
            for result in done.unwrap_or_else(|panic| {
                stop.store(true, Ordering::Relaxed);
                resume_unwind(panic)
            }) {
                if let Err(error) = result.and_then(&mut then) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            if begun < tasks {
                begin(begun);
                begun += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
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
