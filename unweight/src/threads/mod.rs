//! Threads that work on the chunks of a tensor.

mod executor;

use crate::Error;
pub(crate) use executor::in_order;
pub use executor::{Executor, ExecutorError, Serial};

/// How many threads an operation has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Threads {
    /// 0: one for each processor.
    asked_for: usize,
}

impl Threads {
    pub(crate) fn new(asked_for: usize) -> Threads {
        Threads { asked_for }
    }

    /// The caller's included.
    pub(crate) fn count(&self) -> u64 {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        match self.asked_for {
            0 => processors() as u64,
            asked_for => asked_for as u64,
        }
    }

    pub(crate) fn executor(&self) -> Result<Serial, Error> {
        Ok(Serial)
    }
}
