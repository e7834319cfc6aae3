//! Thread pool for the chunks of a tensor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::{fmt, io};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::Refused;
use super::executor::{Executor, Job};

/// An executor that gives each thread a few chunks at a time. The caller's thread also works, and
/// takes results between its tasks. A separate thread for taking results would exceed the number of
/// processors, and its wake-ups would cost the others processor time and cache.
///
/// Threads start when there is work, and are never more than the tasks.
#[derive(Debug)]
pub(super) struct Parallel {
    /// The most threads that work, including the caller's.
    threads: usize,
    on_refused: Option<OnRefused>,
    helpers: Mutex<Helpers>,
}

/// Callback for the case that fewer threads could be started than requested.
pub(super) struct OnRefused(pub(super) Box<dyn Fn(&Refused) + Send + Sync>);

impl fmt::Debug for OnRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRefused")
    }
}

/// All threads except the caller's.
#[derive(Debug)]
struct Helpers {
    /// The threads that have been started.
    pool: Option<Arc<Pool>>,
    /// The known limit of the system on the number of helpers.
    most: usize,
}

/// A pool of started threads. Dropping it waits until the threads have ended and freed their
/// buffers.
#[derive(Debug)]
pub(super) struct Pool {
    /// None only during the drop.
    threads: Option<ThreadPool>,
    handles: Vec<JoinHandle<()>>,
    /// The number of threads that help an operation.
    busy: AtomicUsize,
}

/// A thread of a pool that helps an operation, from before it begins.
#[derive(Debug)]
struct Busy<'p>(&'p AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Parallel {
    /// An executor with at most this many threads, including the caller's. If the system allows
    /// fewer, those do the work.
    pub(super) fn new(threads: usize, on_refused: Option<OnRefused>) -> Parallel {
        let most = threads.saturating_sub(1);
        Parallel {
            threads: most + 1,
            on_refused,
            helpers: Mutex::new(Helpers { pool: None, most }),
        }
    }

    /// Returns a pool of at least `wanted` threads if the system allows that many, and of at most
    /// `allowed`. None if there are no threads, or if the caller's thread is one of them.
    fn helpers(&self, wanted: usize, allowed: usize) -> Option<Arc<Pool>> {
        let mut helpers = self.lock();
        if helpers.pool.as_ref().is_some_and(|pool| pool.has_caller()) {
            // The wait for helpers might begin to help the outer operation, which waits for this
            // one.
            return None;
        }
        let wanted = wanted.min(helpers.most).min(allowed);
        let running = helpers.running();
        if (wanted..=allowed).contains(&running) {
            return helpers.pool.clone();
        }
        // Idle threads keep the memory of their allocator, and there may be no memory for more
        // threads than allowed.
        drop(helpers.pool.take());
        // The number doubles, so that a file with growing tensors does not start new threads for
        // each of them.
        let most = helpers.most.min(allowed);
        let threads = wanted.max(2 * running).min(most);
        let refused = helpers.start(threads, self.on_refused.is_some());
        let pool = helpers.pool.clone();
        // The callback may use these threads.
        drop(helpers);
        if let (Some(refused), Some(OnRefused(callback))) = (refused, &self.on_refused) {
            callback(&refused);
        }
        pool
    }

    fn lock(&self) -> MutexGuard<'_, Helpers> {
        // The state is never half changed while the lock is held.
        self.helpers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Helpers {
    fn running(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.handles.len())
    }

    /// Starts this many threads. If the system refuses some, starts half of those that it allowed.
    /// The memory of the other half is left for the work. Returns what was refused.
    fn start(&mut self, threads: usize, checks_memory: bool) -> Option<Refused> {
        let mut attempt = threads;
        let mut refused = None;
        while attempt > 0 {
            match Pool::start(attempt, checks_memory) {
                Ok(pool) => {
                    self.pool = Some(Arc::new(pool));
                    break;
                }
                Err((error, started)) => {
                    refused.get_or_insert(error);
                    attempt = started / 2;
                }
            }
        }
        let error = refused?;
        self.most = attempt;
        Some(Refused {
            wanted: threads + 1,
            left: attempt + 1,
            error: io::Error::other(error),
        })
    }
}

impl Pool {
    /// Starts this many threads. On an error all started threads have ended, and the error has
    /// their number. With `checks_memory` a thread for whose work no memory is left is not started.
    fn start(threads: usize, checks_memory: bool) -> Result<Pool, (ThreadPoolBuildError, usize)> {
        let mut handles = Vec::with_capacity(threads);
        let built = ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| {
                if checks_memory {
                    require_memory()?;
                }
                handles.push(Builder::new().spawn(|| thread.run())?);
                Ok(())
            })
            .build();
        match built {
            Ok(threads) => Ok(Pool {
                threads: Some(threads),
                handles,
                busy: AtomicUsize::new(0),
            }),
            Err(error) => {
                let started = handles.len();
                join(handles);
                Err((error, started))
            }
        }
    }

    fn threads(&self) -> &ThreadPool {
        self.threads.as_ref().expect("it is dropped with the pool")
    }

    /// Whether the caller's thread is one of the pool.
    fn has_caller(&self) -> bool {
        self.threads().current_thread_index().is_some()
    }

    /// Takes a thread that helps no operation. None if there is none.
    fn idle(&self) -> Option<Busy<'_>> {
        let all = self.handles.len();
        let taken = self
            .busy
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
                (busy < all).then_some(busy + 1)
            });
        taken.is_ok().then(|| Busy(&self.busy))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.threads.take());
        join(std::mem::take(&mut self.handles));
    }
}

/// Checks that memory is left for the work of another thread. A later allocation failure in that
/// thread would abort the program.
fn require_memory() -> io::Result<()> {
    /// An upper bound for a stack, the buffers of a chunk and the reserve of an allocator for a
    /// thread.
    const BYTES: usize = 80 << 20;
    let mut reserve = Vec::<u8>::new();
    let reserved = reserve.try_reserve_exact(BYTES);
    // Optimization barrier: the compiler might otherwise remove the allocation.
    std::hint::black_box(&mut reserve);
    reserved.map_err(|_| io::ErrorKind::OutOfMemory.into())
}

fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        // Panics of the work have already been passed on with the tasks. Other panics are ignored.
        let _ = handle.join();
    }
}

impl Executor for Parallel {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut()) {
        let wanted = job.helpers();
        // This call is needed even if no helper is wanted: it stops the threads that are not
        // allowed.
        let helpers = self.helpers(wanted, job.most_helpers());
        let Some(helpers) = helpers.filter(|_| wanted > 0) else {
            return lead();
        };
        // The end of the scope waits for every helper. One that could not begin before another
        // operation ends would wait forever if that operation waits for this one: if this one was
        // called in a callback of the other, for example.
        let idle: Vec<Busy<'_>> = std::iter::from_fn(|| helpers.idle()).take(wanted).collect();
        if idle.is_empty() {
            return lead();
        }
        helpers.threads().in_place_scope(|scope| {
            for busy in idle {
                scope.spawn(move |_| {
                    job.help();
                    drop(busy);
                });
            }
            lead();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tasks::{Items, TASKS_PER_THREAD, in_order_and_finish, run};
    use super::*;
    use crate::ReadError;
    use std::collections::HashSet;
    use std::sync::atomic::AtomicU64;

    /// Runs this many items on these threads.
    fn in_order<T: Send, E: Send>(
        executor: &dyn Executor,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        run(executor, Items::new(items), work, then).unwrap()
    }

    #[test]
    #[should_panic = "item 9"]
    fn a_panic_in_the_work_does_not_hang() {
        let work = |item| match item {
            9 => panic!("item 9"),
            _ => Ok::<_, ()>(item),
        };
        let _ = in_order(&Parallel::new(2, None), 100, work, |_| Ok(()));
    }

    #[test]
    #[should_panic = "item 9"]
    fn a_panic_of_the_consumer_does_not_hang() {
        let parallel = Parallel::new(3, None);
        let _ = in_order(&parallel, 1000, Ok::<_, ()>, |item| match item {
            9 => panic!("item 9"),
            _ => Ok(()),
        });
    }

    #[test]
    fn an_operation_within_another_one_on_the_same_threads_does_not_hang() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads, None);
            let inner = |item: u64| match item % 100 {
                50 => in_order(&parallel, 1000, Ok::<_, ()>, |_| Ok(())),
                _ => Ok(()),
            };
            let mut taken = 0;
            let outer = in_order(
                &parallel,
                1000,
                |item| inner(item).map(|()| item),
                |item| {
                    taken += 1;
                    inner(item)
                },
            );
            assert_eq!((outer, taken), (Ok(()), 1000));
        }
    }

    #[test]
    fn an_operation_does_not_wait_for_threads_of_another_one() {
        let parallel = Parallel::new(3, None);
        let outer = in_order(&parallel, 1000, Ok::<_, ()>, |item| {
            std::thread::scope(|scope| {
                let other = || in_order(&parallel, 100, Ok::<_, ()>, |_| Ok(()));
                match item {
                    50 => scope.spawn(other).join().unwrap(),
                    _ => Ok(()),
                }
            })
        });
        assert_eq!(outer, Ok(()));
    }

    #[test]
    fn hands_over_in_order_and_stops_at_the_first_error() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads, None);
            let mut seen = Vec::new();
            let all = in_order(&parallel, 1000, Ok::<_, u64>, |item| {
                seen.push(item);
                Ok(())
            });
            assert_eq!(all, Ok(()));
            assert_eq!(seen, (0..1000).collect::<Vec<_>>());

            let work = |item| if item % 40 == 39 { Err(item) } else { Ok(item) };
            let mut last = None;
            let stopped = in_order(&parallel, 100, work, |item| {
                last = Some(item);
                Ok(())
            });
            assert_eq!((stopped, last), (Err(39), Some(38)));
        }
    }

    /// Runs 1000 items, with at most `most` begun and not yet taken at a time.
    fn holds(parallel: &Parallel, items: Items, most: u64) {
        let begun = std::sync::atomic::AtomicU64::new(0);
        let mut taken = 0;
        let work = |item| Ok::<_, ()>((begun.fetch_add(1, Ordering::SeqCst), item));
        let all = run(parallel, items, work, |(_, item)| {
            assert_eq!(item, taken);
            assert!(begun.load(Ordering::SeqCst) <= taken + most, "{most}");
            taken += 1;
            Ok(())
        });
        assert_eq!((all, taken), (Ok(Ok(())), 1000));
    }

    #[test]
    fn finishes_every_item_once_after_it_was_taken() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads, None);
            for most in [1, 2, 9, 100, u64::MAX] {
                let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
                let finished = Mutex::new(HashSet::new());
                let mut taken = 0;
                let work = |item| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    Ok::<u64, ReadError>(item)
                };
                let then = |item| {
                    assert_eq!(item, taken);
                    taken += 1;
                    let begun = begun.load(Ordering::SeqCst);
                    let held = begun - ended.load(Ordering::SeqCst);
                    assert!(held <= most.min(1000), "{held} of {most}");
                    Ok(item)
                };
                let finish = |item| {
                    assert!(finished.lock().unwrap().insert(item));
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                let items = Items::new(1000).at_most(most);
                in_order_and_finish(&parallel, items, work, then, finish).unwrap();
                assert_eq!((taken, finished.into_inner().unwrap().len()), (1000, 1000));
            }
        }
    }

    #[test]
    fn an_error_of_finish_stops_the_operation() {
        for threads in 1..=4 {
            let finish = |item| match item {
                100 => Err(ReadError::Io(io::ErrorKind::StorageFull.into())),
                _ => Ok(()),
            };
            let failed = in_order_and_finish(
                &Parallel::new(threads, None),
                Items::new(1000),
                Ok::<u64, ReadError>,
                Ok,
                finish,
            );
            assert!(matches!(failed, Err(ReadError::Io(_))), "{failed:?}");
        }
    }

    #[test]
    #[should_panic = "item 100"]
    fn a_panic_of_finish_does_not_hang() {
        let finish = |item| match item {
            100 => panic!("item 100"),
            _ => Ok(()),
        };
        let parallel = Parallel::new(3, None);
        let items = Items::new(1000);
        let _ = in_order_and_finish(&parallel, items, Ok::<u64, ReadError>, Ok, finish);
    }

    #[test]
    fn never_holds_more_than_a_few_items_a_thread() {
        holds(
            &Parallel::new(2, None),
            Items::new(1000),
            2 * TASKS_PER_THREAD * Items::PER_TASK,
        );
    }

    #[test]
    fn never_holds_more_items_than_there_is_memory_for() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads, None);
            for most in [1, 2, 3, 4, 5, 7, 8, 9, 20, 100, u64::MAX] {
                let bounded = Items::new(1000).at_most(most);
                holds(&parallel, bounded, most.min(1000));
                // A second limit does not raise the first one.
                holds(&parallel, bounded.at_most(u64::MAX), most.min(1000));
                holds(&parallel, bounded.at_most(3), most.min(3));
            }
        }
    }

    #[test]
    fn never_works_on_more_threads_than_there_is_memory_for() {
        let parallel = Parallel::new(4, None);
        let threads = std::sync::Mutex::new(std::collections::HashSet::new());
        let work = |_| {
            threads.lock().unwrap().insert(std::thread::current().id());
            Ok::<_, ()>(())
        };
        let items = Items::new(1000).at_most(2);
        run(&parallel, items, work, Ok).unwrap().unwrap();
        assert!(threads.lock().unwrap().len() <= 2);
    }

    #[test]
    fn starts_no_more_threads_than_there_are_tasks() {
        let parallel = Parallel::new(1_024, None);
        let running_after = |items: Items| {
            run(&parallel, items, Ok::<_, ()>, |_| Ok(()))
                .unwrap()
                .unwrap();
            parallel.lock().running()
        };
        let tasks = |tasks| Items::new(tasks * Items::PER_TASK);
        assert_eq!(running_after(tasks(1)), 0);
        assert_eq!(running_after(tasks(3)), 2);
        // Running threads are used again, and new threads are started several at a time.
        assert_eq!(running_after(tasks(2)), 2);
        assert_eq!(running_after(tasks(4)), 4);
        assert_eq!(running_after(Items::new(100).at_most(2)), 1);
        assert_eq!(running_after(Items::new(100).at_most(1)), 0);
    }
}
