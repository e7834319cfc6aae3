//! Joining exponents and sign-mantissa bytes with AVX-512, 64 weights at a time.

use std::arch::x86_64::*;

use unweight_format::Palette;

use super::load;
use crate::fast::output::Output;
use crate::fast::portable;

const BLOCK: usize = 64;

/// Joins exponents and sign-mantissa bytes into weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn join(exponents: &[u8], sign_mantissa: &[u8], output: &mut Output<'_>) {
    assert_eq!(exponents.len(), sign_mantissa.len());
    assert_eq!(output.len(), 2 * sign_mantissa.len());
    let blocks = exponents
        .as_chunks()
        .0
        .iter()
        .zip(sign_mantissa.as_chunks().0);
    for (block, (exponents, sign_mantissa)) in blocks.enumerate() {
        // SAFETY: block `block` of the output comes after `block` whole blocks:
        // `every_number_of_weights_around_a_step`.
        unsafe {
            emit(
                load(exponents),
                load(sign_mantissa),
                output.as_mut_ptr().add(2 * BLOCK * block),
            )
        };
    }
    let rest = exponents.len() / BLOCK * BLOCK;
    portable::join_from(rest, exponents, sign_mantissa, output);
}

/// Joins palette indices and sign-mantissa bytes into weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn join_indices(
    palette: &Palette,
    indices: &[u8],
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) {
    assert!(2 * indices.len() >= sign_mantissa.len());
    assert_eq!(output.len(), 2 * sign_mantissa.len());
    // SAFETY: a palette has 16 bytes.
    let palette_vector = unsafe { _mm_loadu_si128(palette.padded().as_ptr().cast()) };
    let table = _mm512_broadcast_i32x4(palette_vector);
    let blocks = indices
        .as_chunks()
        .0
        .iter()
        .zip(sign_mantissa.as_chunks().0);
    for (block, (indices, sign_mantissa)) in blocks.enumerate() {
        let indices: &[u8; BLOCK / 2] = indices;
        // SAFETY: 32 bytes are there.
        let pairs = unsafe { _mm256_loadu_si256(indices.as_ptr().cast()) };
        let pairs = _mm512_cvtepu8_epi16(pairs);
        // 0x0ba -> 0x0b0a: the second index of a pair moves to the byte above.
        let spread = _mm512_or_si512(pairs, _mm512_slli_epi16::<4>(pairs));
        let spread = _mm512_and_si512(spread, _mm512_set1_epi8(15));
        let exponents = _mm512_shuffle_epi8(table, spread);
        // SAFETY: block `block` of the output comes after `block` whole blocks:
        // `every_number_of_weights_around_a_step`.
        unsafe {
            emit(
                exponents,
                load(sign_mantissa),
                output.as_mut_ptr().add(2 * BLOCK * block),
            )
        };
    }
    let rest = sign_mantissa.len() / BLOCK * BLOCK;
    portable::join_indices_from(rest, palette, indices, sign_mantissa, output);
}

/// Writes 64 weights.
///
/// # Safety
/// The caller must be allowed to write 128 bytes at `output`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn emit(exponents: __m512i, sign_mantissa: __m512i, output: *mut u8) {
    // Shifts of 16-bit elements move bits between neighbouring bytes. The following selections
    // discard them.
    let last_bit = _mm512_slli_epi16::<7>(exponents);
    let others = _mm512_srli_epi16::<1>(exponents);
    let sign = _mm512_set1_epi8(i8::MIN);
    // 0xCA: a ? b : c, bit by bit.
    let low = _mm512_ternarylogic_epi64::<0xCA>(sign, last_bit, sign_mantissa);
    let high = _mm512_ternarylogic_epi64::<0xCA>(sign, sign_mantissa, others);
    let [one, two] = interleave(low, high);
    // SAFETY: the caller guarantees 128 writable bytes.
    unsafe { _mm512_storeu_si512(output.cast(), one) };
    // SAFETY: the caller guarantees 128 writable bytes.
    unsafe { _mm512_storeu_si512(output.add(64).cast(), two) };
}

/// Interleaves 64 low and 64 high bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn interleave(low: __m512i, high: __m512i) -> [__m512i; 2] {
    let order = _mm512_set_epi64(
        0x5f1f_5e1e_5d1d_5c1c,
        0x5b1b_5a1a_5919_5818,
        0x5717_5616_5515_5414,
        0x5313_5212_5111_5010,
        0x4f0f_4e0e_4d0d_4c0c,
        0x4b0b_4a0a_4909_4808,
        0x4707_4606_4505_4404,
        0x4303_4202_4101_4000,
    );
    let second_half = _mm512_or_si512(order, _mm512_set1_epi8(32));
    let of = |order| _mm512_permutex2var_epi8(low, order, high);
    [of(order), of(second_half)]
}
