//! Threads of the process. All files with the same number of threads share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::Python;
use unweight::{Executor, Job, Threads};

/// The threads of this process by their number, 0 for one for each processor.
static THREADS: Mutex<Option<ThreadsOfProcess>> = Mutex::new(None);

struct ThreadsOfProcess {
    process: u32,
    by_count: HashMap<usize, Threads>,
}

/// At most this many threads; None means one for each processor.
///
/// The lock is held only with the interpreter's lock, which a thread that forks holds too. So no
/// other thread has it at that time, and the child can take it.
pub(crate) fn threads(_: Python<'_>, count: Option<usize>) -> Threads {
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if threads.as_ref().is_some_and(|of| of.process != process) {
        // The threads are those of the parent. Dropping them would wait for their end.
        std::mem::forget(threads.take());
    }
    let threads = threads.get_or_insert_with(|| ThreadsOfProcess {
        process,
        by_count: HashMap::new(),
    });
    let count = count.unwrap_or(0);
    let new = || {
        Threads::on(Arc::new(OfProcess {
            process,
            threads: Threads::new(count),
        }))
    };
    threads.by_count.entry(count).or_insert_with(new).clone()
}

/// Threads of one process. A file that was opened before a fork is read on the caller's thread in
/// the child, which has none of the other threads.
struct OfProcess {
    process: u32,
    threads: Threads,
}

impl Executor for OfProcess {
    fn threads(&self) -> usize {
        match self.process == std::process::id() {
            true => self.threads.count(),
            false => 1,
        }
    }

    fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut()) {
        match self.process == std::process::id() {
            true => self.threads.run(job, lead),
            false => lead(),
        }
    }
}
