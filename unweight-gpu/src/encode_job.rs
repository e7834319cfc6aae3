//! The kernels' view of a tensor to encode. It mirrors `EncodeJob` in `kernels/abi/encode_job.cuh`.

use unweight_format::Encoding;
use unweight_format::layout::PALETTE_ENTRIES;

use crate::job::{kind_of, put_fields};

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
    pub source_sign_mantissa: u64,
    /// Address of the source's [`TensorJob`](crate::job::TensorJob), if the source is records.
    pub source: u64,
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
    pub places: u64,
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

impl EncodeJob {
    /// Size of a job in bytes.
    pub const BYTES: usize = size_of::<EncodeJob>();
    /// Offset of the palette in a job.
    pub const PALETTE_OFFSET: usize = std::mem::offset_of!(EncodeJob, palette);

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
            source_sign_mantissa: 0,
            source: 0,
            weight_count,
            counts: 0,
            totals: 0,
            palette_counts: 0,
            code_lengths: 0,
            sign_mantissa: 0,
            places: 0,
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

    /// The bytes of these jobs, for the device.
    pub fn bytes_of(jobs: &[EncodeJob]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of_val(jobs));
        for job in jobs {
            let words = [
                job.weights,
                job.exponents,
                job.source_sign_mantissa,
                job.source,
                job.weight_count,
                job.counts,
                job.totals,
                job.palette_counts,
                job.code_lengths,
                job.sign_mantissa,
                job.places,
                job.record_lengths,
                job.record_ends,
                job.records,
            ];
            let numbers = [
                job.first_chunk,
                job.chunk_count,
                job.chunk_size_log2,
                job.kind,
            ];
            put_fields(&mut bytes, &words, &numbers, &job.palette);
        }
        bytes
    }
}
