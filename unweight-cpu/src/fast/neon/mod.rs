//! Kernels for aarch64 with NEON, which nearly all such processors have. The byte look-up in a
//! vector of 16 (`tbl`) fits a palette. The inserting shifts (`sli`, `sri`) place bit fields side
//! by side. Lanes are decoded the same way as in the portable backend.

#![expect(unsafe_code, reason = "SIMD intrinsics and unchecked offsets")]

mod count;
mod decode;
mod encode;
mod merge;
mod pack;
mod words;

use std::arch::aarch64::*;

use super::kernels::{Bf16Kernels, JoinedKernel, Kernels};

/// Bytes of a vector.
const BLOCK: usize = 16;

/// The kernels, if this processor can run them.
pub(super) fn kernels() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; BLOCK]) -> uint8x16_t {
    // SAFETY: 16 bytes are readable.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(vector: uint8x16_t, bytes: &mut [u8; BLOCK]) {
    // SAFETY: there is room for 16 bytes.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}

/// Whether the highest bit is set in any byte.
#[inline]
#[target_feature(enable = "neon")]
fn is_any_marked(bytes: uint8x16_t) -> bool {
    vmaxvq_u8(bytes) >= 0x80
}

/// Only [`kernels`] may return this constant, because the SAFETY comments rely on its check.
static KERNELS: Kernels = Kernels {
    bf16: Bf16Kernels {
        decode: |scratch, sign_mantissa, output| {
            // SAFETY: `kernels` has checked that the processor has the required features.
            unsafe { decode::weights(scratch, sign_mantissa, output) }
        },
        decode_checked: None,
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
        split_checked: None,
        count: |weights, counts| {
            // SAFETY: as above.
            unsafe { count::weights(weights, counts) }
        },
    },
    decode_values: |scratch, output| {
        // SAFETY: as above.
        unsafe { decode::values(scratch, output) }
    },
    decode_joined: JoinedKernel {
        fits: |_| true,
        is_checked: false,
        decode: |scratch, parts, output| {
            // SAFETY: as above.
            (unsafe { decode::joined(scratch, parts, output) }, 0)
        },
    },
    join: |layout, plain, values, output| {
        // SAFETY: as above.
        unsafe { words::join(layout, plain, values, output) }
    },
    split: |layout, weights, plain, values| {
        // SAFETY: as above.
        unsafe { words::split(layout, weights, plain, values) }
    },
    field_values: |size, place, weights, values| {
        // SAFETY: as above.
        unsafe { words::field_values(size, place, weights, values) }
    },
    count_values: |values, counts| {
        // SAFETY: as above.
        unsafe { count::values(values, counts) }
    },
    pack: |table, values, _, rows, positions| {
        // SAFETY: as above.
        unsafe { pack::pack(table, values, rows, positions) }
    },
    index: |indices, values, body, positions| {
        // SAFETY: as above.
        unsafe { encode::index(indices, values, body, positions) }
    },
};
