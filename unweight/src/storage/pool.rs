//! Buffers that are used again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values that are used again instead of made anew.
///
/// A thread gets back what it gave, as long as nobody else needed it: that is in its processor's
/// cache. No more values are made than are in use at a time.
#[derive(Debug, Default)]
pub(crate) struct Pool<T> {
    shelves: [Shelf<T>; SHELVES],
}

/// More threads than this share shelves.
const SHELVES: usize = 32;

/// Idle values of some threads. On a cache line of its own, so that threads do not take it from each other.
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
        // Nothing panics while it is held, and a list of buffers cannot be half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Pool<T> {
    /// A value that was put back, as it was left, or a new one.
    pub(crate) fn take(&self) -> T {
        let own = own_shelf();
        let from = |shelf: usize| self.shelves[shelf % SHELVES].lock().pop();
        (own..own + SHELVES).find_map(from).unwrap_or_default()
    }

    /// Frees idle values, but for this many.
    pub(crate) fn keep_at_most(&self, values: u64) {
        let mut left = usize::try_from(values).unwrap_or(usize::MAX);
        for shelf in &self.shelves {
            let mut idle = shelf.lock();
            idle.truncate(left);
            left -= idle.len();
        }
    }

    /// Gives a value back.
    pub(crate) fn put(&self, value: T) {
        self.shelves[own_shelf()].lock().push(value);
    }
}

/// The number of this thread's shelf.
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
                // Rather than a new one.
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
        let kept = (0..5).filter(|_| !pool.take().is_empty()).count();
        assert_eq!(kept, 3);
        pool.keep_at_most(u64::MAX);
    }
}
