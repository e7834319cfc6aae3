//! A counting allocator, and verification of a storage that counts.

#![expect(unsafe_code, reason = "a global allocator")]
// Each test binary uses only some of these items.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use half::bf16;
use unweight::{ReadError, Serial, container::OpenFile};
use unweight_format::Encoding;
use unweight_testkit::{Form, TestStorage, container, container_of};

/// The system's allocator with counters for each thread.
struct Counting;

thread_local! {
    static LIVE: Cell<u64> = const { Cell::new(0) };
    static PEAK: Cell<u64> = const { Cell::new(0) };
    static TOTAL: Cell<u64> = const { Cell::new(0) };
}

fn count(added: usize, removed: usize) {
    LIVE.set((LIVE.get() + added as u64).saturating_sub(removed as u64));
    PEAK.set(PEAK.get().max(LIVE.get()));
    TOTAL.set(TOTAL.get() + added as u64);
}

// SAFETY: every call is passed unchanged to the system's allocator, and counting does not allocate
// (the cells are `const` and have no destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `work` has allocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocated {
    /// The most bytes at the same time.
    pub(crate) peak: u64,
    /// The sum of all allocations.
    pub(crate) total: u64,
    /// The bytes still held after `work`, including its result.
    pub(crate) held: u64,
}

pub(crate) fn allocated<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
    let before = LIVE.get();
    PEAK.set(before);
    TOTAL.set(0);
    let result = work();
    let found = Allocated {
        peak: PEAK.get() - before,
        total: TOTAL.get(),
        held: LIVE.get().saturating_sub(before),
    };
    (result, found)
}

/// Checks every rule like `unweight verify`, without keeping the restored bytes. Returns their
/// number.
pub(crate) fn verify(file: &TestStorage<'_>) -> Result<u64, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container();
    let mut count = 0;
    unweight::container::restore(&container, &Serial, |bytes| {
        count += bytes.len() as u64;
        Ok::<_, ReadError>(())
    })?;
    Ok(count)
}

/// Raw, and both encodings.
pub(crate) const STORED: [Option<Encoding>; 3] =
    [None, Some(Encoding::Huffman), Some(Encoding::Palette)];

/// A container of the tensor "w" of these weights, raw without an encoding.
pub(crate) fn stored(weights: &[bf16], encoding: Option<Encoding>, chunk_size_log2: u8) -> Vec<u8> {
    match encoding {
        Some(encoding) => container_of(weights, encoding, chunk_size_log2),
        None => container(
            &[unweight_testkit::bf16("w", weights).stored(Form::RAW)],
            false,
        ),
    }
}
