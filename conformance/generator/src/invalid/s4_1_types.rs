//! Section 4.1: types.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{put_entry, raw};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};

pub(super) fn add(cases: &mut Cases) {
    types(cases);
}

fn types(cases: &mut Cases) {
    for code in [0, 23, 255] {
        cases.reject(
            &format!("dtype-code-{code}"),
            Rule::DtypeUnknown,
            "dtype codes are 1 to 22",
            put_entry(raw().forge(), entry::DTYPE, &[code]),
        );
        cases.also(&["12"]);
    }
    // A product of 64 bits makes the tensor empty, or gives it a byte.
    let wrapped = |shape: &[u64]| {
        let product = shape
            .iter()
            .fold(1u64, |product, &dim| product.wrapping_mul(dim));
        let data = vec![1; product.min(1) as usize];
        Draft::of([Tensor::raw("t", Dtype::U8, shape, data)]).forge()
    };
    let shapes: [(&str, &str, &[u64]); 8] = [
        (
            "2-to-the-56-plus-1-elements",
            "a tensor has at most 2^56 elements",
            &[(1 << 56) + 1],
        ),
        (
            "2-to-the-57-elements",
            "a tensor has at most 2^56 elements",
            &[1 << 28, 2, 1 << 28],
        ),
        (
            "2-to-the-64-elements-of-a-small-and-a-great-dimension",
            "the product of the dimensions is exact",
            &[128, 1 << 57],
        ),
        (
            "2-to-the-64-minus-1-elements",
            "a tensor has at most 2^56 elements",
            &[u64::MAX],
        ),
        (
            "dimensions-whose-product-wraps-to-0",
            "the product of the dimensions is exact",
            &[1 << 32, 1 << 32],
        ),
        (
            "dimensions-whose-product-wraps-to-1",
            "the product of the dimensions is exact",
            &[3, 0xaaaa_aaaa_aaaa_aaab],
        ),
        (
            "dimensions-whose-product-wraps-to-1-in-32-bits",
            "dimensions are numbers of 64 bits",
            &[(1 << 32) + 1, (1 << 32) + 1],
        ),
        (
            "sixty-four-greatest-dimensions",
            "the product of the dimensions is exact",
            &[u64::MAX; 64],
        ),
    ];
    for (id, claim, shape) in shapes {
        cases.reject(id, Rule::LimitElements, claim, wrapped(shape));
        cases.also(&["2"]);
    }
    // The number of bytes is that of a decoder that rounds up, or one that rounds down.
    for (id, dtype, elements, bytes) in [
        ("one-element-of-f4-in-a-byte", Dtype::F4, 1, 1),
        ("one-element-of-f4-in-no-byte", Dtype::F4, 1, 0),
        ("three-elements-of-f4-in-2-bytes", Dtype::F4, 3, 2),
        ("three-elements-of-f4-in-a-byte", Dtype::F4, 3, 1),
        ("one-element-of-f6-in-a-byte", Dtype::F6E2M3, 1, 1),
        ("two-elements-of-f6-in-a-byte", Dtype::F6E3M2, 2, 1),
        ("seven-elements-of-f6-in-6-bytes", Dtype::F6E2M3, 7, 6),
        (
            "2-to-the-56-minus-1-elements-of-f4",
            Dtype::F4,
            (1 << 56) - 1,
            4,
        ),
    ] {
        let tensor = Tensor::raw("t", dtype, &[elements], vec![1; bytes]);
        cases.reject(
            id,
            Rule::TensorBits,
            "elements of 4 and 6 bits are whole bytes together",
            Draft::of([tensor]).forge(),
        );
    }
    cases.reject(
        "f6-without-dimensions",
        Rule::TensorBits,
        "elements of 4 and 6 bits are whole bytes together",
        Draft::of([Tensor::raw("t", Dtype::F6E3M2, &[], vec![1])]).forge(),
    );
}
