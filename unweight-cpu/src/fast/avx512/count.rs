//! Counting exponents with AVX-512.
//!
//! Nearly all exponents of a trained tensor lie in a window of 16 consecutive ones. Each of these has a vector of 64 byte
//! counters, to which a comparison with 64 exponents adds; what lies outside is counted one by one.

use std::arch::x86_64::*;

use crate::fast::portable;

const BLOCK: usize = 64;
const WINDOW: usize = 16;
/// Blocks after which a byte counter may be full.
const FULL: usize = 255;

/// Adds how often each of these exponents occurs.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn exponents(exponents: &[u8], counts: &mut [u64; 256]) {
    let (blocks, rest) = exponents.as_chunks::<BLOCK>();
    let Some(first) = blocks.first() else {
        return portable::encode::count_exponents(rest, counts);
    };
    let base = base(first);
    for blocks in blocks.chunks(FULL) {
        let vectors = blocks.iter().map(|block| {
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
        });
        count(vectors, base, counts);
    }
    portable::encode::count_exponents(rest, counts);
}

/// Adds how often each exponent occurs in little-endian weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn weights(weights: &[u8], counts: &mut [u64; 256]) {
    let (blocks, rest) = weights.as_chunks::<{ 2 * BLOCK }>();
    let Some(first) = blocks.first() else {
        return portable::encode::count_weights(rest, counts);
    };
    let mut first_exponents = [0; BLOCK];
    portable::encode::split(first, &mut [0; BLOCK], &mut first_exponents);
    let base = base(&first_exponents);
    for blocks in blocks.chunks(FULL) {
        let vectors = blocks.iter().map(|block| {
            // SAFETY: 128 bytes are there.
            let low = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            // SAFETY: as above.
            let high = unsafe { _mm512_loadu_si512(block.as_ptr().add(BLOCK).cast()) };
            let (low, high) = (_mm512_slli_epi16::<1>(low), _mm512_slli_epi16::<1>(high));
            // The high bytes of both, in an order that does not matter here.
            _mm512_mask_blend_epi8(0xaaaa_aaaa_aaaa_aaaa, _mm512_srli_epi16::<8>(low), high)
        });
        count(vectors, base, counts);
    }
    portable::encode::count_weights(rest, counts);
}

/// Where the window begins: the one that has most of a block's exponents ends near their greatest.
fn base(block: &[u8; BLOCK]) -> u8 {
    let mut seen = [0u8; 256];
    for &exponent in block {
        seen[usize::from(exponent)] += 1;
    }
    let in_window = |base: &usize| {
        seen[*base..base + WINDOW]
            .iter()
            .map(|&n| u32::from(n))
            .sum::<u32>()
    };
    // Among equals the lowest: exponents thin out downwards.
    let least = usize::from(block.iter().copied().max().unwrap_or(0)).saturating_sub(WINDOW + 8);
    let candidates = least..(least + WINDOW + 9).min(256 - WINDOW + 1);
    candidates.rev().max_by_key(in_window).unwrap_or(0) as u8
}

/// Counts at most `FULL` vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn count(vectors: impl Iterator<Item = __m512i>, base: u8, counts: &mut [u64; 256]) {
    let base_vector = _mm512_set1_epi8(base as i8);
    let mut counters = [_mm512_setzero_si512(); WINDOW];
    for vector in vectors {
        let places = _mm512_sub_epi8(vector, base_vector);
        for (place, counter) in counters.iter_mut().enumerate() {
            let equal = _mm512_cmpeq_epi8_mask(places, _mm512_set1_epi8(place as i8));
            *counter = _mm512_mask_sub_epi8(*counter, equal, *counter, _mm512_set1_epi8(-1));
        }
        let mut outside = _mm512_cmpge_epu8_mask(places, _mm512_set1_epi8(WINDOW as i8));
        if outside != 0 {
            let mut bytes = [0u8; BLOCK];
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) };
            while outside != 0 {
                counts[usize::from(bytes[outside.trailing_zeros() as usize])] += 1;
                outside &= outside - 1;
            }
        }
    }
    for (place, counter) in counters.into_iter().enumerate() {
        let sums = _mm512_sad_epu8(counter, _mm512_setzero_si512());
        counts[usize::from(base) + place] += _mm512_reduce_add_epi64(sums) as u64;
    }
}
