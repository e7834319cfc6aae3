//! Pages of new memory, prepared by several threads.

use std::sync::{Mutex, PoisonError};

use unweight_cpu::pages::{HUGE_PAGE, map, prefer_huge};

use crate::threads::{Items, in_order};
use crate::{Executor, ReadError, Threads};

/// Bytes from which on huge pages are worth the calls, as in numpy.
const LEAST_BYTES: usize = 4 << 20;

/// Prepares memory that was just allocated and will be filled: asks the system for huge pages, and
/// to map all of them now, each by one of `threads`.
///
/// With the usual pages of 4 KiB, page faults take longer than decoding does. With huge pages that
/// are mapped at the first write, threads that decode chunks side by side write to one page at the
/// same time: each of them clears one, and the system takes the first.
///
/// Without effect where the system has no huge pages, or not enough memory for them.
pub fn prepare_pages(memory: &mut [u8], threads: &Threads) {
    let skipped = memory.as_ptr().align_offset(HUGE_PAGE);
    let Some(aligned) = memory.get_mut(skipped..) else {
        return;
    };
    let whole = aligned.len() / HUGE_PAGE * HUGE_PAGE;
    if whole < LEAST_BYTES {
        return;
    }
    let aligned = &mut aligned[..whole];
    prefer_huge(aligned);
    let part = (whole / HUGE_PAGE).div_ceil(threads.threads()) * HUGE_PAGE;
    let parts: Vec<_> = aligned.chunks_mut(part).map(Mutex::new).collect();
    let count = parts.len() as u64;
    // One for each thread.
    let items = Items::new(count).at_most(count);
    let map = |at: u64| {
        let part = parts[at as usize].lock();
        map(&mut part.unwrap_or_else(PoisonError::into_inner));
        Ok::<_, ReadError>(())
    };
    // Nothing fails here but a foreign executor.
    let _ = in_order(threads, items, map, Ok);
}
