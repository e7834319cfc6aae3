//! A counting allocator, a counting storage, and containers for both.

#![expect(unsafe_code, reason = "a global allocator")]
// Each test binary uses only some of these items.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use half::bf16;
use unweight::{
    ReadError, Serial, Storage,
    container::{Encoder, OpenFile},
};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, Extent, SourceKind, weight};
use unweight_properties::Random;

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

/// Bytes in memory that are copied out like a file's, and the number of bytes read.
pub(crate) struct Counted {
    pub(crate) bytes: Vec<u8>,
    pub(crate) read: AtomicU64,
}

impl Counted {
    pub(crate) fn new(bytes: Vec<u8>) -> Counted {
        Counted {
            bytes,
            read: AtomicU64::new(0),
        }
    }
}

impl Storage for Counted {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        self.read.fetch_add(extent.length, Ordering::Relaxed);
        // The order is that of a file: the buffer is resized first, then filled.
        buffer.resize(
            usize::try_from(extent.length).map_err(|_| io::ErrorKind::OutOfMemory)?,
            0,
        );
        buffer.copy_from_slice(extent.of(&self.bytes).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(buffer)
    }
}

/// Checks every rule like `unweight verify`, without keeping the restored bytes. Returns their
/// number.
pub(crate) fn verify(file: &Counted) -> Result<u64, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container();
    let mut count = 0;
    unweight::container::restore(&container, &Serial, |bytes| {
        count += bytes.len() as u64;
        Ok::<_, ReadError>(())
    })?;
    Ok(count)
}

/// A container of one BF16 tensor whose exponents are distributed as in trained weights.
pub(crate) fn container_of(weights: u64, encoding: Encoding, chunk_size_log2: u8) -> Vec<u8> {
    let mut random = Random::new(weights);
    let weights: Vec<bf16> = (0..weights)
        .map(|_| {
            let bits = random.bits();
            weight(
                bits as u8,
                126 - (bits >> 8 | 1 << 24).trailing_zeros() as u8,
            )
        })
        .collect();
    let shape = [weights.len() as u64];
    let declared = vec![Declaration::new("w", Dtype::Bf16, &shape)];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    Encoder::default()
        .encode_tensor(
            &mut writer,
            &weights[..],
            encoding,
            chunk_size_log2,
            &Serial,
        )
        .unwrap();
    writer.finish().unwrap()
}

pub(crate) const ENCODINGS: [Encoding; 3] = [Encoding::Raw, Encoding::Huffman, Encoding::Palette];
