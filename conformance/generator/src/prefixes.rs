//! Files whose strict prefixes are all rejected.

use unweight_format::Rule;

use crate::case::{Case, Cases, Expect};
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::weights::{PALETTE, Weights};

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    let weights = Weights::skewed("prefixes", &PALETTE, 250);
    let huffman = Tensor::huffman("w", 12, PALETTE, &weights, Lengths::skewed());
    let families = [
        (
            "raw",
            "a raw tensor",
            Draft::of([Tensor::bytes("r", b"raw".to_vec())]).with_source(),
        ),
        ("huffman", "a huffman tensor", Draft::of([huffman])),
        (
            "palette",
            "a palette tensor",
            Draft::of([Tensor::palette("w", 12, PALETTE, &weights)]),
        ),
    ];
    for (name, what, draft) in families {
        let valid = format!("small-file-with-{name}");
        let claim = format!("a small file with {what} decodes");
        cases.accept(&valid, &["3.1"], &claim, &draft);
        cases.cases.push(Case {
            id: format!("every-prefix-of-a-file-with-{name}"),
            claim: format!("every strict prefix of a file with {what} is rejected as truncated"),
            full: draft.has_palette(),
            sections: vec!["3.1", "10"],
            file: format!("valid/{valid}.unw"),
            expect: Expect::Prefixes(Rule::FileTruncated),
        });
    }
}
