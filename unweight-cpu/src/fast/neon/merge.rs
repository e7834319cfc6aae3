//! Joining exponents and sign-mantissa bytes with NEON.
//!
//! ```text
//!   a weight      s eeeeeee | e mmmmmmm        sign-mantissa byte  s mmmmmmm
//!   high byte = sri(sign-mantissa, exponent, 1): the exponent's bits 7 to 1 behind the sign
//!   low byte  = sli(sign-mantissa, exponent, 7): its bit 0 before the mantissa
//! ```

use std::arch::aarch64::*;

use unweight_format::Palette;

use super::{BLOCK, load};
use crate::fast::output::Output;
use crate::fast::portable;

/// Joins exponents and sign-mantissa bytes into weights.
#[target_feature(enable = "neon")]
pub(super) fn join(exponents: &[u8], sign_mantissa: &[u8], output: &mut Output<'_>) {
    assert_eq!(output.len(), 2 * sign_mantissa.len());
    join_at(0, exponents, sign_mantissa, output);
    let rest = exponents.len() / BLOCK * BLOCK;
    portable::join_from(rest, exponents, sign_mantissa, output);
}

/// Writes the weights of all whole blocks. The first weight has index `first` in the output.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn join_at(
    first: usize,
    exponents: &[u8],
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) {
    assert_eq!(exponents.len(), sign_mantissa.len());
    let part = output.part(2 * first, 2 * sign_mantissa.len());
    let part = part.as_mut_ptr().cast::<u8>();
    let blocks = exponents.as_chunks().0.iter();
    for (block, (exponents, sign_mantissa)) in blocks.zip(sign_mantissa.as_chunks().0).enumerate() {
        // SAFETY: block `block` of the part comes after `block` whole blocks:
        // `every_number_of_weights_around_a_step`.
        unsafe {
            emit(
                load(exponents),
                load(sign_mantissa),
                part.add(2 * BLOCK * block),
            )
        };
    }
}

/// Joins palette indices and sign-mantissa bytes into weights.
#[target_feature(enable = "neon")]
pub(super) fn join_indices(
    palette: &Palette,
    indices: &[u8],
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) {
    /// Weights of a vector of indices.
    const WEIGHTS: usize = 2 * BLOCK;
    assert!(2 * indices.len() >= sign_mantissa.len());
    assert_eq!(output.len(), 2 * sign_mantissa.len());
    let table = load(palette.padded());
    let part = output.as_mut_ptr();
    let (blocks, _) = sign_mantissa.as_chunks::<WEIGHTS>();
    for (block, (sign_mantissa, indices)) in blocks.iter().zip(indices.as_chunks().0).enumerate() {
        let pairs = load(indices);
        let even = vqtbl1q_u8(table, vandq_u8(pairs, vdupq_n_u8(15)));
        let odd = vqtbl1q_u8(table, vshrq_n_u8::<4>(pairs));
        let exponents = [vzip1q_u8(even, odd), vzip2q_u8(even, odd)];
        let halves = sign_mantissa.as_chunks().0;
        for (half, exponents) in exponents.into_iter().enumerate() {
            // SAFETY: half `half` of block `block` of the output comes after as many whole ones.
            unsafe {
                emit(
                    exponents,
                    load(&halves[half]),
                    part.add(2 * (WEIGHTS * block + BLOCK * half)),
                )
            };
        }
    }
    let rest = sign_mantissa.len() / WEIGHTS * WEIGHTS;
    portable::join_indices_from(rest, palette, indices, sign_mantissa, output);
}

/// Writes 16 weights.
///
/// # Safety
/// The caller must be allowed to write 32 bytes at `output`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn emit(exponents: uint8x16_t, sign_mantissa: uint8x16_t, output: *mut u8) {
    let high = vsriq_n_u8::<1>(sign_mantissa, exponents);
    let low = vsliq_n_u8::<7>(sign_mantissa, exponents);
    // SAFETY: the caller guarantees 32 writable bytes.
    unsafe { vst1q_u8(output, vzip1q_u8(low, high)) };
    // SAFETY: the caller guarantees 32 writable bytes.
    unsafe { vst1q_u8(output.add(BLOCK), vzip2q_u8(low, high)) };
}
