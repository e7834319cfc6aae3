//! Sections 11.3 to 11.5: palettes and codes.

use unweight_format::Encoding;

use super::{BOTH, HUFFMAN, Vector, counts, in_order, shuffled};
use crate::case::Cases;
use crate::draft::Tensor;
use crate::python;
use crate::random::Random;
use crate::source;

pub(super) fn palettes(cases: &mut Cases) {
    let every = |exponents: std::ops::Range<u8>, count: usize| {
        counts(
            &exponents
                .map(|exponent| (exponent, count))
                .collect::<Vec<_>>(),
        )
    };
    Vector::of(
        "palette-of-equal-counts",
        &["11.3"],
        "of exponents that occur equally often, the smaller ones are in the palette",
        [
            shuffled("18 alike", every(100..118, 100)),
            shuffled(
                "the first two rarer",
                [every(102..118, 120), every(100..102, 119)].concat(),
            ),
            shuffled(
                "one commoner above",
                [every(100..118, 100), vec![117]].concat(),
            ),
            shuffled(
                "gaps",
                counts(&(0..20u8).map(|i| (i * 12, 100)).collect::<Vec<_>>()),
            ),
        ],
    )
    .add(cases, &BOTH);
    Vector::of(
        "palette-completion",
        &["11.3"],
        "a palette of fewer than 16 is completed downwards from the greatest exponent, and then upwards",
        [
            shuffled("two in the middle", counts(&[(120, 400), (118, 200)])),
            shuffled("zero and 1", counts(&[(0, 400), (1, 200)])),
            shuffled("255 and 254", counts(&[(255, 400), (254, 200)])),
            shuffled("low", counts(&[(3, 500), (5, 100)])),
            shuffled("high and zero", counts(&[(0, 300), (254, 300)])),
            shuffled("a gap below", counts(&[(110, 200), (121, 200), (125, 200)])),
            shuffled("fifteen", every(0..15, 40)),
            shuffled("sixteen", every(200..216, 40)),
            shuffled("zero and far", counts(&[(0, 100), (9, 500)])),
        ],
    )
    .add(cases, &BOTH);
}

/// Section 11.4, step 2: codes of frequent values alone.
pub(super) fn frequent(cases: &mut Cases) {
    let of = |name: &str, of_each: &[usize]| {
        let pairs: Vec<(u8, usize)> = (100..).zip(of_each.iter().copied()).collect();
        shuffled(name, counts(&pairs))
    };
    Vector::of(
        "patches-for-rare-values",
        &["11.4", "11.5"],
        "values that less than one weight in 64 has get patches where that is cheaper, if at most one weight in 64 has such a value",
        [
            of("one frequent", &[4050, 20, 16, 10]),
            of("64 of 4096 rare", &[4032, 32, 32]),
            of("65 of 4096 rare", &[4031, 33, 32]),
            of("64 of 4097 rare", &[4033, 32, 32]),
            of("64 of 4096 frequent", &[4032, 64]),
            of("63 of 4096 rare", &[4033, 63]),
            of("64 of 4097 not frequent", &[4033, 64]),
            of("equal costs", &[2656, 1380, 60]),
            of("one bit cheaper", &[2655, 1381, 60]),
            of("24 bits cheaper", &[2657, 1380, 59]),
            of("none frequent", &[40; 100]),
        ],
    )
    .add(cases, &[(Encoding::Huffman, 12), (Encoding::Huffman, 13)]);
    // Chunk 1 has rare values; chunk 2 has none of the tensor's frequent ones.
    let chunk = |pairs: &[(u8, usize)]| {
        let mut values = counts(pairs);
        Random::new("frequent").shuffle(&mut values);
        values
    };
    Vector::of(
        "own-codes-of-frequent-values",
        &["11.4", "11.5"],
        "the code of a chunk is chosen as that of the tensor is",
        [in_order(
            "w",
            [
                chunk(&[(100, 2000), (101, 1096), (102, 1000)]),
                chunk(&[(100, 4050), (101, 26), (103, 20)]),
                chunk(&[(103, 3000), (104, 1096)]),
                chunk(&[(105, 4096)]),
            ]
            .concat(),
        )],
    )
    .add(cases, &HUFFMAN);
}

pub(super) fn code_lengths(cases: &mut Cases) {
    let of = |name: &str, of_each: &[usize]| {
        let pairs: Vec<(u8, usize)> = (100..).zip(of_each.iter().copied()).collect();
        shuffled(name, counts(&pairs))
    };
    let alike: Vec<Tensor> = (1..=16)
        .map(|entries| of(&format!("{entries} alike"), &vec![960 / entries; entries]))
        .collect();
    Vector::of(
        "code-lengths-of-equal-counts",
        &["11.4"],
        "ties between items are settled by palette index",
        alike,
    )
    .add(cases, &HUFFMAN);
    Vector::of(
        "code-lengths-where-packages-tie",
        &["11.4"],
        "of equal weights an item stands before a package",
        [
            of("1 1 2", &[150, 150, 300]),
            of("1 1 2 2", &[100, 100, 200, 200]),
            of("2 1 1", &[300, 150, 150]),
            of("1 1 2 4 8", &[40, 40, 80, 160, 320]),
            of("8 4 2 1 1", &[320, 160, 80, 40, 40]),
            of("1 1 1 1 2 2", &[75, 75, 75, 75, 150, 150]),
            of("2 2 1 1 1 1", &[150, 150, 75, 75, 75, 75]),
            of("1 2 3 3", &[100, 200, 300, 300]),
            of("3 3 2 1 6", &[150, 150, 100, 50, 300]),
            of("1 1 1 3 3 6", &[50, 50, 50, 150, 150, 300]),
        ],
    )
    .add(cases, &HUFFMAN);
    let doubling: Vec<usize> = (0..12).map(|i| 1 << i).collect();
    let fibonacci = [
        2, 2, 4, 6, 10, 16, 26, 42, 68, 110, 178, 288, 466, 754, 1220, 1974,
    ];
    let mut backwards = fibonacci;
    backwards.reverse();
    Vector::of(
        "code-lengths-at-the-limit",
        &["11.4"],
        "where a Huffman code would be longer than 8 bits, package-merge gives the best code that is not",
        [
            of("doubling", &doubling),
            of("fibonacci", &fibonacci),
            of("fibonacci backwards", &backwards),
            of("one common and fifteen rare", &[vec![2000], vec![1; 15]].concat()),
            of("nine doubling", &[1, 1, 2, 4, 8, 16, 32, 64, 128]),
            of("ten doubling", &[1, 1, 2, 4, 8, 16, 32, 64, 128, 256]),
        ],
    )
    .add(cases, &HUFFMAN);
    // More than one weight in 64 has a value that less than one in 64 has: so these have codes.
    let rare = |name: &str, count: usize, all: usize| {
        let others = [40; 10];
        let first = [count, all - count - 400];
        of(name, &[&first[..], &others].concat())
    };
    Vector::of(
        "one-in-4096",
        &["11.4", "11.5"],
        "a value has a code if 4096 times its count is at least the number of weights",
        [
            rare("1 of 4096", 1, 4096),
            rare("1 of 4097", 1, 4097),
            rare("2 of 8192", 2, 8192),
            rare("1 of 8192", 1, 8192),
            rare("2 of 8193", 2, 8193),
        ],
    )
    .add(cases, &[(Encoding::Huffman, 12), (Encoding::Huffman, 13)]);
}

/// Section 11.5: chunks whose own code saves just enough or just too little.
pub(super) fn own_codes(cases: &mut Cases) {
    // There are four chunks of four exponents. In the last chunk, the rarest exponent replaces
    // `moved` of the commonest.
    let tensor = |moved: usize| {
        let chunk = |moved: usize| {
            let mut exponents = counts(&[
                (120, 2048 - moved),
                (121, 1024),
                (122, 512),
                (123, 512 + moved),
            ]);
            Random::new("own codes").shuffle(&mut exponents);
            exponents
        };
        let exponents = [chunk(0), chunk(0), chunk(0), chunk(moved)].concat();
        in_order(&format!("{moved} moved"), exponents)
    };
    let has_its_own = |moved: usize| {
        let file = encode_one(&tensor(moved));
        let lengths = |number: usize| record_of(&file, 4 * 4096, number)[8..16].to_vec();
        lengths(3) != lengths(0)
    };
    // A chunk that differs more saves more.
    let (mut least, mut first) = (0, 2048);
    while least < first {
        let middle = (least + first) / 2;
        match has_its_own(middle) {
            true => first = middle,
            false => least = middle + 1,
        }
    }
    Vector::of(
        "own-code-or-the-tensors",
        &["11.5"],
        "a record has its chunk's own code only if 256 times its cost is below 255 times that of the tensor's",
        [tensor(first - 1), tensor(first)],
    )
    .add(cases, &HUFFMAN);
    Vector::of(
        "own-code-at-equal-costs",
        &["11.5"],
        "where 256 times the one cost equals 255 times the other, the record has the tensor's code",
        [equal_costs()],
    )
    .add(cases, &HUFFMAN);
}

/// A tensor of three chunks. An own code for the last chunk would save exactly 1 bit in 256.
///
/// The tensor's code gives exponent 120 one bit, and 121 and 122 two bits each. The last chunk has
/// *b* weights of 121, more than the *a* weights of 120, and its own code exchanges their lengths.
/// So the costs are *t* = 2 · 4096 − *a* and *o* = 2 · 4096 − *b*, and 256 *o* = 255 *t*.
fn equal_costs() -> Tensor {
    let (a, b, c) = (1..4096usize)
        .flat_map(|a| (a..4096 - a).map(move |b| (a, b, 4096 - a - b)))
        .find(|&(a, b, c)| c <= a && 256 * (2 * 4096 - b) == 255 * (2 * 4096 - a))
        .expect("there is one");
    let mut usual = counts(&[(120, 6000), (121, 1200), (122, 992)]);
    let mut other = counts(&[(120, a), (121, b), (122, c)]);
    Random::new("usual").shuffle(&mut usual);
    Random::new("other").shuffle(&mut other);
    in_order("equal costs", [usual, other].concat())
}

fn encode_one(tensor: &Tensor) -> Vec<u8> {
    let source = source::file(std::slice::from_ref(tensor));
    python::encode(&source, Encoding::Huffman, 12)
}

/// Record `number` in a file of one BF16 tensor of `count` weights with a coded exponent, located by
/// the layout of section 3.5.
fn record_of(file: &[u8], count: usize, number: usize) -> &[u8] {
    let u64_at =
        |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")) as usize;
    let alignment = if 2 * count < 65_536 { 16 } else { 256 };
    let begin = (64 + u64_at(24) + u64_at(32)).next_multiple_of(256);
    let ends = begin + count.next_multiple_of(alignment) + 16;
    let records = (ends + 4 * count.div_ceil(4096)).next_multiple_of(16);
    let end = |number: usize| {
        let at = ends + 4 * number;
        records + 16 * u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes")) as usize
    };
    let start = if number == 0 {
        records
    } else {
        end(number - 1)
    };
    &file[start..end(number)]
}
