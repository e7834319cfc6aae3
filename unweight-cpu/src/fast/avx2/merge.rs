//! Joining a step's exponents and sign-mantissa bytes with AVX2, 32 weights at a time.

use std::arch::x86_64::*;

use crate::fast::output::Output;
use crate::fast::portable::decode::{Eights, GROUP_LANES, GROUP_WEIGHTS};

/// Lanes whose exponents fill a vector.
const LANES: usize = 4;
const BLOCK: usize = 32;

/// Writes the weights of a group's step. The first weight has index `first`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn join_step(
    first: usize,
    eights: Eights,
    sign_mantissa: &[u8; GROUP_WEIGHTS],
    output: &mut Output<'_>,
) {
    let part = output.part(2 * first, 2 * GROUP_WEIGHTS);
    let (parts, _) = part.as_chunks_mut::<{ 2 * BLOCK }>();
    let (blocks, _) = sign_mantissa.as_chunks::<BLOCK>();
    for block in 0..GROUP_LANES / LANES {
        let eight = |lane: usize| eights[LANES * block + lane] as i64;
        // Unpack instructions work on 128-bit halves, so each half must begin with data for the
        // first half of the weights.
        let last_first = _mm256_set_epi64x(eight(3), eight(1), eight(2), eight(0));
        let exponents = _mm256_shuffle_epi8(last_first, reversed());
        // SAFETY: 32 bytes are there.
        let sign_mantissa = unsafe { _mm256_loadu_si256(blocks[block].as_ptr().cast()) };
        let sign_mantissa = _mm256_permute4x64_epi64::<0b11_01_10_00>(sign_mantissa);
        // Shifts of 16-bit elements move bits between neighbouring bytes. The following selections
        // discard them.
        let low = with_sign_of(_mm256_slli_epi16::<7>(exponents), sign_mantissa);
        let high = with_sign_of(sign_mantissa, _mm256_srli_epi16::<1>(exponents));
        let part = parts[block].as_mut_ptr().cast::<__m256i>();
        // SAFETY: 64 bytes are there.
        unsafe { _mm256_storeu_si256(part, _mm256_unpacklo_epi8(low, high)) };
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(part.add(1), _mm256_unpackhi_epi8(low, high)) };
    }
}

/// Shuffle that reverses the bytes of each group of eight.
#[inline]
#[target_feature(enable = "avx2")]
fn reversed() -> __m256i {
    let (first, second) = (0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm256_set_epi64x(second, first, second, first)
}

/// Takes the highest bit of each byte from `signs` and the other bits from `rest`.
#[inline]
#[target_feature(enable = "avx2")]
fn with_sign_of(signs: __m256i, rest: __m256i) -> __m256i {
    let differ = _mm256_xor_si256(signs, rest);
    let differ = _mm256_and_si256(differ, _mm256_set1_epi8(i8::MIN));
    _mm256_xor_si256(rest, differ)
}
