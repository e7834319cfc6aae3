//! Section 3.3: the source section.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let weights = Weights::skewed("source", &PALETTE, 300);
    let huffman = Tensor::huffman("w", 12, PALETTE, &weights, Lengths::skewed()).shaped(&[3, 100]);
    cases.accept(
        "safetensors-source",
        &["3.3"],
        "the source section is the header of a safetensors file, and the restored source the file",
        &Draft::of([
            huffman.clone(),
            Tensor::bytes("ids", vec![1, 2, 3]),
            Tensor::raw("scale", Dtype::F32, &[], vec![0, 0, 128, 63]),
        ])
        .with_source(),
    );
    cases.accept(
        "safetensors-source-with-palette",
        &["3.3"],
        "the restored source does not depend on how tensors are stored",
        &Draft::of([
            Tensor::palette("w", 12, PALETTE, &weights).shaped(&[3, 100]),
            Tensor::bytes("ids", vec![1, 2, 3]),
        ])
        .with_source(),
    );
    texts(cases);
    null_alone(cases);
    orders(cases);
    // Header and directory have 64 + 56 bytes. The source section ends on a multiple of 256 or next
    // to one.
    for (length, name) in [(135, "one-before"), (136, "on"), (137, "one-behind")] {
        let tensor = Tensor::bytes("r", b"raw".to_vec());
        let mut json = b"{\"r\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}".to_vec();
        json.resize(length - 8, b' ');
        cases.accept(
            &format!("source-ends-{name}-a-multiple-of-256"),
            &["3.3", "3.5"],
            "the payload begins at the least multiple of 256 behind the source section",
            &Draft::of([tensor]).with_json(json),
        );
    }
}

/// Different JSON texts with the same meaning. `a` has bytes 0..2, `b` bytes 2..6.
fn texts(cases: &mut Cases) {
    let tensors = || {
        [
            Tensor::bytes("a", vec![1, 2]),
            Tensor::raw("b", Dtype::Bf16, &[2], vec![3, 4, 5, 6]),
        ]
    };
    let a = r#""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    let b = r#""b":{"dtype":"BF16","shape":[2],"data_offsets":[2,6]}"#;
    let mut text = |id: &str, claim: &str, json: String| {
        cases.accept(id, &["3.3"], claim, &Draft::of(tensors()).with_json(json));
    };
    text(
        "json-with-white-space-everywhere",
        "white space may stand between any two tokens, and stays as it was",
        concat!(
            "{ \t\r\n \"a\" :\t{ \"dtype\"\n: \"U8\" , \"shape\" : [ 2 ] ,\r\"data_offsets\" : [ 0 , 2 ] } ,",
            "\n\n\"b\":\n{\"data_offsets\":[\t2\n,6\r],\"dtype\":\"BF16\",\"shape\":[2\t]}\t}"
        )
        .to_owned(),
    );
    text(
        "json-with-white-space-in-metadata",
        "white space may stand between any two tokens of __metadata__, and behind its values",
        format!(
            "{{ \t\r\n\"__metadata__\" : {{ \"k\" :\n\"v\"\r\n,\t\"l\"\t:\r\"m\" \t}} , {a} ,{b} }}"
        ),
    );
    text(
        "json-with-white-space-behind",
        "space, tab, line feed and carriage return may stand behind the object",
        format!("{{{a},{b}}} \t\n\r"),
    );
    text(
        "json-with-metadata",
        "__metadata__ holds strings, and nothing of it is kept but in the source section",
        format!(r#"{{"__metadata__":{{"format":"pt","":"","a":"\u0000€"}},{a},{b}}}"#),
    );
    text(
        "json-with-empty-metadata-at-the-end",
        "__metadata__ may be empty and stand anywhere",
        format!(r#"{{{a},{b},"__metadata__":{{}}}}"#),
    );
    let claim = "__metadata__ may be null, which stays as it was";
    text(
        "json-with-metadata-as-null",
        claim,
        format!(r#"{{"__metadata__":null,{a},{b}}}"#),
    );
    text(
        "json-with-metadata-as-null-at-the-end",
        claim,
        format!(r#"{{{a},{b},"__metadata__":null}}"#),
    );
    text(
        "json-with-metadata-as-null-amid-white-space",
        claim,
        format!("{{{a},\"__metadata__\" :\t\r\n null\r\t\n ,{b}}}"),
    );
    text(
        "json-with-metadata-as-null-by-an-escaped-name",
        claim,
        format!(r#"{{"\u005f_metadata_\u005F":null,{a},{b}}}"#),
    );
    text(
        "json-with-metadata-that-says-null",
        "names and strings in __metadata__ are any text",
        format!(r#"{{"__metadata__":{{"null":"null"}},{a},{b}}}"#),
    );
    text(
        "json-with-metadata-that-looks-like-a-tensor",
        "names in __metadata__ and those of tensors have nothing to do with each other",
        format!(
            r#"{{"__metadata__":{{"a":"b","b":"{{}}","dtype":"U8","__metadata__":"x","data_offsets":"[0,2]"}},{a},{b}}}"#
        ),
    );
    text(
        "json-with-escaped-names",
        "names are compared after escapes are resolved: of tensors, of __metadata__, of members, of types",
        r#"{"\u005f\u005fmetadata\u005F\u005f":{},"\u0061":{"d\u0074ype":"\u00558","shape":[2],"data\u005foffsets":[0,2]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[2,6]}}"#.to_owned(),
    );
    text(
        "json-with-members-in-another-order",
        "the members of an object may stand in any order",
        r#"{"a":{"data_offsets":[0,2],"shape":[2],"dtype":"U8"},"b":{"shape":[2],"dtype":"BF16","data_offsets":[2,6]}}"#.to_owned(),
    );
    text(
        "json-with-tensors-out-of-offset-order",
        "directory order is the order of the offsets, not that of the text",
        format!("{{{b},{a}}}"),
    );
}

/// Null metadata in a file without tensors.
fn null_alone(cases: &mut Cases) {
    for (id, json) in [
        (
            "json-with-metadata-as-null-and-no-tensors",
            r#"{"__metadata__":null}"#,
        ),
        (
            "json-with-metadata-as-null-amid-white-space-and-no-tensors",
            "{\n\t\"__metadata__\"\r: null\n} \n",
        ),
    ] {
        let claim = "__metadata__ may be null where there are no tensors";
        cases.accept(id, &["3.3"], claim, &Draft::of([]).with_json(json));
    }
}

fn orders(cases: &mut Cases) {
    let empty = |name: &str| Tensor::raw(name, Dtype::F32, &[0], vec![]);
    cases.accept(
        "empty-tensors-at-equal-offsets",
        &["3.3"],
        "tensors with equal offsets stand in the directory in the order of the text",
        &Draft::of([
            empty("z"),
            empty("a"),
            Tensor::bytes("data", vec![1, 2]),
            empty("y"),
            empty("b"),
        ])
        .with_json(concat!(
            r#"{"y":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"#,
            r#""data":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"#,
            r#""b":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}}"#
        )),
    );
    let many: Vec<Tensor> = (0..60u32).map(|i| empty(&order_of_appearance(i))).collect();
    let members: Vec<String> = (0..60)
        .map(|i| {
            let name = order_of_appearance(i);
            format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)
        })
        .collect();
    cases.accept(
        "sixty-empty-tensors-at-0",
        &["3.3"],
        "tensors with equal offsets stand in the directory in the order of the text, however many",
        &Draft::of(many).with_json(format!("{{{}}}", members.join(","))),
    );
    let names = [
        "quote\" backslash\\ solidus/",
        "\u{8}\u{c}\n\r\t\0\u{1f}",
        "\u{1f600}",
        "\u{ffff}",
        "",
        "dtype",
    ];
    let tensors: Vec<Tensor> = names
        .iter()
        .map(|name| Tensor::bytes(name, vec![1]))
        .collect();
    let texts = [
        r#"quote\" backslash\\ solidus\/"#,
        r#"\b\f\n\r\t\u0000\u001F"#,
        r#"\ud83D\uDe00"#,
        r#"\uffff"#,
        "",
        "dtype",
    ];
    let members: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(i, name)| {
            format!(
                r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}"#,
                i + 1
            )
        })
        .collect();
    cases.accept(
        "json-with-every-escape",
        &["3.3"],
        "every escape of JSON may stand in a name, a surrogate pair for a code point above U+FFFF too",
        &Draft::of(tensors).with_json(format!("{{{}}}", members.join(","))),
    );
    cases.accept(
        "json-with-the-greatest-integers",
        &["3.3"],
        "integers go up to 2^64 - 1",
        &Draft::of([
            Tensor::raw("s", Dtype::U8, &[u64::MAX, 0, 9_007_199_254_740_993], vec![]),
        ])
        .with_json(r#"{"s":{"dtype":"U8","shape":[18446744073709551615,0,9007199254740993],"data_offsets":[0,0]}}"#),
    );
    cases.accept(
        "json-of-tensors-without-dimensions",
        &["3.3"],
        "a shape may be the empty array",
        &Draft::of([Tensor::raw("s", Dtype::I16, &[], vec![1, 2])]).with_source(),
    );
}

/// Names that are not sorted. 7 and 60 have no common factor.
fn order_of_appearance(i: u32) -> String {
    format!("{:02}", (59 - i) * 7 % 60)
}
