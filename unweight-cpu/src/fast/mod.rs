//! Fast codec with the same results as the [`reference`](mod@crate::reference).
//!
//! A [`Codec`] runs the kernels of an [`Isa`] that this machine supports. [`Codec::current`] is the
//! fastest one, unless the environment variable [`ISA_VARIABLE`] selects another. Each gives the
//! same bytes as the reference, accepts and rejects the same records, and gives the same errors.
//!
//! Tensors of any type and any forms are split and encoded field by field. To decode a chunk, the
//! values of all coded fields but the last are decoded first; those of the last are joined with
//! them and with the plain bits where the lanes are decoded. There are faster kernels for BF16
//! weights of which the exponent alone is coded.
//!
//! `decode` and `encode` have the algorithm, which is the same for all ISAs. `Kernels` has the hot
//! loops, with one set for each ISA. Unsafe code is only in the modules of the ISAs and in
//! `output`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bf16;
mod checked;
mod code_lengths;
mod decode;
mod decode_table;
mod encode;
mod encode_table;
mod isa;
mod kernels;
mod lanes;
mod layout;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod output;
mod plain_bytes;
mod portable;
mod scratch;

use std::mem::MaybeUninit;

use decode::Chunk;
use layout::{Layout, Place};
use unweight_format::{Dtype, Error, Field, Forms, Palette, Palettes, Record};

use crate::reference::{self, FieldPlan, Sample, SampledForms, TensorPlan, ValueCounts};
use crate::{ChunkEntryCounts, ChunkRecords, CountedChunk};
pub use checked::Checksums;
pub use isa::{Codec, ISA_VARIABLE, Isa, UnknownIsa};
pub use output::Output;
pub use scratch::Scratch;

/// Weights whose values are extracted at a time for counting.
const COUNTED_AT_ONCE: usize = 4096;

impl Codec {
    /// Decodes a chunk into its little-endian weights, which fill `output`, and returns them.
    /// `records` has the record of each coded field, and `plain` the chunk's bytes of the plain
    /// plane. Same as [`reference::decode_chunk`].
    ///
    /// Without coded fields there are no records, and the weights may be any of the tensor whose
    /// plain bits begin at bit 0 of a byte.
    ///
    /// # Errors
    /// `lane-overrun`, `lane-underrun`, `lane-padding`. The content of `output` is then
    /// unspecified.
    ///
    /// # Panics
    /// If records, plain bytes and output are not those of the same number of weights.
    #[expect(unsafe_code, reason = "output that is not initialized yet")]
    pub fn decode_chunk<'o>(
        &self,
        scratch: &mut Scratch,
        palettes: &Palettes,
        records: &[Record<'_>],
        plain: &[u8],
        output: &'o mut Output<'_>,
    ) -> Result<&'o [u8], Error> {
        let chunk = Chunk {
            palettes,
            records,
            plain,
        };
        let Some(kernels) = self.kernels else {
            let count = chunk.weights(output.len());
            let mut weights = Vec::new();
            reference::decode_chunk(palettes, count, records, plain, &mut weights)?;
            return Ok(output.fill(&weights));
        };
        decode::weights(kernels, scratch, &chunk, output)?;
        // SAFETY: kernels that report success have written every byte of the output.
        Ok(unsafe { output.written() })
    }

    /// Same as [`Codec::decode_chunk`], for output that is not initialised. All bytes are
    /// initialised on success.
    ///
    /// # Errors
    /// The errors of [`Codec::decode_chunk`].
    pub fn decode_chunk_bytes(
        &self,
        scratch: &mut Scratch,
        palettes: &Palettes,
        records: &[Record<'_>],
        plain: &[u8],
        bytes: &mut [MaybeUninit<u8>],
    ) -> Result<(), Error> {
        let mut output = Output::from(bytes);
        self.decode_chunk(scratch, palettes, records, plain, &mut output)?;
        Ok(())
    }

    /// Same as [`Codec::decode_chunk`], but also computes the checksums of the first record and of
    /// the weights. `record_so_far` is the checksum of the first record up to the plain bytes. The
    /// checksums are not compared here, and those of other records are not computed.
    ///
    /// # Errors
    /// The errors of [`Codec::decode_chunk`].
    pub fn decode_checked(
        &self,
        scratch: &mut Scratch,
        palettes: &Palettes,
        records: &[Record<'_>],
        plain: &[u8],
        record_so_far: u32,
        output: &mut Output<'_>,
    ) -> Result<Checksums, Error> {
        let chunk = Chunk {
            palettes,
            records,
            plain,
        };
        let on_the_way = self.kernels.and_then(|kernels| {
            decode::weights_checked(kernels, scratch, &chunk, record_so_far, output)
        });
        if let Some(done) = on_the_way {
            return done;
        }
        // First, because the plain bytes come faster from memory if they are read in order.
        let record = checked::continued(record_so_far, plain);
        let weights = self.decode_chunk(scratch, palettes, records, plain, output)?;
        let weights = checked::continued(0, weights);
        Ok(Checksums { record, weights })
    }

    /// Decodes a record into the values of its chunk, one for each element of `values`. Same as
    /// [`reference::decode_values`].
    ///
    /// # Errors
    /// The errors of [`Codec::decode_chunk`].
    ///
    /// # Panics
    /// If the chunk of the record has not so many weights.
    pub fn decode_values(
        &self,
        scratch: &mut Scratch,
        record: &Record<'_>,
        palette: &Palette,
        values: &mut [u8],
    ) -> Result<(), Error> {
        let Some(kernels) = self.kernels else {
            let mut decoded = Vec::new();
            reference::decode_values(record, palette, &mut decoded)?;
            values.copy_from_slice(&decoded);
            return Ok(());
        };
        decode::values(kernels, scratch, 0, record, palette, values)
    }

    /// Adds these weights, little-endian, to a sample. Same as [`Sample::add_weights`].
    pub fn count_sample(&self, sample: &mut Sample, weights: &[u8]) {
        let dtype = sample.dtype();
        for (field, counts) in sample.fields_mut() {
            self.count_field(dtype, field, weights, counts);
        }
    }

    /// Counts a chunk of little-endian weights of a tensor with these forms. Same as
    /// [`reference::count_chunk`].
    ///
    /// # Panics
    /// If there are no weights.
    pub fn count_chunk(&self, forms: &SampledForms, weights: &[u8]) -> CountedChunk {
        if self.kernels.is_none() {
            return reference::count_chunk(forms, weights);
        }
        let dtype = forms.forms().dtype();
        let size = dtype.weight_bytes();
        let mut weight = [0; 8];
        weight[..size].copy_from_slice(&weights[..size]);
        let weight = u64::from_le_bytes(weight);
        let undecided = forms.undecided_bits();
        let differing = match undecided {
            0 => 0,
            _ => portable::differing_bits(size, weight, weights),
        };
        CountedChunk::of(forms, weight, differing, |field| {
            let mut counts = ValueCounts::default();
            match field.mask() & (differing | !undecided) {
                0 => counts.add_times(field.get(weight), (weights.len() / size) as u64),
                _ => self.count_field(dtype, field, weights, &mut counts),
            }
            counts
        })
    }

    /// The bits in which any of these little-endian weights differs from `weight`.
    ///
    /// # Panics
    /// If the last weight is cut.
    pub fn differing_bits(&self, dtype: Dtype, weight: u64, weights: &[u8]) -> u64 {
        let size = dtype.weight_bytes();
        assert!(weights.len().is_multiple_of(size), "whole weights");
        portable::differing_bits(size, weight, weights)
    }

    /// Adds the values of a field of little-endian weights of this type to the counts.
    pub fn count_field(
        &self,
        dtype: Dtype,
        field: Field,
        weights: &[u8],
        counts: &mut ValueCounts,
    ) {
        let size = dtype.weight_bytes();
        let Some(kernels) = self.kernels else {
            return counts.add_weights(field, size, weights);
        };
        if size == 2 && field.mask() == bf16::EXPONENT {
            return (kernels.bf16.count)(weights, counts.as_array_mut());
        }
        let mut values = [0; COUNTED_AT_ONCE];
        for weights in weights.chunks(COUNTED_AT_ONCE * size) {
            let values = &mut values[..weights.len() / size];
            (kernels.field_values)(size, Place::of(field), weights, values);
            (kernels.count_values)(values, counts.as_array_mut());
        }
    }

    /// Adds these values to the counts.
    pub fn count_values(&self, values: &[u8], counts: &mut ValueCounts) {
        match self.kernels {
            Some(kernels) => (kernels.count_values)(values, counts.as_array_mut()),
            None => counts.add_values(values),
        }
    }

    /// Encodes a chunk of 1 to 65,536 little-endian weights. Writes its bytes of the plain plane to
    /// `plain`, and appends its records to `records`. `counts` has the counts of palette entries in
    /// the chunk that are known. Returns the weights' CRC-32. Same as [`reference::encode_chunk`].
    ///
    /// # Panics
    /// If `plain` has not the length of the chunk's plain bytes.
    pub fn encode_chunk(
        &self,
        scratch: &mut Scratch,
        plan: &TensorPlan,
        counts: &ChunkEntryCounts,
        weights: &[u8],
        plain: &mut [u8],
        records: &mut ChunkRecords,
    ) -> u32 {
        let Some(kernels) = self.kernels else {
            let mut bytes = Vec::new();
            reference::encode_chunk(plan, weights, &mut bytes, records);
            plain.copy_from_slice(&bytes);
            return crc32fast::hash(weights);
        };
        encode::weights(kernels, scratch, plan, counts, weights, plain, records)
    }

    /// Appends the record of a chunk with these values of a field to `record`. `plain` has the
    /// chunk's bytes of the plain plane. Same as [`reference::encode_values`].
    pub fn encode_values(
        &self,
        scratch: &mut Scratch,
        plan: &FieldPlan,
        values: &[u8],
        plain: &[u8],
        record: &mut Vec<u8>,
    ) {
        match self.kernels {
            Some(kernels) => encode::values(kernels, scratch, plan, values, plain, record),
            None => reference::encode_values(plan, values, plain, record),
        }
    }

    /// Splits little-endian weights into their bytes of the plain plane and the values of each
    /// coded field. The first weight's plain bits begin at bit 0 of a byte. Same as
    /// [`reference::split`].
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn split(&self, forms: Forms, weights: &[u8], plain: &mut [u8], values: &mut [&mut [u8]]) {
        let kernels = self.kernels.unwrap_or(&portable::KERNELS);
        match values {
            [exponents] if forms.is_bf16_exponent() => {
                let lengths = (2 * plain.len(), 2 * exponents.len());
                assert_eq!(lengths, (weights.len(), weights.len()));
                (kernels.bf16.split)(weights, plain, exponents);
            }
            _ => encode::split_weights(kernels, &Layout::of(forms), weights, plain, values),
        }
    }

    /// Joins plain bytes and the values of each coded field into little-endian weights, with the
    /// constants of the palettes. Same as [`reference::join`].
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn join(
        &self,
        palettes: &Palettes,
        plain: &[u8],
        values: &[&[u8]],
        output: &mut Output<'_>,
    ) {
        let kernels = self.kernels.unwrap_or(&portable::KERNELS);
        decode::join_weights(kernels, palettes, plain, values, output);
    }
}
