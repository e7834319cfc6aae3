//! Kernels in safe Rust, for every machine.

pub(super) mod count;
pub(super) mod decode;
pub(super) mod encode;
mod merge;
mod pairs;
pub(super) mod words;

pub(super) use merge::{join_from, join_indices_from};
pub(super) use words::differing_bits;

use super::kernels::{Bf16Kernels, Kernels};

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    bf16: Bf16Kernels {
        decode: |scratch, sign_mantissa, output| {
            decode::weights(
                scratch,
                sign_mantissa,
                output,
                decode::rounds,
                decode::join_step,
            )
        },
        decode_checked: None,
        join: |exponents, sign_mantissa, output| join_from(0, exponents, sign_mantissa, output),
        join_indices: |palette, indices, sign_mantissa, output| {
            join_indices_from(0, palette, indices, sign_mantissa, output)
        },
        split: encode::split,
        split_checked: None,
        count: count::weights,
    },
    decode_values: |scratch, output| decode::values(scratch, output, decode::rounds),
    decode_joined: None,
    join: |layout, plain, values, output| {
        words::join(layout, plain, values, output, None::<fn(u64) -> u64>)
    },
    split: |layout, weights, plain, values| {
        words::split(layout, weights, plain, values, |word| layout.extract(word))
    },
    field_values: words::field_values,
    count_values: count::values,
    pack: |table, values, _, rows, positions| encode::pack(table, values, rows, positions),
    index: encode::index,
};
