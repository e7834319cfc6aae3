//! Executors: the threads that share the work of an operation.

use std::fmt;

/// Lends threads to an operation, for example those of a server's own pool.
///
/// This crate's [`Threads`](crate::Threads) and [`Serial`] are executors, and
/// [`Threads::on`](crate::Threads::on) accepts any other one. An executor only lends threads: the
/// operation itself decides which thread works on what, and in which order results are used. No
/// implementation can therefore change the output. One that does not call `lead` causes
/// [`ReadError::Executor`](crate::ReadError::Executor).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = unweight::Writer::new().tensor("w", &[4], &[half::bf16::ONE; 4]).finish(Vec::new())?;
/// use std::sync::Arc;
/// use unweight::{Executor, Job, OpenOptions, Threads};
///
/// /// The rayon pool of a server. No operation may be called in a callback of another one: the
/// /// inner one would wait for threads that help the outer one.
/// struct Pool(rayon::ThreadPool);
///
/// impl Executor for Pool {
///     fn threads(&self) -> usize {
///         1 + self.0.current_num_threads()
///     }
///
///     fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut()) {
///         self.0.in_place_scope(|scope| {
///             for _ in 0..job.helpers() {
///                 scope.spawn(|_| job.help());
///             }
///             lead();
///         });
///     }
/// }
///
/// let pool = Pool(rayon::ThreadPoolBuilder::new().num_threads(2).build()?);
/// let model = OpenOptions::new().threads(Threads::on(Arc::new(pool))).open_bytes(file)?;
/// model.verify()?;
/// # Ok(())
/// # }
/// ```
pub trait Executor: Send + Sync {
    /// The most threads that work on an operation at a time, including the caller's.
    fn threads(&self) -> usize;

    /// Calls `lead` once, on the caller's thread. In the meantime, calls [`Job::help`] on up to
    /// [`Job::helpers`] other threads, once on each. Returns when all these calls have returned.
    ///
    /// `help` may sleep until `lead` makes room for more results, and returns soon after `lead` has
    /// returned. A thread that is in `help` must not run other work of the pool meanwhile.
    ///
    /// If an operation is called in a callback of another one on the same executor, threads that
    /// help the outer one are not free before the inner one has returned. `run` must not wait for
    /// them. [`Threads`](crate::Threads) does not.
    fn run(&self, job: &Job<'_>, lead: &mut dyn FnMut());
}

/// The part of an operation that an [`Executor`] runs on threads other than the caller's.
#[derive(Clone, Copy)]
pub struct Job<'j> {
    helpers: usize,
    most_helpers: usize,
    help: &'j (dyn Fn() + Sync),
}

impl<'j> Job<'j> {
    pub(super) fn new(helpers: usize, most_helpers: usize, help: &'j (dyn Fn() + Sync)) -> Job<'j> {
        Job {
            helpers,
            most_helpers,
            help,
        }
    }

    /// The number of threads, without the caller's, for which there is work.
    pub fn helpers(&self) -> usize {
        self.helpers
    }

    /// The number of threads, without the caller's, for which there is memory: at least
    /// [`helpers`](Job::helpers). An executor that starts threads for the operation should not keep
    /// more than this many.
    pub fn most_helpers(&self) -> usize {
        self.most_helpers
    }

    /// Works until no work is left. Does nothing on the thread that called the operation. Does not
    /// panic: a panic of the work is passed on to that thread.
    pub fn help(&self) {
        (self.help)();
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("helpers", &self.helpers)
            .field("most_helpers", &self.most_helpers)
            .finish_non_exhaustive()
    }
}

/// Does all work on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, _: &Job<'_>, lead: &mut dyn FnMut()) {
        lead();
    }
}

/// A violation of the contract of [`Executor`]. The operation was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The executor returned before all work was done: it did not call `lead`, or it caught a panic
    /// of `lead`.
    Incomplete {
        /// The number of items that were done.
        done: u64,
        /// The number of items.
        items: u64,
    },
}

impl fmt::Display for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecutorError::Incomplete { done, items } => write!(
                f,
                "the executor returned after {done} of {items} items; it must call lead once"
            ),
        }
    }
}

impl std::error::Error for ExecutorError {}
