//! Kernels for x86-64 with AVX2, BMI1, BMI2 and LZCNT (Haswell, Zen, and later). Most are the
//! portable kernels compiled with these features. They gain variable shifts without flags and wide
//! byte shuffles.

#![expect(unsafe_code, reason = "SIMD intrinsics and unchecked offsets")]

mod count;
mod decode;
mod encode;
mod merge;
mod pext;
mod stream;
mod together;

use std::arch::x86_64::{_pdep_u64, _pext_u64};

use unweight_format::Palette;
use unweight_format::layout::LANES;

use super::encode_table::EncodeTable;
use super::kernels::{Ahead, Bf16Kernels, JoinedKernel, Kernels, Parts};
use super::lanes::Rows;
use super::layout::{Layout, Place};
use super::output::Output;
use super::portable;
use super::scratch::Scratch;

/// The kernels, if this processor can run them. They use PEXT if it is fast.
pub(super) fn kernels() -> Option<&'static Kernels> {
    match pext::is_fast() {
        true => can_run().then_some(&KERNELS),
        false => kernels_without_pext(),
    }
}

/// The kernels without PEXT, if this processor can run them.
pub(super) fn kernels_without_pext() -> Option<&'static Kernels> {
    can_run().then_some(&KERNELS_WITHOUT_PEXT)
}

fn can_run() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// Only [`kernels`] may return this constant, because the SAFETY comments rely on its check.
static KERNELS: Kernels = KERNELS_WITH_PEXT;

/// Only [`kernels_without_pext`] may return this constant, for the same reason.
static KERNELS_WITHOUT_PEXT: Kernels = Kernels {
    decode_joined: JoinedKernel {
        decode: |scratch, parts, output| {
            // SAFETY: as below.
            (unsafe { joined::<false>(scratch, parts, output) }, 0)
        },
        ..KERNELS_WITH_PEXT.decode_joined
    },
    split: |layout, weights, plain, values| {
        // SAFETY: as below.
        unsafe { split::<false>(layout, weights, plain, values) }
    },
    pack: |table, values, ahead, rows, positions| {
        // SAFETY: as below.
        unsafe { pack::<false>(table, values, ahead, rows, positions) }
    },
    ..KERNELS_WITH_PEXT
};

const KERNELS_WITH_PEXT: Kernels = Kernels {
    bf16: Bf16Kernels {
        decode: |scratch, sign_mantissa, output| {
            // SAFETY: `can_run` has checked that the processor has the required features.
            unsafe { decode_weights(scratch, sign_mantissa, output) }
        },
        decode_checked: None,
        join: |exponents, sign_mantissa, output| {
            // SAFETY: as above.
            unsafe { join_bf16(exponents, sign_mantissa, output) }
        },
        join_indices: |palette, indices, sign_mantissa, output| {
            // SAFETY: as above.
            unsafe { join_indices(palette, indices, sign_mantissa, output) }
        },
        split: |weights, sign_mantissa, exponents| {
            // SAFETY: as above.
            unsafe { split_bf16(weights, sign_mantissa, exponents) }
        },
        split_checked: None,
        count: |weights, counts| {
            // SAFETY: as above.
            unsafe { count_exponents(weights, counts) }
        },
    },
    decode_values: |scratch, output| {
        // SAFETY: as above.
        unsafe { decode_values(scratch, output) }
    },
    decode_joined: JoinedKernel {
        fits: |_| true,
        is_checked: false,
        decode: |scratch, parts, output| {
            // SAFETY: as above.
            (unsafe { joined::<true>(scratch, parts, output) }, 0)
        },
    },
    join: |layout, plain, values, output| {
        // SAFETY: as above.
        unsafe { join(layout, plain, values, output) }
    },
    split: |layout, weights, plain, values| {
        // SAFETY: as above.
        unsafe { split::<true>(layout, weights, plain, values) }
    },
    field_values: |size, place, weights, values| {
        // SAFETY: as above.
        unsafe { field_values(size, place, weights, values) }
    },
    count_values: |values, counts| {
        // SAFETY: as above.
        unsafe { count_values(values, counts) }
    },
    pack: |table, values, ahead, rows, positions| {
        // SAFETY: as above.
        unsafe { pack::<true>(table, values, ahead, rows, positions) }
    },
    index: |indices, values, body, positions| {
        // SAFETY: as above.
        unsafe { index(indices, values, body, positions) }
    },
};

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn decode_weights(
    scratch: &mut Scratch,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let (weights, next_record) = (sign_mantissa.len(), scratch.lanes.behind());
    let mut ahead = Some(decode::Ahead::of(
        output,
        weights,
        sign_mantissa,
        next_record,
    ));
    portable::decode::weights(
        scratch,
        sign_mantissa,
        output,
        |count, runs, buffer, group| {
            decode::rounds(count, runs, buffer, group, &mut ahead);
        },
        |first, eights, sign_mantissa, output| {
            merge::join_step(first, eights, sign_mantissa, output);
        },
    )
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn decode_values(scratch: &mut Scratch, output: &mut Output<'_>) -> [u32; LANES] {
    portable::decode::values(scratch, output, |count, runs, buffer, group| {
        decode::rounds(count, runs, buffer, group, &mut None);
    })
}

/// Decodes the last coded field and joins it with all else, with `pdep` only if told to.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn joined<const PEXT: bool>(
    scratch: &mut Scratch,
    parts: &Parts<'_>,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let next_record = scratch.lanes.behind();
    let size = parts.layout.weight_bytes;
    let weights = output.len() / size;
    let mut ahead = Some(decode::Ahead::of(output, weights, parts.plain, next_record));
    if PEXT && size == 1 && parts.values.is_empty() {
        let mask = parts.layout.plain_mask;
        return portable::decode::joined_bytes(
            scratch,
            parts,
            output,
            |count, runs, buffer, group| {
                decode::rounds(count, runs, buffer, group, &mut ahead);
            },
            |bits| _pdep_u64(bits, mask),
        );
    }
    portable::decode::joined(scratch, parts, output, |count, runs, buffer, group| {
        decode::rounds(count, runs, buffer, group, &mut ahead);
    })
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn join_bf16(exponents: &[u8], sign_mantissa: &[u8], output: &mut Output<'_>) {
    portable::join_from(0, exponents, sign_mantissa, output);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn join_indices(palette: &Palette, indices: &[u8], sign_mantissa: &[u8], output: &mut Output<'_>) {
    portable::join_indices_from(0, palette, indices, sign_mantissa, output);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn split_bf16(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) {
    portable::encode::split(weights, sign_mantissa, exponents);
}

/// Joins weights of any layout.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn join(layout: &Layout, plain: &[u8], values: &[&[u8]], output: &mut Output<'_>) {
    portable::join::join(layout, plain, values, output);
}

/// Splits weights of any layout, with `pext` only if told to.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn split<const PEXT: bool>(
    layout: &Layout,
    weights: &[u8],
    plain: &mut [u8],
    values: &mut [&mut [u8]],
) {
    let mask = layout.plain_mask;
    portable::words::split(layout, weights, plain, values, |word| match PEXT {
        true => _pext_u64(word, mask),
        false => layout.extract(word),
    });
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn field_values(size: usize, place: Place, weights: &[u8], values: &mut [u8]) {
    portable::words::field_values(size, place, weights, values);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn count_exponents(weights: &[u8], counts: &mut [u64; 256]) {
    count::weights(weights, counts);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn count_values(values: &[u8], counts: &mut [u64; 256]) {
    count::values(values, counts);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn pack<const PEXT: bool>(
    table: &EncodeTable,
    values: &[u8],
    ahead: Ahead,
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    encode::pack::<PEXT>(table, values, ahead, rows, positions)
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn index(indices: &[u8; 256], values: &[u8], body: &mut [u8], positions: &mut Vec<u16>) {
    portable::encode::index(indices, values, body, positions);
}
