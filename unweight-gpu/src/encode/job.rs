//! The kernels' view of a coded field to encode. It mirrors `EncodeJob` in
//! `kernels/abi/encode_job.cuh`.

#![expect(unsafe_code, reason = "a layout that is shared with kernels")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;
use unweight_format::layout::PALETTE_ENTRIES;

/// Size of a job's totals: four copies of its 256 counts, which different blocks add to, and 8
/// bytes for the number of finished chunks.
pub const TOTAL_BYTES: u64 = 4 * 256 * 8 + 8;

/// A job of the encoder: a coded field of a tensor. Pointers are device addresses. An address that
/// a launch does not use may be 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodeJob {
    /// Address of the weights, if they are BF16 of which the exponent alone is coded.
    pub weights: u64,
    /// Address of the values of the field, for other weights.
    pub values: u64,
    /// Address of the source's [`TensorJob`](crate::decode::job::TensorJob), if the source is
    /// records.
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
    /// Address of 4 bytes for each chunk, if the source is values or records, for the first coded
    /// field.
    pub plain_remainders: u64,
    /// Address of the plain plane, if it is made with the records.
    pub plain: u64,
    /// Bytes of the plain plane and of the zeros that complete it.
    pub plain_limit: u64,
    /// Address of 8 bytes for each record of the tensor.
    pub look_back: u64,
    /// Address of 4 bytes for each record of the tensor, if the source is records.
    pub record_lengths: u64,
    /// Address of 4 bytes for each record of the tensor.
    pub record_ends: u64,
    /// Address of the tensor's records.
    pub records: u64,
    /// Address of the palette in the payload.
    pub stored_palette: u64,
    /// The index of the tensor's first record in the launch.
    pub first_chunk: u32,
    /// The number of chunks of the tensor.
    pub chunk_count: u32,
    /// Binary logarithm of the chunk size, 12 to 16.
    pub chunk_size_log2: u32,
    /// The kind of the records.
    pub kind: u32,
    /// Its number among the coded fields.
    pub field: u8,
    /// The number of coded fields of the tensor.
    pub field_count: u8,
    /// Bits of the field.
    pub value_bits: u8,
    /// Plain bits of a weight.
    pub plain_bits: u8,
    /// Not used.
    pub unused: u32,
    /// The palette, which the device chooses.
    pub palette: [u8; PALETTE_ENTRIES],
}

// SAFETY: the fields are plain numbers without padding, at the offsets of the kernels' structure
// (asserted below and in its file).
unsafe impl DeviceRepr for EncodeJob {}

const _: () = {
    assert!(offset_of!(EncodeJob, weights) == 0);
    assert!(offset_of!(EncodeJob, values) == 8);
    assert!(offset_of!(EncodeJob, input) == 16);
    assert!(offset_of!(EncodeJob, weight_count) == 24);
    assert!(offset_of!(EncodeJob, counts) == 32);
    assert!(offset_of!(EncodeJob, totals) == 40);
    assert!(offset_of!(EncodeJob, palette_counts) == 48);
    assert!(offset_of!(EncodeJob, code_lengths) == 56);
    assert!(offset_of!(EncodeJob, plain_remainders) == 64);
    assert!(offset_of!(EncodeJob, plain) == 72);
    assert!(offset_of!(EncodeJob, plain_limit) == 80);
    assert!(offset_of!(EncodeJob, look_back) == 88);
    assert!(offset_of!(EncodeJob, record_lengths) == 96);
    assert!(offset_of!(EncodeJob, record_ends) == 104);
    assert!(offset_of!(EncodeJob, records) == 112);
    assert!(offset_of!(EncodeJob, stored_palette) == 120);
    assert!(offset_of!(EncodeJob, first_chunk) == 128);
    assert!(offset_of!(EncodeJob, chunk_count) == 132);
    assert!(offset_of!(EncodeJob, chunk_size_log2) == 136);
    assert!(offset_of!(EncodeJob, kind) == 140);
    assert!(offset_of!(EncodeJob, field) == 144);
    assert!(offset_of!(EncodeJob, field_count) == 145);
    assert!(offset_of!(EncodeJob, value_bits) == 146);
    assert!(offset_of!(EncodeJob, plain_bits) == 147);
    assert!(offset_of!(EncodeJob, palette) == 152);
    assert!(size_of::<EncodeJob>() == 168);
};
