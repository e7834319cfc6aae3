//! Files whose strict prefixes are all rejected.

use unweight_format::{Dtype, Rule};

use crate::case::{Case, Cases, Expect};
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::weights::{PALETTE, Weights};

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    let weights = Weights::skewed("prefixes", &PALETTE, 250);
    let huffman = Tensor::huffman("w", 12, PALETTE, &weights, Lengths::skewed());
    let noted = Draft::of([
        Tensor::flat("c", Dtype::F16, [0x2a, 0x40].repeat(11)).constant_field(0),
        Tensor::raw_weights("w", &weights).chunks(12).even_field(1),
    ]);
    let families = [
        (
            "extensions-and-constants",
            "extensions, constants and a coded mantissa",
            noted.with_items(&[(7, b"note")]),
        ),
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
