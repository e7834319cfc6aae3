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

use unweight_format::Palette;
use unweight_format::layout::LANES;

use super::encode_table::EncodeTable;
use super::kernels::Kernels;
use super::lanes::Rows;
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
    pack: |table, exponents, ahead, rows, positions| {
        // SAFETY: as below.
        unsafe { pack::<false>(table, exponents, ahead, rows, positions) }
    },
    ..KERNELS_WITH_PEXT
};

const KERNELS_WITH_PEXT: Kernels = Kernels {
    decode_weights: |scratch, sign_mantissa, output| {
        // SAFETY: `can_run` has checked that the processor has the required features.
        unsafe { decode_weights(scratch, sign_mantissa, output) }
    },
    decode_checked: None,
    decode_exponents: |scratch, output| {
        // SAFETY: as above.
        unsafe { decode_exponents(scratch, output) }
    },
    join: |exponents, sign_mantissa, output| {
        // SAFETY: as above.
        unsafe { join(exponents, sign_mantissa, output) }
    },
    join_indices: |palette, indices, sign_mantissa, output| {
        // SAFETY: as above.
        unsafe { join_indices(palette, indices, sign_mantissa, output) }
    },
    split: |weights, sign_mantissa, exponents| {
        // SAFETY: as above.
        unsafe { split(weights, sign_mantissa, exponents) }
    },
    split_checked: None,
    count_weights: |weights, counts| {
        // SAFETY: as above.
        unsafe { count_weights(weights, counts) }
    },
    count_exponents: |exponents, counts| {
        // SAFETY: as above.
        unsafe { count_exponents(exponents, counts) }
    },
    pack: |table, exponents, ahead, rows, positions| {
        // SAFETY: as above.
        unsafe { pack::<true>(table, exponents, ahead, rows, positions) }
    },
    index: |indices, exponents, body, positions| {
        // SAFETY: as above.
        unsafe { index(indices, exponents, body, positions) }
    },
};

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn decode_weights(
    scratch: &mut Scratch,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let (output_start, next_record) = (output.as_mut_ptr(), scratch.lanes.behind());
    let mut ahead = Some(decode::Ahead::of(sign_mantissa, output_start, next_record));
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
fn decode_exponents(scratch: &mut Scratch, output: &mut Output<'_>) -> [u32; LANES] {
    portable::decode::exponents(scratch, output, |count, runs, buffer, group| {
        decode::rounds(count, runs, buffer, group, &mut None);
    })
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn join(exponents: &[u8], sign_mantissa: &[u8], output: &mut Output<'_>) {
    portable::join_from(0, exponents, sign_mantissa, output);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn join_indices(palette: &Palette, indices: &[u8], sign_mantissa: &[u8], output: &mut Output<'_>) {
    portable::join_indices_from(0, palette, indices, sign_mantissa, output);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn split(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) {
    portable::encode::split(weights, sign_mantissa, exponents);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn count_weights(weights: &[u8], counts: &mut [u64; 256]) {
    count::weights(weights, counts);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn count_exponents(exponents: &[u8], counts: &mut [u64; 256]) {
    count::exponents(exponents, counts);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn pack<const PEXT: bool>(
    table: &EncodeTable,
    exponents: &[u8],
    ahead: *const u8,
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    encode::pack::<PEXT>(table, exponents, ahead, rows, positions)
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn index(indices: &[u8; 256], exponents: &[u8], body: &mut [u8], positions: &mut Vec<u16>) {
    portable::encode::index(indices, exponents, body, positions);
}
