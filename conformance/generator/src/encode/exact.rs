//! Sections 11.2 to 11.5 and 11.8: sources for which an encoder that counts other weights, or rounds
//! otherwise, writes another file.

use unweight_format::Dtype;

use super::{HUFFMAN, Vector, counts, in_order, shuffled};
use crate::case::Cases;
use crate::draft::Tensor;
use crate::fields;
use crate::random::Random;

pub(super) fn add(cases: &mut Cases) {
    weights_outside_the_palette(cases);
    own_codes(cases);
    half_a_step(cases);
    aligned_lengths(cases);
}

/// `first..` with these counts.
fn of_each(first: u8, of_each: &[usize]) -> Vec<(u8, usize)> {
    (first..).zip(of_each.iter().copied()).collect()
}

fn weights_outside_the_palette(cases: &mut Cases) {
    // The palette has 15 exponents of 266 weights each, and one of a single weight; 109 are outside.
    let fifteen = of_each(100, &[[266; 15].as_slice(), &[1; 110]].concat());
    // 96 weights have neither of the two frequent exponents; 28 of them are in the palette.
    let two = [2000, 2000].into_iter().chain([2; 14]).chain([1; 68]);
    let two = of_each(100, &two.collect::<Vec<_>>());
    Vector::of(
        "codes-count-weights-outside-the-palette",
        &["11.4"],
        "a code is chosen for all weights, those outside the palette too: 1 of 4100 is too few for a code, 96 of 4096 are too many to have patches",
        [
            shuffled("one weight of 4100", counts(&fifteen)),
            shuffled("96 rare weights of 4096", counts(&two)),
        ],
    )
    .add(cases, &HUFFMAN);
}

fn own_codes(cases: &mut Cases) {
    let chunk = |pairs: &[(u8, usize)]| {
        let mut values = counts(pairs);
        Random::new("chunk").shuffle(&mut values);
        values
    };
    let rare = |count: usize| of_each(104, &[count; 12]);
    let first = [&[(100, 2030), (101, 2030)][..], &rare(3)].concat();
    // The palette has 100 to 115; 72 weights of the second chunk are outside.
    let outside = of_each(120, &[1; 72]);
    let second = [&[(102, 2000), (103, 2000)][..], &rare(2), &outside].concat();
    let last = [(102, 650), (103, 300), (104, 40), (105, 1)];
    Vector::of(
        "own-codes-count-the-weights-of-their-chunk",
        &["11.4", "11.5"],
        "an own code is chosen for the weights of its chunk: those outside the palette count, and a short last chunk has its own number",
        [
            in_order("96 rare weights", [chunk(&first), chunk(&second)].concat()),
            in_order("991 weights", [chunk(&first), chunk(&second), chunk(&last)].concat()),
        ],
    )
    .add(cases, &HUFFMAN);
    Vector::of(
        "own-code-of-254-bits-for-255",
        &["11.5"],
        "an own code of 254 bits is chosen where that of the tensor takes 255: it saves more than one part in 256",
        [in_order(
            "w",
            [
                chunk(&[(120, 2500), (121, 900), (122, 696)]),
                chunk(&[(120, 51), (121, 52), (122, 50)]),
            ]
            .concat(),
        )],
    )
    .add(cases, &HUFFMAN);
}

/// 7 bits: the exponent of F8_E8M0 but for its last bit.
fn exponents(name: &str, values: impl Iterator<Item = u64>) -> Tensor {
    let weights: Vec<u64> = values.map(|value| value << 1).collect();
    Tensor::flat(name, Dtype::F8E8M0, fields::data(Dtype::F8E8M0, &weights))
}

/// Whether weight `i` lies in a step of the sample.
fn is_sampled(i: u64) -> bool {
    (i / 256).is_multiple_of(17)
}

fn half_a_step(cases: &mut Cases) {
    let value = |i: u64| match is_sampled(i) && i % 256 >= 128 {
        true => i * 7 % 128,
        false => 64,
    };
    Vector::of(
        "sample-of-whole-steps",
        &["11.2"],
        "the sample has all 256 weights of its steps",
        [exponents("w", (0..129 * 256).map(value))],
    )
    .add(cases, &HUFFMAN);
}

/// The payload with coded fields is shorter than the raw one, by less than the alignment.
fn aligned_lengths(cases: &mut Cases) {
    // The steps of the sample have one value. All other chunks than the first are verbatim.
    let value = |i: u64| match (is_sampled(i), i) {
        (true, _) => 64,
        // 336 weights of the first chunk are outside the palette of 64 and 65 to 79.
        (false, 0..592) => i % 64,
        (false, 592..4096) => 64 + i % 16,
        (false, _) => i * 7 % 128,
    };
    Vector::of(
        "raw-at-equal-aligned-lengths",
        &["11.8"],
        "lengths are compared completed to the alignment: a coded payload of 65,408 bytes is no shorter than a raw one of 65,536",
        [exponents("w", (0..65_536).map(value))],
    )
    .add(cases, &HUFFMAN);
}
