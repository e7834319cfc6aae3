//! Section 6: every shape of a code.

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::random::Random;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    for entries in 1..=16 {
        let most_even = Lengths::most_even(entries);
        let most_skewed = Lengths::most_skewed(entries);
        cases.accept(
            &format!("even-code-of-{entries}-entries"),
            &["6"],
            "1 to 16 entries have a code; here the lengths differ by at most 1",
            &Draft::of([coded("w", &PALETTE, most_even)]),
        );
        // With up to three entries there is only one shape.
        if most_skewed != most_even {
            cases.accept(
                &format!("skewed-code-of-{entries}-entries"),
                &["6"],
                "1 to 16 entries have a code; here the lengths go up to 8 as soon as they can",
                &Draft::of([coded("w", &PALETTE, most_skewed)]),
            );
        }
    }
    let reversed = |mut lengths: Lengths| {
        lengths.0.reverse();
        lengths
    };
    cases.accept(
        "most-skewed-code-in-both-directions",
        &["6"],
        "codes are assigned by length first and by entry second, wherever the short ones stand",
        &Draft::of([
            coded("ascending", &PALETTE, Lengths::most_skewed(9)),
            coded("descending", &PALETTE, reversed(Lengths::most_skewed(9))),
            coded("all entries", &PALETTE, reversed(Lengths::most_skewed(16))),
        ]),
    );
    let single: Vec<Tensor> = (0..16)
        .map(|entry| coded(&format!("entry {entry}"), &PALETTE, Lengths::single(entry)))
        .collect();
    cases.accept(
        "code-of-length-0-at-every-entry",
        &["6"],
        "one entry alone may have a code; its length is 0, and the others have none",
        &Draft::of(single),
    );
    let mut random = Random::new("codes");
    let tensors: Vec<Tensor> = (0..24)
        .map(|number| {
            let lengths = Lengths::random(&mut random);
            coded(&format!("code {number}"), &PALETTE, lengths)
        })
        .collect();
    cases.accept(
        "twenty-four-random-codes",
        &["6"],
        "any complete code of lengths up to 8 decodes",
        &Draft::of(tensors),
    );
}

/// 1024 weights in which every entry of the code occurs about as often.
fn coded(name: &str, palette: &[u8; 16], lengths: Lengths) -> Tensor {
    let entries = lengths.entries();
    let mut random = Random::new(name);
    let exponents = (0..1024)
        .map(|_| palette[entries[random.below(entries.len() as u64) as usize]])
        .collect();
    let weights = Weights::new(name, exponents);
    let tensor = Tensor::huffman(name, 12, *palette, &weights, lengths);
    assert_eq!(
        tensor.stored[0].records[0].kind, 1,
        "the record fits its bound"
    );
    tensor
}
