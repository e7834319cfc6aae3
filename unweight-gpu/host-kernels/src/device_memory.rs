//! Memory for launches on the CPU, aligned as a device aligns it.

#![expect(unsafe_code, reason = "calls into the kernels, compiled as C++")]

use std::alloc::{Layout, alloc, dealloc};

/// Byte that unwritten memory holds.
pub const POISON: u8 = 0xee;

/// Memory aligned to 256 bytes, as a device allocates it. It has exactly the requested length, so
/// that a sanitizer finds an access one byte after it.
#[derive(Debug)]
pub struct DeviceMemory {
    start: *mut u8,
    layout: Layout,
}

impl DeviceMemory {
    /// Allocates `bytes` bytes of [`POISON`].
    pub fn poisoned(bytes: usize) -> DeviceMemory {
        let layout = Layout::from_size_align(bytes.max(1), 256).unwrap();
        // SAFETY: the layout has at least one byte.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null());
        // SAFETY: the allocation has this length.
        unsafe { start.write_bytes(POISON, layout.size()) };
        DeviceMemory { start, layout }
    }

    /// A copy of `bytes`.
    pub fn of(bytes: &[u8]) -> DeviceMemory {
        let memory = DeviceMemory::poisoned(bytes.len());
        // SAFETY: the allocation has at least this length.
        unsafe { memory.start.copy_from(bytes.as_ptr(), bytes.len()) };
        memory
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Pointer to the first byte, for a kernel that writes.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `poisoned` wrote all bytes.
        unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: `poisoned` allocated it with this layout.
        unsafe { dealloc(self.start, self.layout) }
    }
}
