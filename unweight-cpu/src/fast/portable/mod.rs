//! Kernels in safe Rust, for every machine.

pub(super) mod count;
pub(super) mod decode;
pub(super) mod encode;
mod merge;
mod pairs;

pub(super) use merge::{join_from, join_indices_from};

use super::kernels::Kernels;

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    decode_weights: |scratch, sign_mantissa, output| {
        decode::weights(
            scratch,
            sign_mantissa,
            output,
            decode::rounds,
            decode::join_step,
        )
    },
    decode_checked: None,
    decode_exponents: |scratch, output| decode::exponents(scratch, output, decode::rounds),
    join: |exponents, sign_mantissa, output| join_from(0, exponents, sign_mantissa, output),
    join_indices: |palette, indices, sign_mantissa, output| {
        join_indices_from(0, palette, indices, sign_mantissa, output)
    },
    split: encode::split,
    split_checked: None,
    count_weights: count::weights,
    count_exponents: count::exponents,
    pack: |table, exponents, _, rows, positions| encode::pack(table, exponents, rows, positions),
    index: encode::index,
};
