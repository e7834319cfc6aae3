//! Section 3.2: the directory.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::draft::{Draft, Tensor};

pub(super) fn add(cases: &mut Cases) {
    names(cases);
    shapes(cases);
    many(cases);
    for (padding, name) in [(0, ""), (1, "1234567"), (7, "1")] {
        cases.accept(
            &format!("directory-with-{padding}-bytes-of-padding"),
            &["3.2"],
            "the directory is completed to a multiple of 8",
            &Draft::of([Tensor::bytes(name, vec![7])]),
        );
    }
}

fn of_names(names: &[&str]) -> Draft {
    let tensors = names.iter().zip(1..);
    let tensor = |(name, number): (&&str, u8)| Tensor::bytes(name, vec![number]);
    Draft::of(tensors.map(tensor).collect::<Vec<_>>())
}

fn names(cases: &mut Cases) {
    cases.accept(
        "empty-name",
        &["3.2"],
        "the empty name is a name, and sorts before all others",
        &of_names(&["a", ""]),
    );
    cases.accept(
        "names-of-every-utf-8-length",
        &["3.2"],
        "names may hold any code point, in 1 to 4 bytes: zero, controls, noncharacters and the last one too",
        &of_names(&[
            "\0",
            "\u{7f}",
            "\u{80}",
            "\u{7ff}",
            "\u{800}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{feff}",
            "\u{ffff}",
            "\u{10000}",
            "\u{10ffff}",
        ]),
    );
    cases.accept(
        "names-sort-as-unsigned-bytes",
        &["3.2"],
        "names are sorted by their bytes, unsigned: not as signed bytes, not as UTF-16, not by locale",
        &of_names(&["\u{ffff}", "\u{10000}", "é", "z", "Z", "e\u{301}", "~", " "]),
    );
    cases.accept(
        "names-that-begin-alike",
        &["3.2"],
        "a name sorts before those that it begins",
        &of_names(&["model.layers.10", "model.layers.1", "model", "model.layers"]),
    );
    cases.accept(
        "names-that-differ-in-unicode-normal-form",
        &["3.2"],
        "names that look alike but have other bytes are different names",
        &of_names(&["\u{e9}", "e\u{301}", "K", "\u{212a}"]),
    );
    cases.accept(
        "name-of-65535-bytes",
        &["3.2", "9"],
        "the longest name has 65,535 bytes",
        &of_names(&["n", &"€".repeat(21_845), "o"]),
    );
    cases.accept(
        "name-dunder-metadata-without-source",
        &["3.2", "3.3"],
        "a tensor may be called __metadata__ where no safetensors header says otherwise",
        &of_names(&["__metadata__"]),
    );
}

fn shapes(cases: &mut Cases) {
    let ones = |last: u64| [vec![1; 63], vec![last]].concat();
    cases.accept(
        "rank-64",
        &["3.2", "9"],
        "a tensor has at most 64 dimensions",
        &Draft::of([Tensor::raw("t", Dtype::U8, &ones(5), b"rank!".to_vec())]),
    );
    cases.accept(
        "two-tensors-of-rank-64",
        &["3.2", "9"],
        "the limit of 64 dimensions is a tensor's, not the file's",
        &Draft::of([
            Tensor::raw("t", Dtype::U8, &ones(1), vec![1]),
            Tensor::raw("u", Dtype::U8, &ones(2), vec![2, 3]),
        ]),
    );
    cases.accept(
        "tensor-without-dimensions",
        &["3.2", "4.1"],
        "a tensor with no dimensions has one element",
        &Draft::of([
            Tensor::raw("scalar", Dtype::F32, &[], 1.5f32.to_le_bytes().to_vec()),
            Tensor::raw("bf16", Dtype::Bf16, &[], vec![0x80, 0x3f]),
        ]),
    );
    cases.accept(
        "empty-tensors",
        &["3.5", "4.1"],
        "a tensor with a dimension of 0 has no bytes and no payload",
        &Draft::of([
            Tensor::raw("first", Dtype::F64, &[0], vec![]),
            Tensor::bytes("between", b"bytes".to_vec()),
            Tensor::raw("bf16", Dtype::Bf16, &[3, 0, 5], vec![]),
            Tensor::raw("f4", Dtype::F4, &[7, 0], vec![]),
            Tensor::bytes("more", b"more bytes".to_vec()),
            Tensor::raw("last", Dtype::Bool, &[0, 0], vec![]),
        ]),
    );
    cases.accept(
        "only-empty-tensors",
        &["3.5", "4.1"],
        "a file may hold nothing but empty tensors; its payload has no bytes",
        &Draft::of([
            Tensor::raw("a", Dtype::Bf16, &[0], vec![]),
            Tensor::raw("b", Dtype::F6E3M2, &[0, 1], vec![]),
        ]),
    );
    cases.accept(
        "empty-tensor-whose-other-dimensions-overflow",
        &["4.1"],
        "one dimension of 0 makes the element count 0, however great the others are and wherever it stands",
        &Draft::of([
            Tensor::raw("before", Dtype::U8, &[0, u64::MAX, u64::MAX], vec![]),
            Tensor::raw("behind", Dtype::C64, &[1 << 63, 1 << 63, 0], vec![]),
            Tensor::raw("among", Dtype::F4, &[u64::MAX, 0, u64::MAX], vec![]),
        ]),
    );
}

fn many(cases: &mut Cases) {
    // 7 and 300 have no common factor, so the names are in an order far from the directory's.
    let tensor = |i: usize| {
        let name = format!("layer.{}.weight", i * 7 % 300);
        let bytes = if i.is_multiple_of(25) { i / 25 + 1 } else { 0 };
        Tensor::bytes(&name, vec![i as u8; bytes])
    };
    cases.accept(
        "three-hundred-tensors",
        &["3.2", "3.5"],
        "names are in another order than the directory, and most tensors are empty",
        &Draft::of((0..300).map(tensor).collect::<Vec<_>>()),
    );
}
