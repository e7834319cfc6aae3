//! Splitting and joining weights of any layout with AVX-512 and PEXT. Every processor with these
//! AVX-512 features has a fast PEXT.

use std::arch::x86_64::*;

use super::plain::{self, Plain, VECTOR};
use crate::fast::layout::{Layout, Place};
use crate::fast::output::Output;
use crate::fast::portable::{join as blocks, words};

/// Prefetch distance of the output before its stores.
const AHEAD: usize = 4096;

/// Joins plain bytes and the values of each coded field into weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,bmi2")]
pub(super) fn join(layout: &Layout, plain: &[u8], values: &[&[u8]], output: &mut Output<'_>) {
    let size = layout.weight_bytes;
    let whole = output.len() / VECTOR;
    let Some(bits) = Plain::of(layout) else {
        return join_words(layout, plain, values, output, 0);
    };
    match (size, plain::is_simple(layout)) {
        (1, true) => join_vectors::<1, true>(layout, &bits, plain, values, output),
        (1, false) => join_vectors::<1, false>(layout, &bits, plain, values, output),
        (2, true) => join_vectors::<2, true>(layout, &bits, plain, values, output),
        (2, false) => join_vectors::<2, false>(layout, &bits, plain, values, output),
        (_, true) => join_vectors::<4, true>(layout, &bits, plain, values, output),
        (_, false) => join_vectors::<4, false>(layout, &bits, plain, values, output),
    }
    if whole * VECTOR < output.len() {
        join_words(layout, plain, values, output, whole * VECTOR / size);
    }
}

/// Joins the weights from number `first` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2")]
fn join_words(
    layout: &Layout,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
    first: usize,
) {
    blocks::join_from(first, layout, plain, values, output);
}

/// Joins all whole vectors of weights of `SIZE` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn join_vectors<const SIZE: usize, const SIMPLE: bool>(
    layout: &Layout,
    bits: &Plain,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
) {
    let vectors = output.len() / VECTOR;
    let weights = VECTOR / SIZE;
    let output = output.part(0, vectors * VECTOR);
    let places = layout.places();
    for (number, out) in output.as_chunks_mut::<VECTOR>().0.iter_mut().enumerate() {
        _mm_prefetch::<_MM_HINT_ET0>(out.as_ptr().wrapping_add(AHEAD).cast());
        if number % 4 == 0 {
            bits.prefetch(plain, number);
        }
        let mut joined = bits.vector::<SIMPLE>(plain, number);
        for (&place, values) in places.iter().zip(values) {
            let values = &values[weights * number..][..weights];
            joined = _mm512_or_si512(joined, spread::<SIZE>(place, values));
        }
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), joined) };
    }
}

/// Values of a field at its place in a vector of weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn spread<const SIZE: usize>(place: Place, values: &[u8]) -> __m512i {
    assert!(values.len() == VECTOR / SIZE);
    let low = _mm_cvtsi32_si128(place.low as i32);
    let mask = u64::from(place.greatest) << place.low;
    // SAFETY: there are 64, 32 or 16 bytes.
    unsafe {
        match SIZE {
            1 => {
                let values = _mm512_loadu_si512(values.as_ptr().cast());
                let moved = _mm512_sll_epi16(values, low);
                _mm512_and_si512(moved, _mm512_set1_epi8(mask as i8))
            }
            2 => {
                let values = _mm256_loadu_si256(values.as_ptr().cast());
                let moved = _mm512_sll_epi16(_mm512_cvtepu8_epi16(values), low);
                _mm512_and_si512(moved, _mm512_set1_epi16(mask as i16))
            }
            _ => {
                let values = _mm_loadu_si128(values.as_ptr().cast());
                let moved = _mm512_sll_epi32(_mm512_cvtepu8_epi32(values), low);
                _mm512_and_si512(moved, _mm512_set1_epi32(mask as i32))
            }
        }
    }
}

/// Splits little-endian weights into plain bytes and the values of each coded field.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2")]
pub(super) fn split(layout: &Layout, weights: &[u8], plain: &mut [u8], values: &mut [&mut [u8]]) {
    let mask = layout.plain_mask;
    words::split(layout, weights, plain, values, |word| _pext_u64(word, mask));
}

/// The values of a field of little-endian weights of `size` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2")]
pub(super) fn field_values(size: usize, place: Place, weights: &[u8], values: &mut [u8]) {
    words::field_values(size, place, weights, values);
}
