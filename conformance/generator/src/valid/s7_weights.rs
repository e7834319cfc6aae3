//! Section 7: weights are restored exactly.

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::record::Record;
use crate::weights::{PALETTE, Weights, consecutive};

pub(super) fn add(cases: &mut Cases) {
    let all = Weights::of_bits(0..=u16::MAX);
    cases.accept(
        "every-bit-pattern-verbatim",
        &["2", "5.4", "7"],
        "all 65,536 patterns of a weight come back: zeros, subnormals, infinities and NaNs of every payload",
        &Draft::of([Tensor::huffman_with("w", 16, PALETTE, &all, |_, e| Record::verbatim(e))]),
    );
    // A palette has 16 exponents, which give 4096 patterns with sign and mantissa.
    let of_palette = |first: u8| {
        let exponents = first..=first + 15;
        let bits = exponents.flat_map(|exponent| {
            (0..=255u16).map(move |a| (a & 0x80) << 8 | u16::from(exponent) << 7 | a & 0x7f)
        });
        let mut bits: Vec<u16> = bits.collect();
        // Neighbours have different exponents, because 129 and 4096 have no common factor.
        let in_order = bits.clone();
        for (i, place) in bits.iter_mut().enumerate() {
            *place = in_order[i * 129 % 4096];
        }
        Weights::of_bits(bits)
    };
    let firsts = || (0..=240).step_by(16);
    let name = |first| format!("exponents from {first}");
    let huffman = firsts().map(|first| {
        let (palette, weights) = (consecutive(first), of_palette(first));
        Tensor::huffman(&name(first), 12, palette, &weights, Lengths::flat())
    });
    cases.accept(
        "every-bit-pattern-in-huffman",
        &["2", "5.2", "7"],
        "all 65,536 patterns of a weight come back: zeros, subnormals, infinities and NaNs of every payload",
        &Draft::of(huffman.collect::<Vec<_>>()),
    );
    let palette = firsts()
        .map(|first| Tensor::palette(&name(first), 12, consecutive(first), &of_palette(first)));
    cases.accept(
        "every-bit-pattern-in-palette",
        &["2", "5.3", "7"],
        "all 65,536 patterns of a weight come back: zeros, subnormals, infinities and NaNs of every payload",
        &Draft::of(palette.collect::<Vec<_>>()),
    );

    let extremes = [
        0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x807f, 0x0080, 0x7f7f, 0xff7f, 0x7f80, 0xff80,
        0x7f81, 0xff81, 0x7fc0, 0xffc0, 0x7fff, 0xffff, 0x3f80, 0xbf80,
    ];
    let special = Weights::of_bits((0..512).map(|i| extremes[i * 5 % extremes.len()]));
    let palette = {
        let mut palette = consecutive(0);
        palette[13..].copy_from_slice(&[127, 254, 255]);
        palette
    };
    let claim = "zeros keep their sign, and NaNs their payload";
    let mut lengths = [15; 16];
    for entry in [0, 1, 13, 14] {
        lengths[entry] = 3;
    }
    lengths[15] = 1;
    cases.accept(
        "zeros-infinities-and-nans-in-huffman",
        &["7"],
        claim,
        &Draft::of([Tensor::huffman(
            "w",
            12,
            palette,
            &special,
            Lengths(lengths),
        )]),
    );
    cases.accept(
        "zeros-infinities-and-nans-in-palette",
        &["7"],
        claim,
        &Draft::of([Tensor::palette("w", 12, palette, &special)]),
    );

    let one = Weights::new("one exponent", vec![PALETTE[9]; 9000]);
    cases.accept(
        "one-exponent-in-huffman",
        &["6", "7"],
        "a tensor of one exponent takes no bits for it",
        &Draft::of([Tensor::huffman("w", 12, PALETTE, &one, Lengths::single(9))]),
    );
    cases.accept(
        "one-exponent-in-palette",
        &["5.3", "7"],
        "a tensor of one exponent has the same index everywhere",
        &Draft::of([Tensor::palette("w", 12, PALETTE, &one)]),
    );
}
