//! The kernels' view of a coded tensor. It mirrors `TensorJob` in `kernels/abi/tensor_job.cuh`.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::DeviceRepr;
use unweight_format::layout::{KIND_HUFFMAN, KIND_PALETTE, PALETTE_ENTRIES};
use unweight_format::{CodedPlanes, Encoding, RecordEnds};

use crate::encode_job::EncodeJob;

/// A job of the decoder. Pointers are device addresses.
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

// SAFETY: the fields are plain numbers, with the order and the alignment of the kernels' structure
// in C.
unsafe impl DeviceRepr for TensorJob {}

/// The kind of a job without records (`KIND_BYTES`).
const KIND_BYTES: u32 = u32::MAX;
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
    /// Size of a job in bytes.
    pub const BYTES: usize = size_of::<TensorJob>();

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

    /// A job for the output of an encoding job: its planes are those that the encoder writes, and
    /// its output is the encoder's source, weights or exponents, at this address. It serves to
    /// compute checksums, which cover outputs, and to decode the encoded records once the palette
    /// is known.
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

    /// Serializes jobs for the device.
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

/// The kind of the non-verbatim records of a tensor in this encoding.
pub(crate) const fn kind_of(encoding: Encoding) -> u32 {
    match encoding {
        Encoding::Palette => KIND_PALETTE as u32,
        _ => KIND_HUFFMAN as u32,
    }
}

/// Appends a job in the device's layout.
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

/// The length of a tensor's longest record in bytes.
pub fn longest_record_bytes(planes: &CodedPlanes, ends: &RecordEnds<'_>) -> u64 {
    (0..planes.chunk_count())
        .map(|number| ends.record(number).length)
        .max()
        .unwrap_or(0)
}
