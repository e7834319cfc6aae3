//! Memory as a device has it, for launches on the CPU.

#![expect(unsafe_code, reason = "calls into the kernels, compiled as C++")]

use std::alloc::{Layout, alloc, dealloc};

/// What memory holds that was not written.
pub const POISON: u8 = 0xee;

/// Memory as the device has it: aligned to 256, and not a byte longer than was asked for, so that a sanitizer sees one read too many.
#[derive(Debug)]
pub struct DeviceMemory {
    start: *mut u8,
    layout: Layout,
}

impl DeviceMemory {
    /// So many bytes, none of them written.
    pub fn poisoned(bytes: usize) -> DeviceMemory {
        let layout = Layout::from_size_align(bytes.max(1), 256).unwrap();
        // SAFETY: the layout has at least one byte.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null());
        // SAFETY: it was allocated with this length.
        unsafe { start.write_bytes(POISON, layout.size()) };
        DeviceMemory { start, layout }
    }

    /// A copy of these.
    pub fn of(bytes: &[u8]) -> DeviceMemory {
        let memory = DeviceMemory::poisoned(bytes.len());
        // SAFETY: it was allocated with at least this length.
        unsafe { memory.start.copy_from(bytes.as_ptr(), bytes.len()) };
        memory
    }

    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// For a kernel to write to.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: all of it was written when it was made.
        unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.start, self.layout) }
    }
}
