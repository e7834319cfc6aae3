//! Files that a transcoder rejects. They are files of `invalid/`: one for each rule, and those whose
//! damage lies in what a transcoder could copy or drop without a look.

use unweight_format::{Encoding, Rule};

use crate::case::{Case, Cases, Expect, sections_of};

pub(super) fn add(cases: &mut Cases) {
    for rule in Rule::ALL {
        let of_rule =
            |case: &&Case| matches!(case.expect, Expect::Reject(broken) if broken == *rule);
        let mut found = cases.cases.iter().filter(of_rule);
        let first = found.next().expect("every rule has a case");
        refuse(cases, &first.id.clone(), Encoding::Huffman);
    }
    let more = [
        "tensor-checksum-of-a-raw-tensor-wrong",
        "tensor-checksum-of-an-empty-tensor-wrong",
        "tensor-checksum-of-a-huffman-tensor-wrong",
        "tensor-checksum-of-a-palette-tensor-wrong",
        "tensor-checksum-of-the-last-tensor-wrong",
        "raw-data-changed-with-its-block-checksum",
        "constant-changed-with-its-checksum",
        "verbatim-value-of-4-bits-changed-with-its-checksum",
        "chunks-exchanged",
        "last-block-checksum-wrong-by-a-bit",
        "block-beside-a-constant-changed-without-its-checksum",
        "padding-behind-the-extensions",
        "padding-between-two-payloads-last-byte",
        "padding-before-constants-last-byte",
        "padding-first-bit-of-a-plane-beside-constants",
        "padding-guard-last-byte",
        "critical-extension-of-kind-5",
        "critical-extension-for-private-use",
        "critical-extension-behind-others",
        "json-with-a-tensor-twice",
    ];
    for id in more {
        refuse(cases, id, Encoding::Palette);
    }
}

fn refuse(cases: &mut Cases, id: &str, encoding: Encoding) {
    let case = cases.case(id);
    let Expect::Reject(rule) = case.expect else {
        panic!("{id} is not a reject case")
    };
    let refused = Case {
        id: format!("{id}-not-transcoded-to-{encoding}"),
        claim: format!(
            "a transcoder rejects what a decoder rejects: {}",
            case.claim
        ),
        full: case.full || encoding == Encoding::Palette,
        sections: sections_of(rule).into_iter().chain(["11.9"]).collect(),
        file: case.file.clone(),
        expect: Expect::TranscodeRefuse {
            rule,
            encoding: encoding.name(),
        },
    };
    cases.cases.push(refused);
}
