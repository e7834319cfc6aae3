//! A pool of threads that run the chunks of a tensor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::{fmt, io};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::Refused;
use super::executor::{Executor, Serial};
use super::tasks::{Share, in_order_on};

/// Works on a few chunks per thread at a time. The caller's thread is one of them and takes what is done in between: a thread
/// more than there are processors, that wakes whenever something is done, costs the others their processor and their cache.
///
/// Threads are started when there is work for them, and no more than there are tasks.
#[derive(Debug)]
pub(super) struct Parallel {
    /// The most that work, the caller's included.
    threads: usize,
    on_refused: Option<OnRefused>,
    helpers: Mutex<Helpers>,
}

/// Is called where fewer threads could be started than were wanted.
pub(super) struct OnRefused(pub(super) Box<dyn Fn(&Refused) + Send + Sync>);

impl fmt::Debug for OnRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRefused")
    }
}

/// All threads but the caller's.
#[derive(Debug)]
struct Helpers {
    /// Those that have been started.
    pool: Option<Arc<Pool>>,
    /// How many the system allows, as far as is known.
    most: usize,
}

/// Threads that have ended, and freed their buffers, when this has been dropped.
#[derive(Debug)]
pub(super) struct Pool {
    /// None while it is dropped.
    threads: Option<ThreadPool>,
    handles: Vec<JoinHandle<()>>,
}

/// Chunks of one task: a chunk takes 4 to 40 us, and what a task needs from another processor some tenths of one.
const ITEMS_PER_TASK: u64 = 8;
/// Tasks in flight per thread: enough that threads seldom wait for the one that is to be handed over next.
const TASKS_PER_THREAD: u64 = 3;

impl Parallel {
    /// At most this many threads, the caller's included. Where the system has fewer, those do the work.
    pub(super) fn new(threads: usize, on_refused: Option<OnRefused>) -> Parallel {
        let most = threads.saturating_sub(1);
        Parallel {
            threads: most + 1,
            on_refused,
            helpers: Mutex::new(Helpers { pool: None, most }),
        }
    }

    /// The most that work, the caller's included.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// At least `wanted` threads, if there can be so many, and at most `allowed`.
    fn helpers(&self, wanted: usize, allowed: usize) -> Option<Arc<Pool>> {
        let mut helpers = self.lock();
        let wanted = wanted.min(helpers.most).min(allowed);
        let running = helpers.running();
        if (wanted..=allowed).contains(&running) {
            return helpers.pool.clone();
        }
        // Idle threads keep what their allocator holds, and there may be no memory for those of more threads than are allowed.
        drop(helpers.pool.take());
        // Twice as many as before: a file whose tensors grow does not start threads for each of them.
        let most = helpers.most.min(allowed);
        helpers.start(wanted.max(2 * running).min(most), self.on_refused.as_ref());
        helpers.pool.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Helpers> {
        // Nothing is half changed while it is held.
        self.helpers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Helpers {
    fn running(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.handles.len())
    }

    /// Starts so many threads. If they are refused, half of those that could be started: the other half's memory is for the work.
    fn start(&mut self, threads: usize, on_refused: Option<&OnRefused>) {
        let mut attempt = threads;
        let mut refused = None;
        while attempt > 0 {
            match Pool::start(attempt) {
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
        if let Some(error) = refused {
            self.most = attempt;
            if let Some(OnRefused(callback)) = on_refused {
                callback(&Refused {
                    wanted: threads + 1,
                    left: attempt + 1,
                    error: io::Error::other(error),
                });
            }
        }
    }
}

impl Pool {
    /// Starts so many threads; otherwise none runs any more, and the error comes with the number of those that had been started.
    fn start(threads: usize) -> Result<Pool, (ThreadPoolBuildError, usize)> {
        let mut handles = Vec::with_capacity(threads);
        let built = ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| {
                require_room()?;
                handles.push(Builder::new().spawn(|| thread.run())?);
                Ok(())
            })
            .build();
        match built {
            Ok(threads) => Ok(Pool {
                threads: Some(threads),
                handles,
            }),
            Err(error) => {
                let started = handles.len();
                join(handles);
                Err((error, started))
            }
        }
    }

    pub(super) fn threads(&self) -> &ThreadPool {
        self.threads.as_ref().expect("it is dropped with the pool")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.threads.take());
        join(std::mem::take(&mut self.handles));
    }
}

/// Checks that memory is left for the work of another thread: what is refused later, when it works, would end the program.
fn require_room() -> io::Result<()> {
    /// More than a stack, the buffers of a chunk, and what an allocator reserves for a thread.
    const BYTES: usize = 80 << 20;
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(BYTES);
    // Otherwise the compiler might do without.
    std::hint::black_box(&mut room);
    reserved.map_err(|_| io::ErrorKind::OutOfMemory.into())
}

fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        // Panics of the work have been handed over by the tasks; others have nothing to say.
        let _ = handle.join();
    }
}

impl Executor for Parallel {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        in_order(self, items, u64::MAX, work, then)
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
        in_order(self.of, items, self.at_most, work, then)
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
    parallel: &Parallel,
    items: u64,
    at_most: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = at_most.min(parallel.threads as u64);
    // Where there is little room, shorter tasks first, so that every thread has one.
    let items_per_task = (at_most / threads).clamp(1, ITEMS_PER_TASK);
    let tasks = items.div_ceil(items_per_task);
    let wanted = tasks.min(threads).saturating_sub(1) as usize;
    let allowed = usize::try_from(at_most - 1).unwrap_or(usize::MAX);
    // Asked where no helper is wanted too: those that are not allowed have to go.
    let Some(helpers) = parallel.helpers(wanted, allowed).filter(|_| wanted > 0) else {
        return Serial.in_order(items, work, then);
    };
    let helpers = helpers.threads();
    let threads = 1 + helpers.current_num_threads() as u64;
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
        let _ = Parallel::new(2, None).in_order(100, work, |_| Ok(()));
    }

    #[test]
    #[should_panic = "item 9"]
    fn a_panic_of_the_consumer_does_not_hang() {
        let parallel = Parallel::new(3, None);
        let _ = parallel.in_order(1000, Ok::<_, ()>, |item| match item {
            9 => panic!("item 9"),
            _ => Ok(()),
        });
    }

    #[test]
    fn hands_over_in_order_and_stops_at_the_first_error() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads, None);
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
            &Parallel::new(2, None),
            2 * TASKS_PER_THREAD * ITEMS_PER_TASK,
        );
    }

    #[test]
    fn never_holds_more_items_than_there_is_memory_for() {
        for threads in 1..=4 {
            let parallel = Parallel::new(threads, None);
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
        let parallel = Parallel::new(4, None);
        let threads = std::sync::Mutex::new(std::collections::HashSet::new());
        let work = |_| {
            threads.lock().unwrap().insert(std::thread::current().id());
            Ok::<_, ()>(())
        };
        parallel.at_most(2).in_order(1000, work, Ok).unwrap();
        assert!(threads.lock().unwrap().len() <= 2);
    }

    #[test]
    fn starts_no_more_threads_than_there_are_tasks() {
        let parallel = Parallel::new(1_024, None);
        let running = || parallel.lock().running();
        parallel
            .in_order(ITEMS_PER_TASK, Ok::<_, ()>, |_| Ok(()))
            .unwrap();
        assert_eq!(running(), 0);
        parallel
            .in_order(3 * ITEMS_PER_TASK, Ok::<_, ()>, |_| Ok(()))
            .unwrap();
        assert_eq!(running(), 2);
        // Threads that run are used again, and more of them are started together.
        parallel
            .in_order(2 * ITEMS_PER_TASK, Ok::<_, ()>, |_| Ok(()))
            .unwrap();
        assert_eq!(running(), 2);
        parallel
            .in_order(4 * ITEMS_PER_TASK, Ok::<_, ()>, |_| Ok(()))
            .unwrap();
        assert_eq!(running(), 4);
        parallel
            .at_most(2)
            .in_order(100, Ok::<_, ()>, |_| Ok(()))
            .unwrap();
        assert_eq!(running(), 1);
        parallel
            .at_most(1)
            .in_order(100, Ok::<_, ()>, |_| Ok(()))
            .unwrap();
        assert_eq!(running(), 0);
    }
}
