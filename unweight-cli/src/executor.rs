//! The thread pool, as the codec wants it.

use rayon::prelude::*;
use unweight_cpu::Executor;

/// Works on a few chunks per thread at a time.
#[derive(Debug)]
pub(crate) struct Parallel {
    pool: rayon::ThreadPool,
}

/// Chunks in flight per thread: enough that threads seldom wait for the last one of a batch.
const ITEMS_PER_THREAD: u64 = 8;

impl Parallel {
    pub(crate) fn new(threads: usize) -> Result<Parallel, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        Ok(Parallel { pool })
    }
}

impl Executor for Parallel {
    fn in_order<T: Send, E: Send>(
        &self,
        items: u64,
        work: impl Fn(u64) -> Result<T, E> + Sync,
        mut then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let batch = ITEMS_PER_THREAD * self.pool.current_num_threads() as u64;
        let mut start = 0;
        while start < items {
            let end = items.min(start + batch);
            let results: Vec<Result<T, E>> = self
                .pool
                .install(|| (start..end).into_par_iter().map(&work).collect());
            for result in results {
                then(result?)?;
            }
            start = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_over_in_order_and_stops_at_the_first_error() {
        let parallel = Parallel::new(3).unwrap();
        let mut seen = Vec::new();
        let all = parallel.in_order(100, Ok::<_, u64>, |item| {
            seen.push(item);
            Ok(())
        });
        assert_eq!(all, Ok(()));
        assert_eq!(seen, (0..100).collect::<Vec<_>>());

        let work = |item| if item % 40 == 39 { Err(item) } else { Ok(item) };
        let mut last = None;
        let stopped = parallel.in_order(100, work, |item| {
            last = Some(item);
            Ok(())
        });
        assert_eq!((stopped, last), (Err(39), Some(38)));
    }
}
