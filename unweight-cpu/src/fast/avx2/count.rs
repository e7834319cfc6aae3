//! Counting values with AVX2.
//!
//! Nearly all exponents of trained weights are in a window of 16 consecutive ones. Each of these
//! has a vector of 32 byte counters, to which a comparison with 32 values adds. Values outside the
//! window are counted one by one.

use std::arch::x86_64::*;

use crate::fast::portable;

const BLOCK: usize = 32;
const WINDOW: usize = 16;
/// Counters in registers in one pass over a part.
const AT_ONCE: usize = 8;
/// Blocks of a part. A byte counter may be full after that many, and a part stays in the L1 cache.
const FULL: usize = 255;

/// Counts the exponents of little-endian BF16 weights.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn weights(weights: &[u8], counts: &mut [u64; 256]) {
    const PIECE: usize = 4096;
    for weights in weights.chunks(2 * PIECE) {
        let (mut sign_mantissa, mut found) = ([0; PIECE], [0; PIECE]);
        let count = weights.len() / 2;
        portable::encode::split(weights, &mut sign_mantissa[..count], &mut found[..count]);
        values(&found[..count], counts);
    }
}

/// Counts these values.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn values(values: &[u8], counts: &mut [u64; 256]) {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    let greatest = blocks.first().and_then(|block| block.iter().copied().max());
    let base = portable::count::base(greatest.unwrap_or(0), 13);
    for part in blocks.chunks(FULL) {
        for first in (0..WINDOW).step_by(AT_ONCE) {
            count_some(part, usize::from(base) + first, counts);
        }
        count_outside(part, base, counts);
    }
    portable::count::values(rest, counts);
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[u8; BLOCK]) -> __m256i {
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

/// Counts `AT_ONCE` consecutive values, beginning with `first`.
#[inline]
#[target_feature(enable = "avx2")]
fn count_some(part: &[[u8; BLOCK]], first: usize, counts: &mut [u64; 256]) {
    let mut counters = [_mm256_setzero_si256(); AT_ONCE];
    for block in part {
        let block = load(block);
        for (place, counter) in counters.iter_mut().enumerate() {
            let equal = _mm256_cmpeq_epi8(block, _mm256_set1_epi8((first + place) as u8 as i8));
            *counter = _mm256_sub_epi8(*counter, equal);
        }
    }
    for (place, counter) in counters.into_iter().enumerate() {
        let mut sums = [0u64; 4];
        let vector = _mm256_sad_epu8(counter, _mm256_setzero_si256());
        // SAFETY: 32 bytes are there.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), vector) };
        counts[first + place] += sums.iter().sum::<u64>();
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn count_outside(part: &[[u8; BLOCK]], base: u8, counts: &mut [u64; 256]) {
    for block in part {
        let places = _mm256_sub_epi8(load(block), _mm256_set1_epi8(base as i8));
        let last = _mm256_set1_epi8(WINDOW as i8 - 1);
        let inside = _mm256_cmpeq_epi8(_mm256_min_epu8(places, last), places);
        let mut outside = !_mm256_movemask_epi8(inside) as u32;
        while outside != 0 {
            counts[usize::from(block[outside.trailing_zeros() as usize])] += 1;
            outside &= outside - 1;
        }
    }
}
