//! Who does the work on the chunks of a tensor.

/// Runs work items that do not depend on each other, and hands over their results in order.
///
/// This crate has no threads of its own: with [`Serial`] everything happens on the caller's, and a
/// program with a thread pool brings an executor that uses it. The output never depends on which.
pub trait Executor {
    /// Calls `work` for 0..`items`, in any order and on any threads, and `then` with each result, in
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
