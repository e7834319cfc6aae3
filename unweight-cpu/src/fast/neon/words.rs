//! Splitting and joining weights of any layout with NEON. There is no PDEP; plain bits move by
//! shifts.

use crate::fast::layout::{Layout, Place};
use crate::fast::output::Output;
use crate::fast::portable::{join, words};

/// Joins plain bytes and the values of each coded field into weights.
#[target_feature(enable = "neon")]
pub(super) fn join(layout: &Layout, plain: &[u8], values: &[&[u8]], output: &mut Output<'_>) {
    join::join(layout, plain, values, output);
}

/// Splits little-endian weights into plain bytes and the values of each coded field.
#[target_feature(enable = "neon")]
pub(super) fn split(layout: &Layout, weights: &[u8], plain: &mut [u8], values: &mut [&mut [u8]]) {
    words::split(layout, weights, plain, values, |word| layout.extract(word));
}

/// The values of a field of little-endian weights of `size` bytes.
#[target_feature(enable = "neon")]
pub(super) fn field_values(size: usize, place: Place, weights: &[u8], values: &mut [u8]) {
    words::field_values(size, place, weights, values);
}
