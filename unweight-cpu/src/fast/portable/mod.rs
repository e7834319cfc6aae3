//! Kernels in safe Rust, for every machine.

/// Calls a function of the type of a layout's weights.
macro_rules! of_type {
    ($weight_bytes:expr, $function:ident($($argument:expr),*)) => {
        match $weight_bytes {
            1 => $function::<u8>($($argument),*),
            2 => $function::<u16>($($argument),*),
            4 => $function::<u32>($($argument),*),
            _ => $function::<u64>($($argument),*),
        }
    };
}

pub(super) mod count;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod join;
mod merge;
mod pairs;
pub(super) mod words;

pub(super) use merge::{join_from, join_indices_from};
pub(super) use words::differing_bits;

use super::kernels::{Bf16Kernels, JoinedKernel, Kernels};

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    bf16: Bf16Kernels {
        decode: |scratch, sign_mantissa, output| {
            // Each group of lanes writes every fourth block of the output.
            output.clear();
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
    decode_joined: JoinedKernel {
        fits: |_| true,
        is_checked: false,
        decode: |scratch, parts, output| {
            output.clear();
            let ends = decode::joined(scratch, parts, output, decode::rounds);
            (ends, 0)
        },
    },
    join: join::join,
    split: |layout, weights, plain, values| {
        words::split(layout, weights, plain, values, |word| layout.extract(word))
    },
    field_values: words::field_values,
    count_values: count::values,
    pack: |table, values, _, rows, positions| encode::pack(table, values, rows, positions),
    index: encode::index,
};
