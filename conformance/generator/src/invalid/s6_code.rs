//! Section 6: code lengths that do not form a complete code.

use unweight_format::Rule;

use super::huffman;
use crate::case::Cases;
use crate::code::{Lengths, NONE};
use crate::draft::{Draft, Tensor};
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let with = |lengths: Lengths| {
        huffman()
            .edit_record(|record| record.code_lengths = lengths.to_bytes())
            .forge()
    };
    for length in 9..=14 {
        let mut lengths = Lengths::skewed();
        lengths.0[0] = length;
        cases.reject(
            &format!("code-length-{length}"),
            Rule::CodeLength,
            "a code length is 0 to 8, or 15 for none",
            with(lengths),
        );
    }
    // Two codes of 9 bits replace one of 8. No weight needs either.
    let weights = Weights::new(
        "short codes",
        (0..300).map(|i| PALETTE[9 + i % 7]).collect(),
    );
    let mut lengths = Lengths::skewed();
    lengths.0[6..8].copy_from_slice(&[9, 9]);
    cases.reject(
        "code-lengths-complete-with-9-bits",
        Rule::CodeLength,
        "a code length is 0 to 8, or 15 for none",
        Draft::of([Tensor::huffman(
            "w",
            12,
            PALETTE,
            &weights,
            Lengths::skewed(),
        )])
        .edit_record(|record| record.code_lengths = lengths.to_bytes())
        .forge(),
    );
    let mut last = Lengths::skewed();
    last.0[15] = 14;
    cases.reject(
        "code-length-14-at-the-last-entry",
        Rule::CodeLength,
        "a code length is 0 to 8, or 15 for none",
        with(last),
    );

    let claim = "the sum of 2^(8 - length) is not above 256";
    let over: [(&str, Lengths); 5] = [
        ("by-one-code-of-8-bits", Lengths::of(&[1, 1, 8])),
        ("by-two-codes-of-0-bits", Lengths::of(&[0, 0])),
        ("by-a-code-beside-one-of-0-bits", Lengths::of(&[0, 8])),
        ("by-sixteen-codes-of-0-bits", Lengths([0; 16])),
        ("by-sixteen-codes-of-3-bits", Lengths([3; 16])),
    ];
    for (id, lengths) in over {
        cases.reject(
            &format!("code-oversubscribed-{id}"),
            Rule::CodeOversubscribed,
            claim,
            with(lengths),
        );
    }
    // The extra code comes last in canonical order, and no weight needs it.
    let weights = Weights::new("entry 1", vec![PALETTE[1]; 512]);
    let mut lengths = Lengths::most_skewed(9);
    let record = Record::huffman(lengths, &PALETTE, &weights.exponents);
    lengths.0[15] = 8;
    cases.reject(
        "code-oversubscribed-by-257-of-256",
        Rule::CodeOversubscribed,
        claim,
        Draft::of([Tensor::huffman_with("w", 12, PALETTE, &weights, |_, _| {
            record.clone()
        })])
        .edit_record(|record| record.code_lengths = lengths.to_bytes())
        .forge(),
    );
    let claim = "the sum of 2^(8 - length) is not below 256";
    let under: [(&str, Lengths); 7] = [
        ("without-a-code", Lengths([NONE; 16])),
        ("of-one-code-of-1-bit", Lengths::of(&[1])),
        ("of-one-code-of-8-bits", Lengths::of(&[8])),
        ("of-three-codes-of-2-bits", Lengths::of(&[2, 2, 2])),
        ("of-sixteen-codes-of-5-bits", Lengths([5; 16])),
        ("of-sixteen-codes-of-8-bits", Lengths([8; 16])),
        ("by-255-of-256", {
            let mut lengths = Lengths::skewed();
            lengths.0[7] = NONE;
            lengths
        }),
    ];
    for (id, lengths) in under {
        cases.reject(
            &format!("code-incomplete-{id}"),
            Rule::CodeIncomplete,
            claim,
            with(lengths),
        );
    }
}
