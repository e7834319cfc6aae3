//! Buffers that are used again.

use std::sync::Mutex;

/// Values that are used again instead of made anew. Its lock is held for a push or a pop, once a chunk.
#[derive(Debug, Default)]
pub(crate) struct Pool<T> {
    idle: Mutex<Vec<T>>,
}

impl<T: Default> Pool<T> {
    /// A value that was put back, as it was left, or a new one.
    pub(crate) fn take(&self) -> T {
        self.lock().pop().unwrap_or_default()
    }

    /// Frees idle values, but for this many.
    pub(crate) fn keep_at_most(&self, values: u64) {
        self.lock()
            .truncate(usize::try_from(values).unwrap_or(usize::MAX));
    }

    /// Gives a value back.
    pub(crate) fn put(&self, value: T) {
        self.lock().push(value);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        // Nothing panics while it is held, and a list of buffers cannot be half changed.
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
