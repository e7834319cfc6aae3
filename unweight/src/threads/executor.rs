//! Executors for the work on the chunks of a tensor.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ReadError;

/// Runs independent work items, and passes on their results in order.
///
/// This crate needs no threads of its own. [`Serial`] runs everything on the caller's thread, and a
/// program with a thread pool implements an executor on top of it. The output does not depend on
/// the executor.
///
/// An executor that skips, repeats or reorders items causes [`ReadError::Executor`], never a
/// different output.
pub trait Executor {
    /// Calls `work` once for each of 0..`items`, in any order and on any threads, and calls `then`
    /// with each result, in order and on the caller's thread. Stops at the first error. Holds only
    /// a bounded number of results at a time.
    ///
    /// # Errors
    /// The first error, in the order of the items, of `work` or `then`.
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E>;

    /// The same executor with a memory limit: at most `items` results, at least one, are begun and
    /// not yet taken at a time, and no more threads than that run.
    fn at_most(&self, items: u64) -> impl Executor;
}

/// Runs one item after another on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        mut then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        (0..items).try_for_each(|item| then(work(item)?))
    }

    fn at_most(&self, _: u64) -> impl Executor {
        Serial
    }
}

/// Runs [`Executor::in_order`] and checks its contract: on success `then` had the result of each
/// item exactly once, in order, and nothing failed. It does not detect an item that was worked on
/// twice; `work` must detect that if it matters.
pub(crate) fn in_order<T: Send, E: Send + From<ReadError>>(
    executor: &impl Executor,
    items: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    mut then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let has_failed = AtomicBool::new(false);
    let failed = |error: E| {
        has_failed.store(true, Ordering::Relaxed);
        error
    };
    let broken = |error: ExecutorError| failed(E::from(ReadError::Executor(error)));
    let mut taken = 0;
    executor.in_order(
        items,
        |item| match item < items {
            true => Ok((item, work(item).map_err(failed)?)),
            false => Err(broken(ExecutorError::NoSuchItem { item, items })),
        },
        |(item, result)| {
            if item != taken {
                let expected = taken;
                return Err(broken(ExecutorError::OutOfOrder { item, expected }));
            }
            taken += 1;
            then(result).map_err(failed)
        },
    )?;
    if has_failed.load(Ordering::Relaxed) {
        return Err(broken(ExecutorError::ErrorIgnored));
    }
    match taken == items {
        true => Ok(()),
        false => Err(broken(ExecutorError::Incomplete { taken, items })),
    }
}

/// A violation of the contract of [`Executor`]. The operation was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The executor worked on an item that does not exist.
    NoSuchItem {
        /// The item, counted from 0.
        item: u64,
        /// The number of items.
        items: u64,
    },
    /// The executor passed on the result of a different item than the next one: it skipped,
    /// repeated or reordered items.
    OutOfOrder {
        /// The item that was passed on.
        item: u64,
        /// The expected item.
        expected: u64,
    },
    /// The executor worked twice on an item that allows it only once.
    Twice {
        /// The item.
        item: u64,
    },
    /// The executor reported success before it had passed on all results.
    Incomplete {
        /// The number of results that were passed on.
        taken: u64,
        /// The number of items.
        items: u64,
    },
    /// The executor reported success after an error.
    ErrorIgnored,
}

impl fmt::Display for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executor ")?;
        match *self {
            ExecutorError::NoSuchItem { item, items } => {
                write!(f, "worked on item {item} of {items}")
            }
            ExecutorError::OutOfOrder { item, expected } => {
                write!(
                    f,
                    "handed over item {item} where item {expected} was expected"
                )
            }
            ExecutorError::Twice { item } => write!(f, "worked on item {item} twice"),
            ExecutorError::Incomplete { taken, items } => {
                write!(f, "reported success after {taken} of {items} items")
            }
            ExecutorError::ErrorIgnored => f.write_str("reported success after an error"),
        }
    }
}

impl std::error::Error for ExecutorError {}
