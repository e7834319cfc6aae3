//! Kernels for x86-64 with AVX-512: F, BW, CD, DQ, VL, VBMI and VBMI2 (Ice Lake, Zen 4, and later).

mod count;
mod decode;
mod encode;
mod merge;

use super::kernels::Kernels;

/// The kernels, if this processor can run them.
pub(super) fn kernels() -> Option<&'static Kernels> {
    let can = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2");
    can.then_some(&KERNELS)
}

/// Elements of a vector in memory. Aligned: a store across two cache lines does not forward to the loads that follow.
#[repr(align(64))]
struct Elements([u64; 8]);

/// Not to be handed out but by [`kernels`]: that is what the SAFETY comments rely on.
static KERNELS: Kernels = Kernels {
    decode_weights: |scratch, sign_mantissa, output| {
        let (table, lanes) = (&scratch.table, &scratch.lanes);
        // SAFETY: `kernels` has seen that the processor has what it needs.
        unsafe { decode::weights(table, lanes, sign_mantissa, output) }
    },
    decode_exponents: |scratch, output| {
        let (table, lanes) = (&scratch.table, &scratch.lanes);
        // SAFETY: as above.
        unsafe { decode::exponents(table, lanes, output) }
    },
    join: |exponents, sign_mantissa, output| {
        // SAFETY: as above.
        unsafe { merge::join(exponents, sign_mantissa, output) }
    },
    join_indices: |palette, indices, sign_mantissa, output| {
        // SAFETY: as above.
        unsafe { merge::join_indices(palette, indices, sign_mantissa, output) }
    },
    split: |weights, sign_mantissa, exponents| {
        // SAFETY: as above.
        unsafe { encode::split(weights, sign_mantissa, exponents) }
    },
    count_weights: |weights, counts| {
        // SAFETY: as above.
        unsafe { count::weights(weights, counts) }
    },
    count_exponents: |exponents, counts| {
        // SAFETY: as above.
        unsafe { count::exponents(exponents, counts) }
    },
    pack: |table, exponents, rows, positions| {
        // SAFETY: as above.
        unsafe { encode::pack(table, exponents, rows, positions) }
    },
    index: |indices, exponents, body, positions| {
        // SAFETY: as above.
        unsafe { encode::index(indices, exponents, body, positions) }
    },
};
