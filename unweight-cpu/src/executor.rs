//! Who does the work on the chunks of a tensor.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ReadError;

/// Runs work items that do not depend on each other, and hands over their results in order.
///
/// This crate has no threads of its own: with [`Serial`] everything happens on the caller's, and a
/// program with a thread pool brings an executor that uses it. The output never depends on which.
///
/// One that skips, repeats or reorders items gives [`ReadError::Executor`], never another output.
pub trait Executor {
    /// Calls `work` once for each of 0..`items`, in any order and on any threads, and `then` with each result, in
    /// order and on this thread. Stops at the first error, and holds only a bounded number of results at a time.
    ///
    /// # Errors
    /// The first error, in order of the items, that `work` or `then` returned.
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E>;

    /// The same executor, but with at most `items` results, at least one, begun and not yet taken at a time, and no more threads than
    /// that: so much memory is there.
    fn at_most(&self, items: u64) -> impl Executor;
}

/// One item after another on the caller's thread.
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

/// [`Executor::in_order`], held to what it promises: success means that `then` had the result of each item once, in order, and that nothing
/// failed. That no item was worked on twice is for `work` to see, where it matters.
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

/// What an [`Executor`] did that it must not do: the work was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutorError {
    /// It worked on an item that there is not.
    NoSuchItem {
        /// The item, counted from 0.
        item: u64,
        /// The number of items.
        items: u64,
    },
    /// It handed over the result of another item than the next one: one was left out or repeated, or the order is wrong.
    OutOfOrder {
        /// The item.
        item: u64,
        /// The next one.
        expected: u64,
    },
    /// It worked twice on an item that can be worked on once.
    Twice {
        /// The item.
        item: u64,
    },
    /// It reported success before all results were handed over.
    Incomplete {
        /// Results that were handed over.
        taken: u64,
        /// The number of items.
        items: u64,
    },
    /// It reported success after an error.
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
