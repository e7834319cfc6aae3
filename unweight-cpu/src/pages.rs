//! Pages of new memory that is to be filled.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "advice to the system about memory")
)]

/// A huge page of most processors, and a multiple of the usual page of every processor.
pub const HUGE_PAGE: usize = 2 << 20;

/// Asks the system for huge pages for this memory, as far as it was not used yet. Without effect
/// where the system has none.
pub fn prefer_huge(memory: &mut [u8]) {
    #[cfg(target_os = "linux")]
    advise(memory, rustix::mm::Advice::LinuxHugepage);
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Maps the pages of this memory now, and not at the first write to each. Without effect where the
/// system cannot do it, such as Linux before 5.14.
pub fn map(memory: &mut [u8]) {
    #[cfg(target_os = "linux")]
    advise(memory, rustix::mm::Advice::LinuxPopulateWrite);
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Gives the system advice that does not change the content of memory.
#[cfg(target_os = "linux")]
fn advise(memory: &mut [u8], advice: rustix::mm::Advice) {
    // SAFETY: the memory is borrowed by this function alone, and neither advice changes its
    // content.
    let advised = unsafe { rustix::mm::madvise(memory.as_mut_ptr().cast(), memory.len(), advice) };
    // The memory can be used without it.
    let _ = advised;
}
