//! Decoding of lanes. Look-ups are the portable backend's runs, because no vector instruction does
//! them. Steps are joined with NEON.

use unweight_format::layout::LANES;

use super::merge;
use crate::fast::kernels::Parts;
use crate::fast::output::Output;
use crate::fast::portable;
use crate::fast::scratch::Scratch;

/// Decodes lanes into weights.
#[target_feature(enable = "neon")]
pub(super) fn weights(
    scratch: &mut Scratch,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> [u32; LANES] {
    output.clear();
    portable::decode::weights(
        scratch,
        sign_mantissa,
        output,
        portable::decode::rounds,
        |first, eights, sign_mantissa, output| {
            let values = portable::decode::in_order(eights);
            merge::join_at(first, &values, sign_mantissa, output);
        },
    )
}

/// Decodes lanes into values.
#[target_feature(enable = "neon")]
pub(super) fn values(scratch: &mut Scratch, output: &mut Output<'_>) -> [u32; LANES] {
    portable::decode::values(scratch, output, portable::decode::rounds)
}

/// Decodes the last coded field and joins it with all else.
#[target_feature(enable = "neon")]
pub(super) fn joined(
    scratch: &mut Scratch,
    parts: &Parts<'_>,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    output.clear();
    portable::decode::joined(scratch, parts, output, portable::decode::rounds)
}
