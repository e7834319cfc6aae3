//! Kernels for x86-64 with AVX-512: F, BW, CD, DQ, VL, VBMI and VBMI2, VPCLMULQDQ, and BMI2 (Ice
//! Lake, Zen 4, and later).

#![expect(unsafe_code, reason = "SIMD intrinsics and unchecked offsets")]

mod checksum;
mod count;
mod decode;
mod emit;
mod encode;
mod merge;
mod plain;
mod words;

use std::arch::x86_64::*;

use super::kernels::{Bf16Kernels, JoinedKernel, Kernels};

/// The kernels, if this processor can run them.
pub(super) fn kernels() -> Option<&'static Kernels> {
    let can = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("vpclmulqdq")
        && is_x86_feature_detected!("bmi2");
    can.then_some(&KERNELS)
}

/// Elements of a vector in memory. They are aligned because a store across two cache lines does not
/// forward to later loads.
#[repr(align(64))]
struct Elements([u64; 8]);

/// 64 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Prefetches lines of 64 bytes. This is a hint, so the pointer may be invalid.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch<const LINES: usize>(from: *const u8) {
    for line in 0..LINES {
        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(64 * line).cast());
    }
}

/// Table of 256 bytes in registers.
#[derive(Clone, Copy)]
struct Table([__m512i; 4]);

impl Table {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(bytes: &[u8; 256]) -> Table {
        let (parts, _) = bytes.as_chunks();
        Table([
            load(&parts[0]),
            load(&parts[1]),
            load(&parts[2]),
            load(&parts[3]),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn look_up(&self, indices: __m512i) -> __m512i {
        let [a, b, c, d] = self.0;
        let low = _mm512_permutex2var_epi8(a, indices, b);
        let high = _mm512_permutex2var_epi8(c, indices, d);
        _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(indices), high)
    }
}

/// Only [`kernels`] may return this constant, because the SAFETY comments rely on its check.
static KERNELS: Kernels = Kernels {
    bf16: Bf16Kernels {
        decode: |scratch, sign_mantissa, output| {
            let (table, lanes) = (scratch.table(), &scratch.lanes);
            // SAFETY: `kernels` has checked that the processor has the required features.
            unsafe { decode::weights(table, lanes, sign_mantissa, output) }
        },
        decode_checked: Some(|scratch, sign_mantissa, patches, so_far, output| {
            let (table, lanes) = (scratch.table(), &scratch.lanes);
            // SAFETY: as above.
            unsafe { decode::checked(table, lanes, sign_mantissa, patches, so_far, output) }
        }),
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
        split_checked: Some(|weights, sign_mantissa, exponents| {
            // SAFETY: as above.
            unsafe { encode::split_checked(weights, sign_mantissa, exponents) }
        }),
        count: |weights, counts| {
            // SAFETY: as above.
            unsafe { count::weights(weights, counts) }
        },
    },
    decode_values: |scratch, output| {
        let (table, lanes) = (scratch.table(), &scratch.lanes);
        // SAFETY: as above.
        unsafe { decode::values(table, lanes, output) }
    },
    decode_joined: JoinedKernel {
        fits: |layout| plain::fits(layout) && plain::is_simple(layout),
        is_checked: true,
        decode: |scratch, parts, output| {
            let (table, lanes) = (scratch.table(), &scratch.lanes);
            // SAFETY: as above.
            unsafe { decode::joined(table, lanes, parts, output) }
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
    pack: |table, values, ahead, rows, positions| {
        // SAFETY: as above.
        unsafe { encode::pack(table, values, ahead, rows, positions) }
    },
    index: |indices, values, body, positions| {
        // SAFETY: as above.
        unsafe { encode::index(indices, values, body, positions) }
    },
};
