//! Plain bits at their places in weights, 64 bytes of weights at a time.
//!
//! ```text
//!   plain plane   ... | W bits | W bits | W bits | ...
//!   vpermb            each 64-bit element gets the bytes with the plain bits of its weights
//!   vpmultishiftqb    each byte gets eight bits from any bit of its element on
//! ```
//!
//! Plain bits that are neighbours in the weight are a run. One multishift puts a run to its place
//! in all weights, and a mask removes the bits beside it. E4M3 with a coded exponent has two runs:
//! the mantissa and the sign.

use std::arch::x86_64::*;

use super::prefetch;
use crate::fast::layout::Layout;
use crate::fast::plain_bytes::STEP_BYTES;

/// Bytes of weights in a vector.
pub(super) const VECTOR: usize = 64;
/// Prefetch distance. It reaches across the end of a page, where the hardware prefetcher stops.
const AHEAD: usize = 4096;
/// The most runs of a weight of at most four bytes: more than fields of such a type.
const RUNS: usize = 9;

/// A byte of 1 in each place.
const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
/// Bytes 0 to 7.
const IN_ORDER: u64 = 0x0706_0504_0302_0100;

/// Whether [`Plain`] can be made for weights of this layout: weights of at most four bytes, and the
/// plain bits of eight bytes of weights fit an element wherever they begin.
pub(super) fn fits(layout: &Layout) -> bool {
    let bits = layout.word_bits();
    // An element gets whole bytes, so its plain bits begin at up to bit 7 of it.
    let latest = (0..8).map(|element| element * bits % 8).max().unwrap_or(0);
    layout.weight_bytes < 8 && bits + latest <= 64
}

/// Whether there are at most two runs of plain bits in a weight.
pub(super) fn is_simple(layout: &Layout) -> bool {
    layout.runs().count() <= 2
}

/// A run of plain bits.
#[derive(Clone, Copy)]
struct Run {
    /// The bit of its element from which each byte gets its bits.
    bits: __m512i,
    mask: __m512i,
}

/// Loads plain bits of weights of a layout.
#[derive(Clone, Copy)]
pub(super) struct Plain {
    bytes: __m512i,
    constants: __m512i,
    runs: [Run; RUNS],
    count: usize,
    /// Bytes of the plain plane for each vector of weights.
    stride: usize,
}

impl Plain {
    /// For weights of this layout, if it fits.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn of(layout: &Layout) -> Option<Plain> {
        if !fits(layout) {
            return None;
        }
        let bits = layout.word_bits();
        let elements = [0, 1, 2, 3, 4, 5, 6, 7];
        let nothing = Run {
            bits: _mm512_setzero_si512(),
            mask: _mm512_setzero_si512(),
        };
        let mut plain = Plain {
            bytes: vector(
                elements.map(|element| IN_ORDER + EACH_BYTE * (element * bits / 8) as u64),
            ),
            constants: _mm512_set1_epi64(layout.constants as i64),
            runs: [nothing; RUNS],
            count: 0,
            stride: bits,
        };
        let mut number = 0;
        for (place, length) in layout.runs() {
            // A byte whose place for the run's first bit is `place` begins so many bits before it.
            // Only the lowest six bits of these numbers count.
            let starts: [u8; 8] = std::array::from_fn(|byte| {
                let weight = byte / layout.weight_bytes;
                let in_weight = 8 * (byte % layout.weight_bytes);
                let first = weight * layout.plain_bits + in_weight + number;
                (first + 64 - place as usize) as u8 % 64
            });
            let starts = u64::from_le_bytes(starts);
            let run = (u64::MAX >> (64 - length)) << place;
            let mask = (0..8).step_by(layout.weight_bytes);
            let mask = mask.fold(0, |mask, byte| mask | run << (8 * byte));
            plain.runs[plain.count] = Run {
                bits: vector(
                    elements.map(|element| starts + EACH_BYTE * (element * bits % 8) as u64),
                ),
                mask: _mm512_set1_epi64(mask as i64),
            };
            plain.count += 1;
            number += length as usize;
        }
        Some(plain)
    }

    /// Plain bytes of each vector of weights.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Prefetches plain bytes of four vectors, far behind those from vector `number` on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn prefetch(&self, plain: &[u8], number: usize) {
        let ahead = plain.as_ptr().wrapping_add(self.stride * number + AHEAD);
        for line in 0..(4 * self.stride).div_ceil(64) {
            prefetch::<1>(ahead.wrapping_add(64 * line));
        }
    }

    /// The plain bits and the constants of vector `number` of weights. `plain` has the plain bytes
    /// of all vectors. `SIMPLE` is [`is_simple`], or
    /// false.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn vector<const SIMPLE: bool>(&self, plain: &[u8], number: usize) -> __m512i {
        let part = &plain[self.stride * number..];
        let bytes = match part.first_chunk() {
            Some(bytes) => load(bytes),
            None => {
                // SAFETY: only bytes of the slice are loaded.
                unsafe { _mm512_maskz_loadu_epi8((1 << part.len()) - 1, part.as_ptr().cast()) }
            }
        };
        self.spread::<SIMPLE>(bytes)
    }

    /// The plain bits and the constants of vector `number` of those whose plain bytes these are, at
    /// most 15.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn vector_of_step(&self, plain: &[u8; STEP_BYTES], number: usize) -> __m512i {
        assert!(VECTOR * number < STEP_BYTES);
        // SAFETY: a vector of weights has at most as many plain bytes as bytes, so 64 bytes are
        // there: `every_vector_of_a_step_is_loaded_from_its_plain_bytes`.
        let bytes = unsafe { _mm512_loadu_si512(plain.as_ptr().add(self.stride * number).cast()) };
        self.spread::<true>(bytes)
    }

    /// The plain bits and the constants of weights whose plain bytes begin with these.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn spread<const SIMPLE: bool>(&self, bytes: __m512i) -> __m512i {
        let elements = _mm512_permutexvar_epi8(self.bytes, bytes);
        let with = |weights, run: &Run| {
            let bits = _mm512_multishift_epi64_epi8(run.bits, elements);
            // 0xF8: a | (b & c), bit by bit.
            _mm512_ternarylogic_epi64::<0xF8>(weights, bits, run.mask)
        };
        if SIMPLE {
            // Without a second run its mask is zero.
            return with(with(self.constants, &self.runs[0]), &self.runs[1]);
        }
        let mut weights = self.constants;
        for run in &self.runs[..self.count] {
            weights = with(weights, run);
        }
        weights
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(elements: [u64; 8]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(elements.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; VECTOR]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[cfg(test)]
mod tests {
    use unweight_format::layout::FIELDS;
    use unweight_format::{Dtype, Form, Forms};

    use super::*;

    /// Calls `check` with every combination of plain, constant and coded fields from this field on.
    fn each_forms(forms: Forms, number: usize, check: &mut impl FnMut(Forms)) {
        if number == FIELDS {
            return check(forms);
        }
        for form in [Form::Plain, Form::Constant, Form::Huffman] {
            if let Ok(forms) = forms.with(number, form) {
                each_forms(forms, number + 1, check);
            }
        }
    }

    /// [`Plain::vector_of_step`] loads 64 bytes at a multiple of the stride. A step has as many
    /// vectors as its weights take, at most `STEP_BYTES / VECTOR`.
    #[test]
    fn every_vector_of_a_step_is_loaded_from_its_plain_bytes() {
        let mut strides = Vec::new();
        for &dtype in Dtype::ALL {
            each_forms(Forms::raw(dtype), 0, &mut |forms| {
                let layout = Layout::of(forms);
                if fits(&layout) {
                    strides.push(layout.word_bits());
                }
            });
        }
        strides.sort_unstable();
        strides.dedup();
        assert!(strides.len() > 10, "{strides:?}");
        for stride in strides {
            for number in 0..STEP_BYTES / VECTOR {
                assert!(stride * number + VECTOR <= STEP_BYTES, "{stride}, {number}");
            }
        }
    }
}
