//! A tensor to be encoded as the kernels see it: the twin of `EncodeJob` in `kernels/abi/encode_job.cuh`.

use unweight_format::Encoding;
use unweight_format::layout::PALETTE_ENTRIES;

use crate::job::{kind_of, put_fields};

/// What a job's totals take: four copies of its 256 counts, which different blocks add to, and 8 bytes to count the chunks that are done.
pub const TOTAL_BYTES: u64 = 4 * 256 * 8 + 8;

/// Pointers are addresses of the device; what a launch does not follow may be 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EncodeJob {
    /// Of the BF16 weights, where the source is weights.
    pub weights: u64,
    /// Of the exponent plane, where the source is planes.
    pub exponents: u64,
    /// Of the source's sign-mantissa plane, likewise.
    pub source_sign_mantissa: u64,
    /// Of the [`TensorJob`](crate::job::TensorJob) of the source, where it is records.
    pub source: u64,
    /// How many these are.
    pub weight_count: u64,
    /// 256 counts of 4 bytes for each chunk.
    pub counts: u64,
    /// [`TOTAL_BYTES`].
    pub totals: u64,
    /// 16 counts of 4 bytes for each chunk.
    pub palette_counts: u64,
    /// 8 bytes for each chunk.
    pub code_lengths: u64,
    /// Of the sign-mantissa plane.
    pub sign_mantissa: u64,
    /// 8 bytes for each chunk.
    pub places: u64,
    /// 4 bytes for each chunk, where the source is records.
    pub record_lengths: u64,
    /// 4 bytes for each chunk.
    pub record_ends: u64,
    /// Of the records.
    pub records: u64,
    /// Its number in the launch.
    pub first_chunk: u32,
    /// How many chunks the tensor has.
    pub chunk_count: u32,
    /// 12 to 16.
    pub chunk_size_log2: u32,
    /// Of the records.
    pub kind: u32,
    /// Chosen on the device.
    pub palette: [u8; PALETTE_ENTRIES],
}

impl EncodeJob {
    /// Bytes of a job.
    pub const BYTES: usize = size_of::<EncodeJob>();
    /// Where its palette stands.
    pub const PALETTE_OFFSET: usize = std::mem::offset_of!(EncodeJob, palette);

    /// A job whose addresses are still to be filled in. `encoding` is huffman or palette.
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
            // At most 2^35 weights in chunks of at least 2^12.
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
