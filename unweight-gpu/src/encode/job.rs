//! The kernels' view of a tensor to encode. It mirrors `EncodeJob` in `kernels/abi/encode_job.cuh`.

#![expect(unsafe_code, reason = "a layout that is shared with kernels")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;
use unweight_format::Encoding;
use unweight_format::layout::PALETTE_ENTRIES;

use crate::decode::job::{TensorJob, kind_of};

/// Size of a job's totals: four copies of its 256 counts, which different blocks add to, and 8
/// bytes for the number of finished chunks.
pub const TOTAL_BYTES: u64 = 4 * 256 * 8 + 8;

/// A job of the encoder. Pointers are device addresses. An address that a launch does not use may
/// be 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EncodeJob {
    /// Address of the BF16 weights, if the source is weights.
    pub weights: u64,
    /// Address of the exponent plane, if the source is planes.
    pub exponents: u64,
    /// Address of the source's sign-mantissa plane, if the source is planes.
    pub input_sign_mantissa: u64,
    /// Address of the source's [`TensorJob`], if the source is records.
    pub input: u64,
    /// The number of weights.
    pub weight_count: u64,
    /// Address of 256 counts of 4 bytes for each chunk.
    pub counts: u64,
    /// Address of [`TOTAL_BYTES`] bytes for the totals.
    pub totals: u64,
    /// Address of 16 counts of 4 bytes for each chunk.
    pub palette_counts: u64,
    /// Address of 8 bytes for each chunk.
    pub code_lengths: u64,
    /// Address of the sign-mantissa plane.
    pub sign_mantissa: u64,
    /// Address of 8 bytes for each chunk.
    pub look_back: u64,
    /// Address of 4 bytes for each chunk, if the source is records.
    pub record_lengths: u64,
    /// Address of 4 bytes for each chunk.
    pub record_ends: u64,
    /// Address of the records.
    pub records: u64,
    /// The index of the first chunk in the launch.
    pub first_chunk: u32,
    /// The number of chunks of the tensor.
    pub chunk_count: u32,
    /// Binary logarithm of the chunk size, 12 to 16.
    pub chunk_size_log2: u32,
    /// The kind of the records.
    pub kind: u32,
    /// The palette, which the device chooses.
    pub palette: [u8; PALETTE_ENTRIES],
}

// SAFETY: the fields are plain numbers without padding, at the offsets of the kernels' structure
// (asserted below and in its file).
unsafe impl DeviceRepr for EncodeJob {}

const _: () = {
    assert!(offset_of!(EncodeJob, weights) == 0);
    assert!(offset_of!(EncodeJob, exponents) == 8);
    assert!(offset_of!(EncodeJob, input_sign_mantissa) == 16);
    assert!(offset_of!(EncodeJob, input) == 24);
    assert!(offset_of!(EncodeJob, weight_count) == 32);
    assert!(offset_of!(EncodeJob, counts) == 40);
    assert!(offset_of!(EncodeJob, totals) == 48);
    assert!(offset_of!(EncodeJob, palette_counts) == 56);
    assert!(offset_of!(EncodeJob, code_lengths) == 64);
    assert!(offset_of!(EncodeJob, sign_mantissa) == 72);
    assert!(offset_of!(EncodeJob, look_back) == 80);
    assert!(offset_of!(EncodeJob, record_lengths) == 88);
    assert!(offset_of!(EncodeJob, record_ends) == 96);
    assert!(offset_of!(EncodeJob, records) == 104);
    assert!(offset_of!(EncodeJob, first_chunk) == 112);
    assert!(offset_of!(EncodeJob, chunk_count) == 116);
    assert!(offset_of!(EncodeJob, chunk_size_log2) == 120);
    assert!(offset_of!(EncodeJob, kind) == 124);
    assert!(offset_of!(EncodeJob, palette) == 128);
    assert!(size_of::<EncodeJob>() == 144);
};

impl EncodeJob {
    /// A job without addresses, which must be filled in. `encoding` must be huffman or palette.
    pub const fn new(
        encoding: Encoding,
        weight_count: u64,
        chunk_size_log2: u8,
        first_chunk: u32,
    ) -> EncodeJob {
        EncodeJob {
            weights: 0,
            exponents: 0,
            input_sign_mantissa: 0,
            input: 0,
            weight_count,
            counts: 0,
            totals: 0,
            palette_counts: 0,
            code_lengths: 0,
            sign_mantissa: 0,
            look_back: 0,
            record_lengths: 0,
            record_ends: 0,
            records: 0,
            first_chunk,
            // A tensor has at most 2^35 weights, in chunks of at least 2^12.
            chunk_count: weight_count.div_ceil(1 << chunk_size_log2) as u32,
            chunk_size_log2: chunk_size_log2 as u32,
            kind: kind_of(encoding),
            palette: [0; PALETTE_ENTRIES],
        }
    }

    /// A job for the checksum of this job's source, weights or exponents, at this address. Its
    /// planes are those that the encoder writes, so that it also decodes the records over the
    /// source, once the palette is known.
    pub(super) const fn checksum_job(&self, source: u64) -> TensorJob {
        TensorJob {
            sign_mantissa: self.sign_mantissa,
            record_ends: self.record_ends,
            records: self.records,
            output: source,
            weights: self.weight_count,
            first_chunk: self.first_chunk,
            skipped_chunks: 0,
            chunk_size_log2: self.chunk_size_log2,
            kind: self.kind,
            palette: self.palette,
        }
    }
}
