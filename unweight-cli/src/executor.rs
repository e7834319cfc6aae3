//! The thread pool, as the codec wants it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use unweight_cpu::{Executor, Serial};

/// Works on a few chunks per thread at a time, while the caller's thread takes what is done.
#[derive(Debug)]
pub(crate) struct Parallel {
    pool: rayon::ThreadPool,
}

/// Chunks of one task: to hand a task to a thread and its results back costs some 3 us, a chunk 4 to 40.
const ITEMS_PER_TASK: u64 = 8;
/// Tasks in flight per thread: enough that threads seldom wait for the one that is to be handed over next.
const TASKS_PER_THREAD: u64 = 3;

impl Parallel {
    pub(crate) fn new(threads: usize) -> Result<Parallel, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
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
        mut then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        // One thread is one thread: not a second one that takes what the first has done.
        if self.pool.current_num_threads() == 1 || items <= 1 {
            return Serial.in_order(items, work, then);
        }
        let tasks = items.div_ceil(ITEMS_PER_TASK);
        let in_flight = TASKS_PER_THREAD * self.pool.current_num_threads() as u64;
        let (work, stop) = (&work, &AtomicBool::new(false));
        self.pool.in_place_scope(|scope| {
            let (sender, results) = mpsc::channel();
            let begin = |task: u64| {
                let sender = sender.clone();
                let first = task * ITEMS_PER_TASK;
                scope.spawn(move |_| {
                    if !stop.load(Ordering::Relaxed) {
                        let of_task = first..items.min(first + ITEMS_PER_TASK);
                        // A panic is handed over too: the other side would wait for ever.
                        let done = catch_unwind(AssertUnwindSafe(|| {
                            of_task.map(work).collect::<Vec<Result<T, E>>>()
                        }));
                        // Nobody listens any more after an error.
                        let _ = sender.send((task, done));
                    }
                });
            };
            let mut begun = tasks.min(in_flight);
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

    #[test]
    fn never_holds_more_than_a_few_items_a_thread() {
        let parallel = Parallel::new(2).unwrap();
        let begun = std::sync::atomic::AtomicU64::new(0);
        let mut taken = 0;
        let work = |item| Ok::<_, ()>((begun.fetch_add(1, Ordering::SeqCst), item));
        let all = parallel.in_order(1000, work, |_| {
            assert!(begun.load(Ordering::SeqCst) <= taken + 2 * TASKS_PER_THREAD * ITEMS_PER_TASK);
            taken += 1;
            Ok(())
        });
        assert_eq!(all, Ok(()));
    }
}
