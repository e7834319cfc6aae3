//! The kernels' view of a tensor. It mirrors `TensorJob` in `kernels/abi/tensor_job.cuh`.

#![expect(unsafe_code, reason = "a layout that is shared with kernels")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;
use unweight_format::layout::{FIELDS, KIND_HUFFMAN, KIND_PALETTE, LANES, STEP_WEIGHTS};
use unweight_format::{Dtype, Encoding, Form, Palettes, Payload, RecordEnds};

/// A job of the decoder. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TensorJob {
    pub(crate) plain: u64,
    pub(crate) record_ends: u64,
    pub(crate) records: u64,
    pub(crate) palettes: u64,
    pub(crate) output: u64,
    pub(crate) weights: u64,
    pub(crate) plain_mask: u64,
    pub(crate) constants: u64,
    pub(crate) first_chunk: u32,
    pub(crate) skipped_chunks: u32,
    pub(crate) chunk_size_log2: u8,
    pub(crate) weight_bytes: u8,
    pub(crate) plain_bits: u8,
    pub(crate) coded_count: u8,
    pub(crate) fields: [JobField; FIELDS],
}

/// A coded field in a job.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JobField {
    pub(crate) low: u8,
    pub(crate) width: u8,
    pub(crate) kind: u8,
    pub(crate) palette: u8,
}

// SAFETY: the fields are plain numbers at the offsets of the kernels' structure (asserted below and
// in its file). Bytes of padding at its end are never read.
unsafe impl DeviceRepr for TensorJob {}

const _: () = {
    assert!(offset_of!(TensorJob, plain) == 0);
    assert!(offset_of!(TensorJob, record_ends) == 8);
    assert!(offset_of!(TensorJob, records) == 16);
    assert!(offset_of!(TensorJob, palettes) == 24);
    assert!(offset_of!(TensorJob, output) == 32);
    assert!(offset_of!(TensorJob, weights) == 40);
    assert!(offset_of!(TensorJob, plain_mask) == 48);
    assert!(offset_of!(TensorJob, constants) == 56);
    assert!(offset_of!(TensorJob, first_chunk) == 64);
    assert!(offset_of!(TensorJob, skipped_chunks) == 68);
    assert!(offset_of!(TensorJob, chunk_size_log2) == 72);
    assert!(offset_of!(TensorJob, weight_bytes) == 73);
    assert!(offset_of!(TensorJob, plain_bits) == 74);
    assert!(offset_of!(TensorJob, coded_count) == 75);
    assert!(offset_of!(TensorJob, fields) == 76);
    assert!(size_of::<JobField>() == 4);
    assert!(size_of::<TensorJob>() == 112);
};

/// Binary logarithm of the number of bytes that a warp checksums at a time in a raw tensor: those
/// of a block.
pub(crate) const BYTES_CHUNK_LOG2: u8 = 16;
/// Binary logarithm of the number of weights that a warp joins at a time in a tensor without coded
/// fields.
const PLAIN_CHUNK_LOG2: u8 = 13;
/// Bytes that kernels may read behind the last step of a plain plane.
pub const PLAIN_SLACK_BYTES: u64 = 16;

/// The addresses of a tensor's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Address of the plain plane: a multiple of 16, readable for [`readable_plain_bytes`].
    pub plain: u64,
    /// Address of the palettes.
    pub palettes: u64,
    /// Address of the record ends.
    pub record_ends: u64,
    /// Address of the records: a multiple of 16.
    pub records: u64,
}

impl Addresses {
    /// The addresses of a payload that was copied to this address, a multiple of 256.
    pub fn of(payload: &Payload, start: u64) -> Addresses {
        let place = |offset: u64| start + (offset - payload.start());
        Addresses {
            plain: start,
            palettes: place(payload.palettes().offset),
            record_ends: place(payload.record_ends().offset),
            records: place(payload.records().offset),
        }
    }
}

/// The bytes from the start of a plain plane on that kernels may read: whole steps, and a little
/// more.
pub fn readable_plain_bytes(payload: &Payload) -> u64 {
    let steps = payload.weights().div_ceil(STEP_WEIGHTS as u64);
    // The 256 weights of a step have 32 bytes for each plain bit.
    let step_bytes = LANES as u64 * u64::from(payload.forms().plain_bits());
    steps * step_bytes + PLAIN_SLACK_BYTES
}

/// Binary logarithm of the weights of a chunk of a job for this tensor.
pub(crate) fn chunk_size_log2(payload: &Payload) -> u8 {
    match payload.forms().is_coded() {
        true => payload.chunk_size_log2(),
        false => PLAIN_CHUNK_LOG2,
    }
}

impl TensorJob {
    /// Offset of the fields in a job.
    pub const FIELDS_OFFSET: usize = offset_of!(TensorJob, fields);

    /// A job that decodes a tensor to `output` without its first `skipped_chunks` chunks. The next
    /// chunk has index `first_chunk` in the launch.
    pub fn new(
        payload: &Payload,
        palettes: &Palettes,
        at: Addresses,
        output: u64,
        first_chunk: u32,
        skipped_chunks: u32,
    ) -> TensorJob {
        let forms = payload.forms();
        let mut fields = [JobField::default(); FIELDS];
        for coded in forms.coded() {
            let before = forms.iter().take(coded.field_number);
            let palettes_before = before.filter(|(_, form)| *form != Form::Plain).count();
            fields[coded.number] = JobField {
                low: coded.field.low() as u8,
                width: coded.field.width() as u8,
                kind: kind_of(coded.encoding),
                palette: palettes_before as u8,
            };
        }
        TensorJob {
            plain: at.plain,
            record_ends: at.record_ends,
            records: at.records,
            palettes: at.palettes,
            output,
            weights: payload.weights(),
            plain_mask: forms.plain_mask(),
            constants: palettes.constant_bits(),
            first_chunk,
            skipped_chunks,
            chunk_size_log2: chunk_size_log2(payload),
            weight_bytes: forms.dtype().weight_bytes() as u8,
            plain_bits: forms.plain_bits() as u8,
            coded_count: forms.coded_count() as u8,
            fields,
        }
    }

    /// The bytes of the job in device memory.
    pub(crate) fn to_bytes(self) -> [u8; size_of::<TensorJob>()] {
        let mut bytes = [0; size_of::<TensorJob>()];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        for (at, address) in [
            (offset_of!(TensorJob, plain), self.plain),
            (offset_of!(TensorJob, record_ends), self.record_ends),
            (offset_of!(TensorJob, records), self.records),
            (offset_of!(TensorJob, palettes), self.palettes),
            (offset_of!(TensorJob, output), self.output),
            (offset_of!(TensorJob, weights), self.weights),
            (offset_of!(TensorJob, plain_mask), self.plain_mask),
            (offset_of!(TensorJob, constants), self.constants),
        ] {
            put(at, &address.to_ne_bytes());
        }
        let [first, skipped] = [self.first_chunk, self.skipped_chunks].map(u32::to_ne_bytes);
        put(offset_of!(TensorJob, first_chunk), &first);
        put(offset_of!(TensorJob, skipped_chunks), &skipped);
        let small = [
            self.chunk_size_log2,
            self.weight_bytes,
            self.plain_bits,
            self.coded_count,
        ];
        put(offset_of!(TensorJob, chunk_size_log2), &small);
        for (number, field) in self.fields.iter().enumerate() {
            let at = offset_of!(TensorJob, fields) + number * size_of::<JobField>();
            put(at, &[field.low, field.width, field.kind, field.palette]);
        }
        bytes
    }

    /// The number of chunks of the whole tensor.
    pub fn chunk_count(&self) -> u64 {
        self.weights.div_ceil(1 << self.chunk_size_log2)
    }

    /// The length in bytes of the weights of every chunk but the last.
    pub fn chunk_bytes(&self) -> u64 {
        u64::from(self.weight_bytes) << self.chunk_size_log2
    }

    /// A job whose output is this many bytes of any kind, for their checksum.
    pub fn of_bytes(output: u64, bytes: u64, first_chunk: u32) -> TensorJob {
        TensorJob {
            output,
            weights: bytes,
            first_chunk,
            chunk_size_log2: BYTES_CHUNK_LOG2,
            weight_bytes: 1,
            ..TensorJob::default()
        }
    }

    /// A job whose blocks are compared with their checksums, at `block_checksums`.
    pub fn of_blocks(plain: u64, bytes: u64, block_checksums: u64, first_chunk: u32) -> TensorJob {
        TensorJob {
            record_ends: block_checksums,
            ..TensorJob::of_bytes(plain, bytes, first_chunk)
        }
    }
}

/// The kind of the non-verbatim records of a field in this encoding.
pub(crate) const fn kind_of(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Palette => KIND_PALETTE,
        Encoding::Huffman => KIND_HUFFMAN,
    }
}

/// Whether the exponent is the first coded field of a BF16 tensor.
pub(crate) fn has_coded_exponent(payload: &Payload) -> bool {
    let forms = payload.forms();
    forms.dtype() == Dtype::Bf16 && forms.form(0).encoding().is_some()
}

/// The length in bytes of a chunk's records, the longest of the tensor.
pub fn longest_records_bytes(payload: &Payload, ends: &RecordEnds<'_>) -> u64 {
    (0..payload.chunk_count())
        .map(|number| ends.chunk(number).length)
        .max()
        .unwrap_or(0)
}
