//! Pages of new memory.

/// Bytes from which on huge pages are worth a call, as in numpy.
#[cfg(target_os = "linux")]
const LEAST_BYTES: usize = 4 << 20;
/// A multiple of the page size of every processor.
#[cfg(target_os = "linux")]
const LARGEST_PAGE: usize = 64 << 10;

/// Asks the system for huge pages in memory that was just allocated and will be filled. With the
/// usual pages of 4 KiB, the page faults take longer than decoding does.
///
/// It is an advice, without effect where the system has no huge pages or not enough memory for them.
#[cfg(target_os = "linux")]
pub(crate) fn advise_huge(memory: &mut [u8]) {
    use rustix::mm::{Advice, madvise};

    let skipped = memory.as_ptr().align_offset(LARGEST_PAGE);
    let Some(aligned) = memory.get_mut(skipped..) else {
        return;
    };
    let length = aligned.len() / LARGEST_PAGE * LARGEST_PAGE;
    if length < LEAST_BYTES {
        return;
    }
    // SAFETY: the memory is borrowed by the caller alone, and the advice does not change its
    // content.
    let advised = unsafe { madvise(aligned.as_mut_ptr().cast(), length, Advice::LinuxHugepage) };
    // A kernel without huge pages refuses.
    let _ = advised;
}

/// Other systems choose the pages themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise_huge(_: &mut [u8]) {}
