//! Sections 11.5 to 11.7: patches, placeholders and verbatim records.

use unweight_format::{Dtype, Encoding};

use super::{BOTH, HUFFMAN, PALETTE, Vector, counts, in_order, shuffled};
use crate::case::Cases;
use crate::draft::Tensor;
use crate::fields;
use crate::random::Random;
use crate::weights::Weights;

pub(super) fn patches(cases: &mut Cases) {
    let mut exponents = Weights::skewed("patches", &crate::weights::PALETTE, 4096 + 700).exponents;
    for (i, position) in [0, 7, 255, 256, 4095, 4096, 4795].into_iter().enumerate() {
        exponents[position] = 10 + i as u8;
    }
    // An exponent of the palette is too rare for a code in one chunk, and common in the other.
    for exponent in &mut exponents[4096..4396] {
        *exponent = 112;
    }
    Vector::of(
        "patches",
        &["11.5", "11.6"],
        "a weight whose exponent has no code is coded as the placeholder and patched; one outside the palette as index 0",
        [in_order("w", exponents)],
    )
    .add(
        cases,
        &[
            (Encoding::Huffman, 12),
            (Encoding::Huffman, 14),
            (Encoding::Huffman, 16),
            (Encoding::Palette, 12),
            (Encoding::Palette, 13),
            (Encoding::Palette, 16),
        ],
    );

    // 16 values are about equally often, and every 89th weight has another one.
    let weight = |i: u64| match i % 89 {
        0 => (i / 89 % 8) << 2,
        _ => ((8 + i * 5 % 16) << 2) | (i % 4),
    };
    let weights: Vec<u64> = (0..65_536 + 300).map(weight).collect();
    Vector::of(
        "chunk-of-65536-weights",
        &["11.5", "11.6"],
        "a chunk of 2^16 weights has positions up to 65,535, and a record of more than 32,767 bytes",
        [Tensor::flat(
            "w",
            Dtype::F8E5M2,
            fields::data(Dtype::F8E5M2, &weights),
        )],
    )
    .add(cases, &[(Encoding::Huffman, 16), (Encoding::Palette, 16)]);

    // The placeholder is the entry with the least (length, entry), which need not be entry 0.
    let placeholder = |name: &str, common: u8| {
        let mut exponents = counts(&[(common, 3000), (100, 500), (109, 500), (115, 96)]);
        Random::new(name).shuffle(&mut exponents);
        exponents.extend((0..40).map(|i| i % 20));
        in_order(name, exponents)
    };
    Vector::of(
        "placeholders",
        &["11.4", "11.5"],
        "the placeholder is the first entry in canonical order",
        [
            placeholder("lowest", 90),
            placeholder("middle", 105),
            placeholder("highest", 120),
            shuffled(
                "alike",
                [counts(&[(100, 1000), (101, 1000), (102, 1000)]), vec![9; 1]].concat(),
            ),
        ],
    )
    .add(cases, &HUFFMAN);
}

pub(super) fn verbatim(cases: &mut Cases) {
    // Sixteen exponents are common in all chunks but the last, which has `outside` weights with
    // other exponents.
    let with = |outside: usize, inside: &dyn Fn(usize) -> u8| {
        let chunks = if outside < 4000 { 1 } else { 6 };
        let usual: Vec<u8> = (0..4096 * chunks).map(|i| 100 + (i % 16) as u8).collect();
        let chunk = (0..4096).map(|i| {
            if i < outside {
                (i % 90) as u8
            } else {
                inside(i)
            }
        });
        in_order(
            &format!("{outside} outside"),
            usual.into_iter().chain(chunk).collect(),
        )
    };
    let even = |i: usize| 100 + (i % 16) as u8;
    Vector::of(
        "verbatim-in-palette",
        &["11.6", "11.7"],
        "a record that would be longer than the verbatim one, padding included, is verbatim: 682 patches are not, 683 are",
        [with(682, &even), with(683, &even), with(4096, &even)],
    )
    .add(cases, &PALETTE);
    // The other weights have a single exponent, whose code has no bits.
    let one = |_| 107;
    Vector::of(
        "verbatim-in-huffman",
        &["11.4", "11.5", "11.7"],
        "a record that would be longer than the verbatim one, padding included, is verbatim: 1344 patches are not, 1345 are",
        [with(1344, &one), with(1345, &one), with(4095, &one), with(4096, &one)],
    )
    .add(cases, &HUFFMAN);
    let short = |count: usize| {
        in_order(
            &format!("{count} in the last chunk"),
            (0..4096 + count).map(|i| 110 + (i % 3 % 2) as u8).collect(),
        )
    };
    Vector::of(
        "verbatim-last-chunks",
        &["11.7"],
        "short chunks are verbatim where that is shorter: 80 weights take 96 bytes verbatim and 112 in huffman",
        [1, 80, 81, 112, 113].map(short),
    )
    .add(cases, &BOTH);
}
