//! Section 3.1: the file header.

use crate::case::Cases;
use crate::draft::{Draft, Tensor};

pub(super) fn add(cases: &mut Cases) {
    let small = Draft::of([Tensor::bytes("r", b"raw".to_vec())]);
    for minor_version in [1, 65_535] {
        let draft = Draft {
            minor_version,
            ..small.clone()
        };
        cases.accept(
            &format!("minor-version-{minor_version}"),
            &["3.1", "12"],
            "a decoder ignores the minor version",
            &draft,
        );
    }
    cases.accept(
        "no-tensors-and-no-source",
        &["3.1", "3.2", "3.5"],
        "a file without tensors and source restores to nothing",
        &Draft::of([]),
    );
    cases.accept(
        "source-kind-none",
        &["3.1", "3.3"],
        "without a source section the restored source is the tensors' bytes alone",
        &Draft::of([
            Tensor::bytes("a", b"first".to_vec()),
            Tensor::bytes("b", b"second".to_vec()),
        ]),
    );
    cases.accept(
        "shortest-safetensors-source",
        &["3.1", "3.3"],
        "a safetensors source without tensors is its length field and an empty object",
        &Draft::of([]).with_json("{}"),
    );
}
