//! The thread pool, as the codec wants it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use unweight_cpu::{Executor, Serial};

/// Works on a few chunks per thread at a time, while the caller's thread takes what is done.
#[derive(Debug)]
pub(crate) struct Parallel {
    pool: rayon::ThreadPool,
}

/// Chunks in flight per thread: enough that threads seldom wait for the one that is to be handed over next.
const ITEMS_PER_THREAD: u64 = 16;

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
        let in_flight = ITEMS_PER_THREAD * self.pool.current_num_threads() as u64;
        let (work, stop) = (&work, &AtomicBool::new(false));
        self.pool.in_place_scope(|scope| {
            let (sender, results) = mpsc::channel();
            let begin = |item: u64| {
                let sender = sender.clone();
                scope.spawn(move |_| {
                    if !stop.load(Ordering::Relaxed) {
                        // Nobody listens any more after an error.
                        let _ = sender.send((item, work(item)));
                    }
                });
            };
            let mut begun = items.min(in_flight);
            (0..begun).for_each(begin);
            let mut done = BTreeMap::new();
            for next in 0..items {
                let result = loop {
                    if let Some(result) = done.remove(&next) {
                        break result;
                    }
                    let (item, result) = results.recv().expect("item `next` is in flight");
                    done.insert(item, result);
                };
                if let Err(error) = result.and_then(&mut then) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                if begun < items {
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
            assert!(begun.load(Ordering::SeqCst) <= taken + 2 * ITEMS_PER_THREAD);
            taken += 1;
            Ok(())
        });
        assert_eq!(all, Ok(()));
    }
}
