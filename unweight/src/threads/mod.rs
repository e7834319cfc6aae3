//! Threads for the work on a tensor's chunks.

mod executor;
#[cfg(feature = "rayon")]
mod parallel;
#[cfg(feature = "rayon")]
mod tasks;

use std::io;
#[cfg(feature = "rayon")]
use std::sync::Arc;

pub(crate) use executor::in_order;
pub use executor::{Executor, ExecutorError, Serial};

/// Threads for one or several operations. They start when there is work, are never more than the
/// tasks, and end with the last clone.
///
/// Without the feature `rayon` the caller's thread is the only one.
#[derive(Clone, Debug)]
pub struct Threads {
    #[cfg(feature = "rayon")]
    parallel: Arc<parallel::Parallel>,
    #[cfg(not(feature = "rayon"))]
    serial: Serial,
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
        Threads {
            parallel: Arc::new(parallel::Parallel::new(threads, on_refused)),
        }
    }

    #[cfg(not(feature = "rayon"))]
    fn with(_: usize, _: Option<impl Fn(&Refused) + Send + Sync + 'static>) -> Threads {
        Threads { serial: Serial }
    }

    /// The most threads that work at a time, including the caller's.
    pub fn count(&self) -> usize {
        #[cfg(feature = "rayon")]
        return self.parallel.threads();
        #[cfg(not(feature = "rayon"))]
        1
    }
}

/// Same as [`Threads::new`].
impl From<usize> for Threads {
    fn from(threads: usize) -> Threads {
        Threads::new(threads)
    }
}

impl Executor for Threads {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        #[cfg(feature = "rayon")]
        return self.parallel.in_order(items, work, then);
        #[cfg(not(feature = "rayon"))]
        self.serial.in_order(items, work, then)
    }

    fn at_most(&self, items: u64) -> impl Executor {
        #[cfg(feature = "rayon")]
        return self.parallel.at_most(items);
        #[cfg(not(feature = "rayon"))]
        self.serial.at_most(items)
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
