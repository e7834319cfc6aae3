//! Joining exponents and sign-mantissa bytes, eight weights at a time.

use unweight_format::Palette;

use crate::fast::bf16::weight;
use crate::fast::output::Output;

/// Number of weights by which the loops of a block are unrolled. It is wide enough for the vectors
/// of any target.
const BLOCK: usize = 64;

/// Writes the weights from index `first` on.
#[inline(always)]
pub(in crate::fast) fn join_from(
    first: usize,
    exponents: &[u8],
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) {
    let (blocks, rest) = exponents[first..].as_chunks::<BLOCK>();
    let mut at = first;
    for exponents in blocks {
        let sign_mantissa = sign_mantissa[at..].first_chunk::<BLOCK>();
        let sign_mantissa = sign_mantissa.expect("as many as exponents");
        output.put_weights(2 * at, &join(exponents, sign_mantissa));
        at += BLOCK;
    }
    for (&exponent, &sign_mantissa) in rest.iter().zip(&sign_mantissa[at..]) {
        output.put(2 * at, weight(sign_mantissa, exponent).to_le_bytes());
        at += 1;
    }
}

/// Writes the weights from index `first` on, which must be even.
#[inline(always)]
pub(in crate::fast) fn join_indices_from(
    first: usize,
    palette: &Palette,
    indices: &[u8],
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) {
    // Both exponents of a byte are processed at once.
    let of = |index: usize| palette.padded()[index];
    let pairs: [[u8; 2]; 256] = std::array::from_fn(|byte| [of(byte & 15), of(byte >> 4)]);
    let mut at = first;
    let (blocks, rest) = sign_mantissa[first..].as_chunks::<BLOCK>();
    for sign_mantissa in blocks {
        let mut exponents = [0; BLOCK];
        for (pair, &byte) in exponents
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(&indices[at / 2..])
        {
            *pair = pairs[usize::from(byte)];
        }
        output.put_weights(2 * at, &join(&exponents, sign_mantissa));
        at += BLOCK;
    }
    for &sign_mantissa in rest {
        let exponent = pairs[usize::from(indices[at / 2])][at % 2];
        output.put(2 * at, weight(sign_mantissa, exponent).to_le_bytes());
        at += 1;
    }
}

/// Joins exponents and sign-mantissa bytes into weights.
#[inline(always)]
pub(super) fn join<const N: usize>(exponents: &[u8; N], sign_mantissa: &[u8; N]) -> [u16; N] {
    let mut weights = [0; N];
    for ((weight, &exponent), &sign_mantissa) in
        weights.iter_mut().zip(exponents).zip(sign_mantissa)
    {
        let sign_mantissa = u16::from(sign_mantissa);
        *weight = (sign_mantissa & 0x80) << 8 | u16::from(exponent) << 7 | sign_mantissa & 0x7f;
    }
    weights
}
