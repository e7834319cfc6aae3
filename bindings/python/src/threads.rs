//! Threads of the process. All open files with the same number of threads share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::Python;
use unweight::{Executor, Job, Threads};

/// The threads of this process.
static THREADS: Mutex<Option<ThreadsOfProcess>> = Mutex::new(None);

struct ThreadsOfProcess {
    process: u32,
    /// One for each processor. They are kept.
    default: Option<Arc<OfProcess>>,
    /// Others by their number. They end with the last file or operation that uses them.
    by_count: HashMap<usize, Weak<OfProcess>>,
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
        default: None,
        by_count: HashMap::new(),
    });
    let new = |count| {
        Arc::new(OfProcess {
            process,
            threads: Some(Threads::new(count)),
        })
    };
    let count = count.unwrap_or(0);
    if count == 0 {
        return Threads::on(threads.default.get_or_insert_with(|| new(0)).clone());
    }
    threads.by_count.retain(|_, of| of.strong_count() > 0);
    if let Some(used) = threads.by_count.get(&count).and_then(Weak::upgrade) {
        return Threads::on(used);
    }
    let new = new(count);
    threads.by_count.insert(count, Arc::downgrade(&new));
    Threads::on(new)
}

/// Threads of one process. A file that was opened before a fork is read on the caller's thread in
/// the child, which has none of the other threads.
struct OfProcess {
    process: u32,
    /// None only during the drop.
    threads: Option<Threads>,
}

impl OfProcess {
    fn threads(&self) -> Option<&Threads> {
        let threads = self.threads.as_ref();
        threads.filter(|_| self.process == std::process::id())
    }
}

impl Drop for OfProcess {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // The threads are those of the parent. Dropping them would wait for their end.
            std::mem::forget(self.threads.take());
        }
    }
}

impl Executor for OfProcess {
    fn threads(&self) -> usize {
        self.threads().map_or(1, Threads::count)
    }

    fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut()) {
        match self.threads() {
            Some(threads) => threads.run(job, lead),
            None => lead(),
        }
    }
}
