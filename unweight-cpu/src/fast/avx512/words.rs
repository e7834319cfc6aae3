//! Splitting and joining weights of any layout with AVX-512, PDEP and PEXT. Every processor with
//! these AVX-512 features has a fast PDEP.

use std::arch::x86_64::{_pdep_u64, _pext_u64};

use crate::fast::layout::{Layout, Place};
use crate::fast::output::Output;
use crate::fast::portable::words;

/// Joins plain bytes and the values of each coded field into weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2")]
pub(super) fn join(layout: &Layout, plain: &[u8], values: &[&[u8]], output: &mut Output<'_>) {
    let mask = layout.plain_mask;
    words::join(layout, plain, values, output, |bits| _pdep_u64(bits, mask));
}

/// Splits little-endian weights into plain bytes and the values of each coded field.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2")]
pub(super) fn split(
    layout: &Layout,
    weights: &[u8],
    plain: &mut [u8],
    values: &mut [&mut [u8]],
) {
    let mask = layout.plain_mask;
    words::split(layout, weights, plain, values, |word| _pext_u64(word, mask));
}

/// The values of a field of little-endian weights of `size` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2")]
pub(super) fn field_values(size: usize, place: Place, weights: &[u8], values: &mut [u8]) {
    words::field_values(size, place, weights, values);
}
