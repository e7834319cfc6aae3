//! Fast codec with the same results as the [`reference`](mod@crate::reference).
//!
//! A [`Codec`] runs the kernels of an [`Isa`] that this machine supports. [`Codec::current`] is the
//! fastest one, unless the environment variable [`ISA_VARIABLE`] selects another. Each gives the
//! same bytes as the reference, accepts and rejects the same records, and gives the same errors.
//!
//! `decode` and `encode` have the algorithm, which is the same for all ISAs. `Kernels` has the hot
//! loops, with one set for each ISA. Unsafe code is only in the modules of the ISAs and in
//! `output`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod checked;
mod code_lengths;
mod decode;
mod decode_table;
mod encode;
mod encode_table;
mod isa;
mod kernels;
mod lanes;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod output;
mod portable;
mod scratch;

use std::mem::MaybeUninit;

use half::bf16;
use unweight_format::{Error, Palette, Record};

use crate::reference::{self, ExponentCounts, TensorPlan};
pub use checked::Checksums;
pub use code_lengths::EntryCounts;
use encode::ChunkPlan;
pub use isa::{Codec, ISA_VARIABLE, Isa, UnknownIsa};
pub use output::Output;
pub use scratch::Scratch;

impl Codec {
    /// Decodes a record into the weights of its chunk. Same as [`reference::decode_record`].
    ///
    /// # Errors
    /// `lane-overrun`, `lane-underrun`, `lane-padding`. The content of `weights` is then
    /// unspecified.
    pub fn decode_record(
        &self,
        scratch: &mut Scratch,
        record: &Record<'_>,
        palette: &Palette,
        sign_mantissa: &[u8],
        weights: &mut [bf16],
    ) -> Result<(), Error> {
        let Some(kernels) = self.kernels else {
            return reference::decode_record(record, palette, sign_mantissa, weights);
        };
        let mut output = Output::of_weights(weights);
        decode::weights(
            kernels,
            scratch,
            record,
            palette,
            sign_mantissa,
            &mut output,
        )?;
        decode::from_little_endian(weights);
        Ok(())
    }

    /// Decodes a record into the little-endian bytes of its chunk's weights, two for each
    /// sign-mantissa byte. All bytes are initialised on success.
    ///
    /// # Errors
    /// The errors of [`Codec::decode_record`].
    pub fn decode_record_bytes(
        &self,
        scratch: &mut Scratch,
        record: &Record<'_>,
        palette: &Palette,
        sign_mantissa: &[u8],
        bytes: &mut [MaybeUninit<u8>],
    ) -> Result<(), Error> {
        self.decode_into(
            scratch,
            record,
            palette,
            sign_mantissa,
            &mut Output::from(bytes),
        )?;
        Ok(())
    }

    /// Same as [`Codec::decode_record_bytes`], but returns the written bytes.
    ///
    /// # Errors
    /// The errors of [`Codec::decode_record`].
    #[expect(unsafe_code, reason = "output that is not initialized yet")]
    pub fn decode_into<'o>(
        &self,
        scratch: &mut Scratch,
        record: &Record<'_>,
        palette: &Palette,
        sign_mantissa: &[u8],
        output: &'o mut Output<'_>,
    ) -> Result<&'o [u8], Error> {
        let Some(kernels) = self.kernels else {
            let mut weights = vec![bf16::ZERO; sign_mantissa.len()];
            reference::decode_record(record, palette, sign_mantissa, &mut weights)?;
            let bytes: Vec<u8> = weights
                .iter()
                .flat_map(|weight| weight.to_le_bytes())
                .collect();
            return Ok(output.fill(&bytes));
        };
        decode::weights(kernels, scratch, record, palette, sign_mantissa, output)?;
        // SAFETY: kernels that report success have written every byte of the output.
        Ok(unsafe { output.written() })
    }

    /// Same as [`Codec::decode_into`], but also computes the checksums of the input and the output.
    /// `chunk_so_far` is the chunk checksum up to the sign-mantissa bytes. The checksums are not
    /// compared here.
    ///
    /// # Errors
    /// The errors of [`Codec::decode_record`].
    pub fn decode_checked(
        &self,
        scratch: &mut Scratch,
        record: &Record<'_>,
        palette: &Palette,
        sign_mantissa: &[u8],
        chunk_so_far: u32,
        output: &mut Output<'_>,
    ) -> Result<Checksums, Error> {
        let on_the_way = self.kernels.and_then(|kernels| {
            decode::weights_checked(
                kernels,
                scratch,
                record,
                palette,
                sign_mantissa,
                chunk_so_far,
                output,
            )
        });
        if let Some(done) = on_the_way {
            return done;
        }
        let weights = self.decode_into(scratch, record, palette, sign_mantissa, output)?;
        Ok(Checksums::of(chunk_so_far, sign_mantissa, weights))
    }

    /// Decodes a record into the exponents of its chunk, one for each element of `exponents`.
    ///
    /// # Errors
    /// The errors of [`Codec::decode_record`].
    pub fn decode_exponents(
        &self,
        scratch: &mut Scratch,
        record: &Record<'_>,
        palette: &Palette,
        exponents: &mut [u8],
    ) -> Result<(), Error> {
        let Some(kernels) = self.kernels else {
            let mut decoded = Vec::new();
            reference::decode_exponents(record, palette, exponents.len(), &mut decoded)?;
            exponents.copy_from_slice(&decoded);
            return Ok(());
        };
        decode::exponents(kernels, scratch, record, palette, exponents)
    }

    /// Adds the exponents of little-endian weights, two bytes each, to the counts.
    pub fn count_weights(&self, weights: &[u8], counts: &mut ExponentCounts) {
        match self.kernels {
            Some(kernels) => (kernels.count_weights)(weights, counts.as_array_mut()),
            None => counts.add_weights(&from_bytes(weights)),
        }
    }

    /// Adds these exponents to the counts.
    pub fn count_exponents(&self, exponents: &[u8], counts: &mut ExponentCounts) {
        match self.kernels {
            Some(kernels) => (kernels.count_exponents)(exponents, counts.as_array_mut()),
            None => counts.add_exponents(exponents),
        }
    }

    /// Encodes a chunk of 1 to 65,536 little-endian weights, two bytes each. Appends its
    /// sign-mantissa bytes to `sign_mantissa` and its record to `record`. Same as
    /// [`reference::encode_weights`].
    pub fn encode_weights(
        &self,
        scratch: &mut Scratch,
        plan: &TensorPlan,
        weights: &[u8],
        sign_mantissa: &mut Vec<u8>,
        record: &mut Vec<u8>,
    ) {
        let Some(kernels) = self.kernels else {
            let weights = from_bytes(weights);
            return reference::encode_weights(plan, &weights, sign_mantissa, record);
        };
        let start = sign_mantissa.len();
        sign_mantissa.resize(start + weights.len() / 2, 0);
        let sign_mantissa = &mut sign_mantissa[start..];
        let split = kernels.split;
        let plan = ChunkPlan {
            tensor: plan,
            counts: None,
        };
        encode::weights(
            kernels,
            scratch,
            split,
            plan,
            weights,
            sign_mantissa,
            record,
        );
    }

    /// Same as [`Codec::encode_weights`], but with known counts of the chunk's palette entries, and
    /// overwrites `sign_mantissa`. Returns the weights' CRC-32.
    pub fn encode_checked(
        &self,
        scratch: &mut Scratch,
        plan: &TensorPlan,
        counts: Option<EntryCounts>,
        weights: &[u8],
        sign_mantissa: &mut [u8],
        record: &mut Vec<u8>,
    ) -> u32 {
        let Some(kernels) = self.kernels else {
            let mut bytes = Vec::new();
            reference::encode_weights(plan, &from_bytes(weights), &mut bytes, record);
            sign_mantissa.copy_from_slice(&bytes);
            return crc32fast::hash(weights);
        };
        let split = |weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]| {
            if let Some(split_checked) = kernels.split_checked {
                return split_checked(weights, sign_mantissa, exponents);
            }
            (kernels.split)(weights, sign_mantissa, exponents);
            crc32fast::hash(weights)
        };
        let plan = ChunkPlan {
            tensor: plan,
            counts,
        };
        encode::weights(
            kernels,
            scratch,
            split,
            plan,
            weights,
            sign_mantissa,
            record,
        )
    }

    /// Appends the record of a chunk with these exponents and sign-mantissa bytes to `record`. Same
    /// as [`reference::encode_exponents`].
    pub fn encode_exponents(
        &self,
        scratch: &mut Scratch,
        plan: &TensorPlan,
        exponents: &[u8],
        sign_mantissa: &[u8],
        record: &mut Vec<u8>,
    ) {
        match self.kernels {
            Some(kernels) => {
                encode::exponents(kernels, scratch, plan, exponents, sign_mantissa, record)
            }
            None => reference::encode_exponents(plan, exponents, sign_mantissa, record),
        }
    }

    /// Joins exponents and sign-mantissa bytes into little-endian weights, two bytes each.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn join(&self, exponents: &[u8], sign_mantissa: &[u8], weights: &mut [u8]) {
        assert_eq!(exponents.len(), sign_mantissa.len());
        assert_eq!(weights.len(), 2 * sign_mantissa.len());
        let kernels = self.kernels.unwrap_or(&portable::KERNELS);
        (kernels.join)(exponents, sign_mantissa, &mut Output::from(weights));
    }
}

fn from_bytes(weights: &[u8]) -> Vec<bf16> {
    let (weights, _) = weights.as_chunks();
    weights
        .iter()
        .map(|&bytes| bf16::from_le_bytes(bytes))
        .collect()
}
