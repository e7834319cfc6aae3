//! A coded tensor as the kernels see it: the twin of `TensorJob` in `kernels/abi/tensor_job.cuh`.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::DeviceRepr;
use unweight_format::layout::{KIND_HUFFMAN, KIND_PALETTE, PALETTE_ENTRIES};
use unweight_format::{CodedPlanes, Encoding, RecordEnds};

use crate::encode_job::EncodeJob;

/// Pointers are addresses of the device.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TensorJob {
    sign_mantissa: u64,
    record_ends: u64,
    records: u64,
    output: u64,
    weights: u64,
    first_chunk: u32,
    skipped_chunks: u32,
    chunk_size_log2: u32,
    kind: u32,
    palette: [u8; PALETTE_ENTRIES],
}

// SAFETY: plain numbers, in the order and with the alignment that C gives the kernels' structure.
unsafe impl DeviceRepr for TensorJob {}

/// The kind of a job that has no records (`KIND_BYTES`).
const KIND_BYTES: u32 = u32::MAX;
/// A raw tensor's bytes, for the checksum of which a warp takes so many at a time, as a binary logarithm.
pub(crate) const BYTES_CHUNK_LOG2: u32 = 16;

/// Where a tensor's planes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Of the sign-mantissa plane: a multiple of 256, readable up to one.
    pub sign_mantissa: u64,
    /// Of the record ends.
    pub record_ends: u64,
    /// Of the records: a multiple of 16.
    pub records: u64,
}

impl TensorJob {
    /// Bytes of a job.
    pub const BYTES: usize = size_of::<TensorJob>();

    /// The job of decoding a tensor to `output` without its first `skipped_chunks`. The first chunk behind these is number `first_chunk` of the launch.
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

    /// A job whose planes are what another job makes, and whose output is what it encodes, weights or exponents at this address: for checksums, which are
    /// computed of outputs, and to decode what was made, when its palette is known.
    pub(crate) const fn of_source(job: &EncodeJob, source: u64) -> TensorJob {
        TensorJob {
            sign_mantissa: job.sign_mantissa,
            record_ends: job.record_ends,
            records: job.records,
            output: source,
            weights: job.weight_count,
            first_chunk: job.first_chunk,
            skipped_chunks: 0,
            chunk_size_log2: job.chunk_size_log2,
            kind: job.kind,
            palette: job.palette,
        }
    }

    pub(crate) const fn with_palette(self, palette: [u8; PALETTE_ENTRIES]) -> TensorJob {
        TensorJob { palette, ..self }
    }

    /// A job whose output is so many bytes of any kind: for their checksum.
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

    /// The bytes of these jobs, for the device.
    pub fn bytes_of(jobs: &[TensorJob]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of_val(jobs));
        for job in jobs {
            let pointers = [
                job.sign_mantissa,
                job.record_ends,
                job.records,
                job.output,
                job.weights,
            ];
            let numbers = [
                job.first_chunk,
                job.skipped_chunks,
                job.chunk_size_log2,
                job.kind,
            ];
            put_fields(&mut bytes, &pointers, &numbers, &job.palette);
        }
        bytes
    }
}

/// The kind of the records of a tensor in this encoding, verbatim ones aside.
pub(crate) const fn kind_of(encoding: Encoding) -> u32 {
    match encoding {
        Encoding::Palette => KIND_PALETTE as u32,
        _ => KIND_HUFFMAN as u32,
    }
}

/// Appends a job as the device has it.
pub(crate) fn put_fields(
    bytes: &mut Vec<u8>,
    words: &[u64],
    numbers: &[u32],
    palette: &[u8; PALETTE_ENTRIES],
) {
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(palette);
}

/// The longest record of a tensor, in bytes.
pub fn longest_record_bytes(planes: &CodedPlanes, ends: &RecordEnds<'_>) -> u64 {
    (0..planes.chunk_count())
        .map(|number| ends.record(number).length)
        .max()
        .unwrap_or(0)
}
