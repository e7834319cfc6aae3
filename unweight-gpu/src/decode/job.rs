//! The kernels' view of a coded tensor. It mirrors `TensorJob` in `kernels/abi/tensor_job.cuh`.

#![expect(unsafe_code, reason = "a layout that is shared with kernels")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;
use unweight_format::layout::{KIND_HUFFMAN, KIND_PALETTE, PALETTE_ENTRIES};
use unweight_format::{CodedPlanes, Encoding, RecordEnds};

/// A job of the decoder. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TensorJob {
    pub(crate) sign_mantissa: u64,
    pub(crate) record_ends: u64,
    pub(crate) records: u64,
    pub(crate) output: u64,
    pub(crate) weights: u64,
    pub(crate) first_chunk: u32,
    pub(crate) skipped_chunks: u32,
    pub(crate) chunk_size_log2: u32,
    pub(crate) kind: u32,
    pub(crate) palette: [u8; PALETTE_ENTRIES],
}

// SAFETY: the fields are plain numbers without padding, at the offsets of the kernels' structure
// (asserted below and in its file).
unsafe impl DeviceRepr for TensorJob {}

const _: () = {
    assert!(offset_of!(TensorJob, sign_mantissa) == 0);
    assert!(offset_of!(TensorJob, record_ends) == 8);
    assert!(offset_of!(TensorJob, records) == 16);
    assert!(offset_of!(TensorJob, output) == 24);
    assert!(offset_of!(TensorJob, weights) == 32);
    assert!(offset_of!(TensorJob, first_chunk) == 40);
    assert!(offset_of!(TensorJob, skipped_chunks) == 44);
    assert!(offset_of!(TensorJob, chunk_size_log2) == 48);
    assert!(offset_of!(TensorJob, kind) == 52);
    assert!(offset_of!(TensorJob, palette) == 56);
    assert!(size_of::<TensorJob>() == 72);
};

/// The kind of a job without records (`KIND_BYTES`).
pub const KIND_BYTES: u32 = u32::MAX;
/// Binary logarithm of the number of bytes that a warp checksums at a time in a raw tensor.
pub(crate) const BYTES_CHUNK_LOG2: u32 = 16;

/// The addresses of a tensor's planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Address of the sign-mantissa plane: a multiple of 256, readable up to the next multiple.
    pub sign_mantissa: u64,
    /// Address of the record ends.
    pub record_ends: u64,
    /// Address of the records: a multiple of 16.
    pub records: u64,
}

impl TensorJob {
    /// Offset of the palette in a job.
    pub const PALETTE_OFFSET: usize = offset_of!(TensorJob, palette);

    /// A job that decodes a tensor to `output` without its first `skipped_chunks` chunks. The next
    /// chunk has index `first_chunk` in the launch.
    pub fn new(
        planes: &CodedPlanes,
        at: Addresses,
        output: u64,
        first_chunk: u32,
        skipped_chunks: u32,
    ) -> TensorJob {
        TensorJob {
            sign_mantissa: at.sign_mantissa,
            record_ends: at.record_ends,
            records: at.records,
            output,
            weights: planes.weights(),
            first_chunk,
            skipped_chunks,
            chunk_size_log2: planes.chunk_size_log2().into(),
            kind: kind_of(planes.encoding()),
            palette: *planes.palette().exponents(),
        }
    }

    /// A job whose output is this many bytes of any kind, for their checksum.
    pub const fn of_bytes(output: u64, bytes: u64, first_chunk: u32) -> TensorJob {
        TensorJob {
            sign_mantissa: 0,
            record_ends: 0,
            records: 0,
            output,
            weights: bytes,
            first_chunk,
            skipped_chunks: 0,
            chunk_size_log2: BYTES_CHUNK_LOG2,
            kind: KIND_BYTES,
            palette: [0; PALETTE_ENTRIES],
        }
    }
}

/// The kind of the non-verbatim records of a tensor in this encoding.
pub(crate) const fn kind_of(encoding: Encoding) -> u32 {
    match encoding {
        Encoding::Palette => KIND_PALETTE as u32,
        _ => KIND_HUFFMAN as u32,
    }
}

/// The length of a tensor's longest record in bytes.
pub fn longest_record_bytes(planes: &CodedPlanes, ends: &RecordEnds<'_>) -> u64 {
    (0..planes.chunk_count())
        .map(|number| ends.record(number).length)
        .max()
        .unwrap_or(0)
}
