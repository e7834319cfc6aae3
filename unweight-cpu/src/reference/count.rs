//! Counting of a chunk for the plan of its tensor (section 11).

use unweight_format::bits::unpack;

use super::{SampledForms, ValueCounts};
use crate::CountedChunk;

/// Counts a chunk of little-endian weights of a tensor with these forms.
///
/// # Panics
/// If there are no weights.
pub fn count_chunk(forms: &SampledForms, weights: &[u8]) -> CountedChunk {
    let weight_bytes = forms.forms().dtype().weight_bytes();
    let numbers = || unpack(weights, 8 * weight_bytes as u32);
    let weight = numbers().next().expect("a chunk has weights");
    let differing = numbers().fold(0, |bits, other| bits | (other ^ weight));
    CountedChunk::of(forms, weight, differing, |field| {
        let mut counts = ValueCounts::default();
        counts.add_weights(field, weight_bytes, weights);
        counts
    })
}
