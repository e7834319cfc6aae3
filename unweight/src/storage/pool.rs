//! Pool of reusable buffers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A pool of reusable values.
///
/// A thread gets back the value that it returned, unless another thread has taken it. That value is
/// likely still in the cache of its processor. The pool creates no more values than are in use at a
/// time.
#[derive(Debug, Default)]
pub(crate) struct Pool<T> {
    shelves: [Shelf<T>; SHELVES],
}

/// Number of shelves. With more threads than this, several threads share a shelf.
const SHELVES: usize = 32;

/// Idle values of some threads. Each shelf has its own cache line, to avoid false sharing.
#[derive(Debug)]
#[repr(align(128))]
struct Shelf<T> {
    idle: Mutex<Vec<T>>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Shelf {
            idle: Mutex::default(),
        }
    }
}

impl<T> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // No code panics while it holds the lock, and the list is never in a half-changed state.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Pool<T> {
    /// Takes a value that was returned to the pool, with its old content, or a new one.
    pub(crate) fn take(&self) -> T {
        let own = own_shelf();
        let from = |shelf: usize| self.shelves[shelf % SHELVES].lock().pop();
        (own..own + SHELVES).find_map(from).unwrap_or_default()
    }

    /// Frees all idle values except this many.
    pub(crate) fn keep_at_most(&self, values: u64) {
        let mut left = usize::try_from(values).unwrap_or(usize::MAX);
        for shelf in &self.shelves {
            let mut idle = shelf.lock();
            idle.truncate(left);
            left -= idle.len();
        }
    }

    /// All idle values, in any order.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let shelves = self.shelves.into_iter();
        shelves.flat_map(|shelf| {
            let idle = shelf.idle.into_inner();
            idle.unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// Returns a value to the pool.
    pub(crate) fn put(&self, value: T) {
        self.shelves[own_shelf()].lock().push(value);
    }
}

/// The shelf number of this thread.
fn own_shelf() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHELF: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHELVES;
    }
    SHELF.with(|shelf| *shelf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_back_what_it_gave() {
        let pool = Pool::<Vec<u8>>::default();
        pool.put(vec![1]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pool.put(vec![2]);
                assert_eq!(pool.take(), [2]);
                // An idle value of another thread is preferred to a new one.
                assert_eq!(pool.take(), [1]);
                assert!(pool.take().is_empty());
                pool.put(vec![3]);
            });
        });
        assert_eq!(pool.take(), [3]);
    }

    #[test]
    fn frees_what_is_not_to_be_kept() {
        let pool = Pool::<Vec<u8>>::default();
        std::thread::scope(|scope| {
            for number in 1..=5 {
                let pool = &pool;
                scope.spawn(move || pool.put(vec![number]));
            }
        });
        pool.keep_at_most(3);
        let kept: Vec<Vec<u8>> = (0..5).map(|_| pool.take()).collect();
        assert_eq!(kept.iter().filter(|value| !value.is_empty()).count(), 3);
        pool.keep_at_most(u64::MAX);
        kept.into_iter().for_each(|value| pool.put(value));
        let left = pool.into_values().filter(|value| !value.is_empty());
        assert_eq!(left.count(), 3);
    }
}
