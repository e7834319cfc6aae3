//! Threads for the work on a tensor's chunks.

mod executor;
#[cfg(test)]
mod interleavings;
#[cfg(feature = "rayon")]
mod parallel;
mod tasks;

/// The synchronization of `tasks`, which `interleavings` replaces with loom's.
mod sync {
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(super) use std::thread::{ThreadId, current};
}

use std::sync::Arc;
use std::{fmt, io};

pub use executor::{Executor, ExecutorError, Job, Serial};
pub(crate) use tasks::in_order_and_finish;
pub use tasks::{Items, in_order};

/// Threads for one or several operations. They start when there is work, are never more than the
/// tasks, and end with the last clone. Concurrent operations share them: each has the threads that
/// are idle when it begins to work on a tensor, and always its caller's.
///
/// Without the feature `rayon` the caller's thread is the only one, except with [`Threads::on`].
#[derive(Clone)]
pub struct Threads {
    executor: Arc<dyn Executor>,
}

impl Default for Threads {
    /// One thread for each processor.
    fn default() -> Threads {
        Threads::new(0)
    }
}

impl Threads {
    /// At most this many threads, including the caller's; 0 means one for each processor. If the
    /// system refuses to start that many, the threads that did start do the work.
    pub fn new(threads: usize) -> Threads {
        Threads::with(threads, None::<fn(&Refused)>)
    }

    /// The threads of this executor.
    pub fn on(executor: Arc<dyn Executor>) -> Threads {
        Threads { executor }
    }

    /// Same as [`Threads::new`], but calls `on_refused` if fewer threads could be started. A thread
    /// is started only if 80 MiB of address space are left for its work: under a limit
    /// (`ulimit -v`) an allocation that fails later would abort the program.
    pub fn with_refusals(
        threads: usize,
        on_refused: impl Fn(&Refused) + Send + Sync + 'static,
    ) -> Threads {
        Threads::with(threads, Some(on_refused))
    }

    #[cfg(feature = "rayon")]
    fn with(
        threads: usize,
        on_refused: Option<impl Fn(&Refused) + Send + Sync + 'static>,
    ) -> Threads {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match threads {
            0 => processors(),
            threads => threads,
        };
        let on_refused = on_refused.map(|callback| parallel::OnRefused(Box::new(callback)));
        Threads::on(Arc::new(parallel::Parallel::new(threads, on_refused)))
    }

    #[cfg(not(feature = "rayon"))]
    fn with(_: usize, _: Option<impl Fn(&Refused) + Send + Sync + 'static>) -> Threads {
        Threads::on(Arc::new(Serial))
    }

    /// The most threads that work at a time, including the caller's.
    pub fn count(&self) -> usize {
        self.executor.threads()
    }
}

/// Same as [`Threads::new`].
impl From<usize> for Threads {
    fn from(threads: usize) -> Threads {
        Threads::new(threads)
    }
}

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.executor.threads()
    }

    fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut()) {
        self.executor.run(job, lead);
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut threads = f.debug_struct("Threads");
        threads
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// The system started fewer threads than were wanted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The number of requested threads, including the caller's.
    pub wanted: usize,
    /// The number of threads that do the work instead, including the caller's.
    pub left: usize,
    /// The error of the system.
    pub error: io::Error,
}
