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

/// Bytes of weights in a vector.
pub(super) const VECTOR: usize = 64;
/// Prefetch distance. It reaches across the end of a page, where the hardware prefetcher stops.
const AHEAD: usize = 4096;
/// The most runs of a weight of at most four bytes: more than fields of such a type.
const RUNS: usize = 9;

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
    /// For weights of this layout, of at most four bytes. None if the plain bits of eight bytes of
    /// weights do not fit an element wherever they begin.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn of(layout: &Layout) -> Option<Plain> {
        let bits = layout.word_bits();
        // An element gets whole bytes, so its plain bits begin at up to bit 7 of it.
        let latest = (0..8).map(|element| element * bits % 8).max().unwrap_or(0);
        if layout.weight_bytes == 8 || bits + latest > 64 {
            return None;
        }
        let bytes: [u8; VECTOR] =
            std::array::from_fn(|byte| (byte / 8 * bits / 8 + byte % 8) as u8);
        let nothing = Run {
            bits: _mm512_setzero_si512(),
            mask: _mm512_setzero_si512(),
        };
        let mut plain = Plain {
            bytes: load(&bytes),
            constants: _mm512_set1_epi64(layout.constants as i64),
            runs: [nothing; RUNS],
            count: 0,
            stride: bits,
        };
        // The lowest weight of a word tells the runs of all.
        let mut left = layout.plain_mask & (u64::MAX >> (64 - 8 * layout.weight_bytes));
        let mut number = 0;
        while left != 0 {
            let place = left.trailing_zeros();
            let length = (left >> place).trailing_ones();
            let run = (u64::MAX >> (64 - length)) << place;
            // A byte whose place for the run's first bit is `place` begins so many bits before it.
            let from = number - place as i64;
            let starts: [u8; VECTOR] = std::array::from_fn(|byte| {
                let (element, weight) = (byte / 8, byte % 8 / layout.weight_bytes);
                let first = element * bits % 8 + weight * layout.plain_bits;
                let in_weight = 8 * (byte % layout.weight_bytes);
                (first as i64 + in_weight as i64 + from).rem_euclid(64) as u8
            });
            let mask = (0..8).step_by(layout.weight_bytes);
            let mask = mask.fold(0, |mask, byte| mask | run << (8 * byte));
            plain.runs[plain.count] = Run {
                bits: load(&starts),
                mask: _mm512_set1_epi64(mask as i64),
            };
            plain.count += 1;
            number += i64::from(length);
            left &= !run;
        }
        Some(plain)
    }

    /// Whether there are at most two runs.
    pub(super) fn is_simple(&self) -> bool {
        self.count <= 2
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
    /// of all vectors. `SIMPLE` is [`is_simple`](Plain::is_simple), or false.
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
fn load(bytes: &[u8; VECTOR]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
