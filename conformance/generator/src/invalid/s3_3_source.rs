//! Section 3.3: the source section. The JSON must describe exactly the tensors of the directory, in
//! an unambiguous way.

use unweight_format::{Dtype, Rule, layout};

use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

pub(super) const A: &str = r#""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
pub(super) const B: &str = r#""b":{"dtype":"I16","shape":[1,2],"data_offsets":[2,6]}"#;

pub(super) fn add(cases: &mut Cases) {
    checksum(cases);
    lengths(cases);
    descriptions(cases);
    orders(cases);
}

fn tensors() -> [Tensor; 2] {
    [
        Tensor::bytes("a", vec![1, 2]),
        Tensor::raw("b", Dtype::I16, &[1, 2], vec![3, 4, 5, 6]),
    ]
}

/// A file with the two tensors and this JSON.
pub(super) fn told(json: impl Into<Vec<u8>>) -> Forge {
    Draft::of(tensors()).with_json(json).forge()
}

pub(super) fn right() -> String {
    format!("{{{A},{B}}}")
}

fn checksum(cases: &mut Cases) {
    let file = told(right());
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::SourceCrc, claim, forge);
        cases.also(&["8"]);
    };
    let source = file.source();
    wrong(
        "source-changed-without-its-checksum",
        "every byte of the source section is covered by its checksum",
        // A space inside the object becomes a tab, so the JSON keeps its meaning and types such as
        // `U8` stay unchanged.
        told(format!("{{ {A},{B}}}")).flip(source.start + 9, b' ' ^ b'\t'),
    );
    wrong(
        "source-checksum-wrong-by-a-bit",
        "the source checksum is checked",
        file.clone()
            .flip(layout::file_header::SOURCE_CHECKSUM as usize + 1, 8)
            .stamp_header(),
    );
    wrong(
        "checksum-of-no-source-wrong",
        "the checksum of no bytes is 0",
        super::raw()
            .forge()
            .put_u32(layout::file_header::SOURCE_CHECKSUM as usize, 1)
            .stamp_header(),
    );
}

fn lengths(cases: &mut Cases) {
    let file = told(right());
    let length = file.u64_at(file.source().start);
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::SourceHeader, claim, forge.stamp());
    };
    let stated = |value| file.clone().put_u64(file.source().start, value);
    let claim = "the source section is the length field and as many bytes as it says";
    wrong(
        "json-length-one-less",
        claim,
        told(format!("{} ", right())).put_u64(file.source().start, length),
    );
    wrong("json-length-one-more", claim, stated(length + 1));
    wrong(
        "json-length-that-reaches-into-the-extensions",
        claim,
        // The kind of the item is four spaces.
        Draft::of(tensors())
            .with_json(right())
            .with_items(&[(0x2020_2020, b"")])
            .forge()
            .put_u64(file.source().start, length + 4),
    );
    wrong(
        "json-length-above-2-to-the-32",
        "the length of the JSON is a number of 64 bits",
        stated(length + (1 << 32)),
    );
    wrong(
        "json-length-of-2-to-the-64-minus-1",
        claim,
        stated(u64::MAX),
    );
    wrong(
        "json-length-of-2-to-the-64-minus-8",
        "the length of the JSON plus 8 is exact",
        stated(u64::MAX - 7),
    );
    wrong(
        "json-of-no-bytes",
        "the JSON is an object",
        Draft::of([]).with_json("").forge(),
    );
}

fn descriptions(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, json: String| {
        cases.reject(id, Rule::SourceHeader, claim, told(json));
    };
    let claim = "each tensor has the name of its directory entry";
    let swapped = right()
        .replace("\"a\"", "\"t\"")
        .replace("\"b\"", "\"a\"")
        .replace("\"t\"", "\"b\"");
    wrong("source-with-names-swapped", claim, swapped);
    wrong(
        "source-with-another-name",
        claim,
        right().replace("\"b\"", "\"B\""),
    );
    wrong(
        "source-with-a-longer-name",
        claim,
        right().replace("\"b\"", "\"b\\u0000\""),
    );
    let claim = "each tensor has the dtype of its directory entry";
    wrong(
        "source-with-another-dtype-of-the-same-size",
        claim,
        right().replace("I16", "F16"),
    );
    wrong(
        "source-with-another-dtype-and-shape-of-the-same-length",
        claim,
        right().replace("I16\",\"shape\":[1,2]", "I8\",\"shape\":[1,4]"),
    );
    wrong(
        "source-with-a-dtype-that-sorts-behind",
        claim,
        right().replace("I16", "U16"),
    );
    let claim = "each tensor has the shape of its directory entry";
    wrong(
        "source-with-another-shape-of-the-same-size",
        claim,
        right().replace("[1,2]", "[2,1]"),
    );
    wrong(
        "source-with-one-dimension-fewer",
        claim,
        right().replace("[1,2]", "[2]"),
    );
    wrong(
        "source-with-one-dimension-more",
        claim,
        right().replace("[1,2]", "[1,2,1]"),
    );
    let claim = "each tensor has the length of its directory entry";
    wrong(
        "source-with-offsets-longer-than-the-shape",
        claim,
        right().replace("[2,6]", "[2,7]"),
    );
    wrong(
        "source-with-offsets-shorter-than-the-shape",
        claim,
        right().replace("[2,6]", "[2,5]"),
    );
    let claim = "there are as many tensors as in the directory";
    wrong("source-without-the-last-tensor", claim, format!("{{{A}}}"));
    wrong("source-without-tensors", claim, "{}".to_owned());
    let c = r#""c":{"dtype":"U8","shape":[1],"data_offsets":[6,7]}"#;
    wrong(
        "source-with-an-extra-tensor",
        claim,
        format!("{{{A},{B},{c}}}"),
    );
    let empty = r#""c":{"dtype":"U8","shape":[0],"data_offsets":[6,6]}"#;
    wrong(
        "source-with-an-extra-empty-tensor",
        claim,
        format!("{{{A},{B},{empty}}}"),
    );
    let claim = "the first tensor begins at 0, and each begins where the one before it ends";
    let offsets = |a: &str, b: &str| right().replace("[0,2]", a).replace("[2,6]", b);
    wrong(
        "source-that-begins-behind-0",
        claim,
        offsets("[1,3]", "[3,7]"),
    );
    wrong("source-with-a-hole", claim, offsets("[0,2]", "[3,7]"));
    wrong("source-with-an-overlap", claim, offsets("[0,2]", "[1,5]"));
    wrong(
        "source-with-both-tensors-at-0",
        claim,
        offsets("[0,2]", "[0,4]"),
    );
    wrong(
        "source-with-tensors-exchanged",
        claim,
        offsets("[4,6]", "[0,4]"),
    );
    wrong(
        "source-with-begin-behind-end",
        "begin is at most end",
        offsets("[2,0]", "[2,6]"),
    );
    wrong(
        "source-of-exabytes",
        claim,
        right().replace(
            "[1,2],\"data_offsets\":[2,6]",
            "[1,9223372036854775806],\"data_offsets\":[2,18446744073709551614]",
        ),
    );
    let exabytes = (0..31u64).map(|i| {
        let (begin, end) = (i << 59, (i + 1) << 59);
        format!(
            r#""{i}":{{"dtype":"U64","shape":[72057594037927936],"data_offsets":[{begin},{end}]}}"#
        )
    });
    let last = format!(
        r#""last":{{"dtype":"U64","shape":[72057594037927935],"data_offsets":[{},{}]}}"#,
        31u64 << 59,
        u64::MAX - 7
    );
    let members: Vec<String> = exabytes.chain([last]).collect();
    wrong(
        "source-that-ends-past-2-to-the-64",
        "a source whose header and data together leave 64 bits fits no directory",
        format!("{{{}}}", members.join(",")),
    );
    wrong(
        "source-with-dimensions-that-wrap-2-to-the-64",
        "each tensor has the shape of its directory entry",
        right().replace("[1,2]", "[2,9223372036854775809]"),
    );
}

fn orders(cases: &mut Cases) {
    let empty = |name: &str| Tensor::raw(name, Dtype::F32, &[0], vec![]);
    let e = |name: &str, at: u32| {
        format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[{at},{at}]}}"#)
    };
    let d = r#""d":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    let data = || Tensor::bytes("d", vec![1, 2]);
    let mut wrong = |id: &str, claim: &str, tensors: Vec<Tensor>, members: [&str; 3]| {
        let json = format!("{{{}}}", members.join(","));
        cases.reject(
            id,
            Rule::SourceHeader,
            claim,
            Draft::of(tensors).with_json(json).forge(),
        );
    };
    wrong(
        "directory-with-equal-offsets-in-another-order",
        "members with equal offsets stand in the directory in the order in which they appear",
        vec![empty("x"), empty("y"), data()],
        [&e("y", 0), &e("x", 0), d],
    );
    wrong(
        "directory-with-an-empty-tensor-behind-its-offset",
        "tensors are sorted by begin and then by end",
        vec![data(), empty("x"), empty("y")],
        [&e("x", 0), d, &e("y", 2)],
    );
    cases.reject(
        "directory-in-the-order-of-the-text",
        Rule::SourceHeader,
        "directory order is the order of the offsets",
        Draft::of([tensors()[1].clone(), tensors()[0].clone()])
            .with_json(format!("{{{B},{A}}}"))
            .forge(),
    );
    cases.reject(
        "tensor-named-dunder-metadata-with-a-source",
        Rule::SourceHeader,
        "a safetensors header cannot describe a tensor called __metadata__",
        Draft::of([Tensor::bytes("__metadata__", vec![1])])
            .with_source()
            .forge(),
    );
}
