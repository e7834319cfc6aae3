//! Pages of new memory.

use unweight::Threads;

/// Prepares memory that was just allocated and will be filled: asks the system for huge pages, and
/// to map all of them now, each by one of `threads`.
///
/// With the usual pages of 4 KiB, page faults take longer than decoding does. With huge pages that
/// are mapped at the first write, threads that decode chunks side by side write to one page at the
/// same time: each of them clears one, and the system takes the first.
///
/// Without effect where the system has no huge pages, or not enough memory for them.
pub(crate) fn prepare(memory: &mut [u8], threads: &Threads) {
    #[cfg(target_os = "linux")]
    linux::prepare(memory, threads);
    // Other systems choose the pages themselves.
    #[cfg(not(target_os = "linux"))]
    let _ = (memory, threads);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_void;

    use rustix::mm::{Advice, madvise};
    use unweight::container::{Items, in_order};
    use unweight::{Executor, ReadError, Threads};

    /// Bytes from which on huge pages are worth the calls, as in numpy.
    const LEAST_BYTES: usize = 4 << 20;
    /// A huge page of most processors, and a multiple of the usual page of every processor.
    const HUGE_PAGE: usize = 2 << 20;

    pub(super) fn prepare(memory: &mut [u8], threads: &Threads) {
        let skipped = memory.as_ptr().align_offset(HUGE_PAGE);
        let Some(aligned) = memory.get_mut(skipped..) else {
            return;
        };
        let whole = aligned.len() / HUGE_PAGE * HUGE_PAGE;
        if whole < LEAST_BYTES {
            return;
        }
        let aligned = &mut aligned[..whole];
        advise(aligned, Advice::LinuxHugepage);
        let part = (whole / HUGE_PAGE).div_ceil(threads.threads()) * HUGE_PAGE;
        let parts: Vec<Part> = aligned.chunks_mut(part).map(Part::new).collect();
        let count = parts.len() as u64;
        // One for each thread.
        let items = Items::new(count).at_most(count);
        let map = |at: u64| {
            parts[at as usize].map();
            Ok::<_, ReadError>(())
        };
        // Nothing fails here but a foreign executor.
        let _ = in_order(threads, items, map, Ok);
    }

    /// Memory that one thread maps. The others may have the reference, but only its address.
    struct Part {
        address: *mut c_void,
        length: usize,
    }

    // SAFETY: the address is that of plain bytes, which belong to no thread.
    unsafe impl Sync for Part {}

    impl Part {
        fn new(memory: &mut [u8]) -> Part {
            Part {
                address: memory.as_mut_ptr().cast(),
                length: memory.len(),
            }
        }

        fn map(&self) {
            // SAFETY: the memory is borrowed by `prepare`, which waits for this. Mapping a page does
            // not change its content.
            let mapped = unsafe { madvise(self.address, self.length, Advice::LinuxPopulateWrite) };
            // Linux before 5.14 refuses. Pages are then mapped at the first write.
            let _ = mapped;
        }
    }

    fn advise(memory: &mut [u8], advice: Advice) {
        // SAFETY: the memory is borrowed by this function alone, and the advice does not change its
        // content.
        let advised = unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), advice) };
        // A kernel without huge pages refuses.
        let _ = advised;
    }
}
