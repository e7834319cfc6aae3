//! Sources that an encoder refuses (section 11.1). They are safetensors files with one flaw each.
//!
//! Sources at the limits of tensors, directory, source section and elements would be as large as
//! these limits. Of them there are only the ones with a length that wraps around.

use crate::case::{Case, Cases, Expect};
use crate::draft::Tensor;
use crate::invalid::s3_3_json;
use crate::source;

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    lengths(cases);
    headers(cases);
    offsets(cases);
    shapes(cases);
    names(cases);
}

fn refuse(cases: &mut Cases, id: &str, sections: &[&'static str], claim: &str, source: Vec<u8>) {
    let id = format!("{id}-refused");
    let file = cases.file(format!("refuse/{id}.safetensors"), source);
    cases.cases.push(Case {
        id,
        claim: format!("an encoder refuses {claim}"),
        full: false,
        sections: sections.iter().copied().chain(["11.1"]).collect(),
        file,
        expect: Expect::EncodeRefuse,
    });
}

/// A safetensors file of this JSON and these data.
fn of_json(json: &str, data: &[u8]) -> Vec<u8> {
    let length = (json.len() as u64).to_le_bytes();
    [&length[..], json.as_bytes(), data].concat()
}

fn two_tensors() -> [Tensor; 2] {
    [
        Tensor::bytes("a", vec![1, 2]),
        Tensor::bytes("b", vec![3, 4, 5]),
    ]
}

fn lengths(cases: &mut Cases) {
    let right = source::file(&two_tensors());
    let mut of = |id: &str, claim: &str, source: Vec<u8>| {
        refuse(cases, id, &["3.3"], claim, source);
    };
    of("source-of-no-bytes", "an empty source", Vec::new());
    let claim = "a source that ends within the length of its header";
    of("source-of-7-bytes", claim, right[..7].to_vec());
    let claim = "a source that ends within its header";
    of("source-of-a-length-alone", claim, right[..8].to_vec());
    let end = right.len() - 5;
    let claim = "a source that ends one byte before the end of its header";
    of("source-cut-in-its-header", claim, right[..end - 1].to_vec());
    let with_length = |length: u64| [&length.to_le_bytes()[..], &right[8..]].concat();
    of(
        "source-with-a-header-of-no-bytes",
        "a header of no bytes, which is no JSON object",
        0u64.to_le_bytes().to_vec(),
    );
    let claim = "a header whose end is past 2^64";
    of(
        "source-with-a-header-that-wraps-to-0",
        claim,
        with_length(u64::MAX - 7),
    );
    of(
        "source-with-a-header-that-wraps-to-7",
        claim,
        with_length(u64::MAX),
    );
    let claim = "a source without its last byte";
    of(
        "source-without-its-last-byte",
        claim,
        right[..right.len() - 1].to_vec(),
    );
    let claim = "a source without its tensors' data";
    of("source-without-data", claim, right[..end].to_vec());
    let claim = "bytes behind the last tensor";
    of(
        "source-with-a-zero-byte-behind",
        claim,
        [&right[..], &[0]].concat(),
    );
    of(
        "source-with-eight-bytes-behind",
        claim,
        [&right[..], &[1; 8]].concat(),
    );
    let claim = "bytes behind the header of a source without tensors";
    of(
        "source-without-tensors-and-a-byte",
        claim,
        of_json("{}", &[0]),
    );
    let claim = "bytes before the header's length";
    of(
        "source-with-a-zero-byte-before",
        claim,
        [&[0], &right[..]].concat(),
    );
}

/// The headers that break `source-header` by themselves. The data are those that it describes.
fn headers(cases: &mut Cases) {
    let mut invalid = Cases::default();
    s3_3_json::add(&mut invalid);
    for case in &invalid.cases {
        let file = invalid.bytes(&case.file);
        let number =
            |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")) as usize;
        let begin = 64 + number(24);
        let section = &file[begin..begin + number(32)];
        let data: &[u8] = match section {
            _ if section.windows(4).any(|text| text == br#""e":"#) => &[],
            _ if section.windows(4).any(|text| text == br#""s":"#) => &[1],
            _ => &[1, 2, 3, 4, 5, 6],
        };
        let source = [section, data].concat();
        let claim = format!("a header that breaks a rule: {}", case.claim);
        refuse(cases, &case.id, &["3.3"], &claim, source);
    }
}

fn offsets(cases: &mut Cases) {
    let a = r#""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    let mut of = |id: &str, claim: &str, second: &str, count: usize| {
        let json = format!("{{{a},{second}}}");
        let data: Vec<u8> = (1..=count as u8).collect();
        refuse(cases, id, &["3.3"], claim, of_json(&json, &data));
    };
    let b = |begin: usize, end: usize| {
        format!(r#""b":{{"dtype":"U8","shape":[3],"data_offsets":[{begin},{end}]}}"#)
    };
    of(
        "source-with-a-gap",
        "a byte between two tensors",
        &b(3, 6),
        6,
    );
    of(
        "source-with-an-overlap",
        "tensors that share a byte",
        &b(1, 4),
        4,
    );
    of(
        "source-with-a-tensor-in-another",
        "tensors of the same bytes",
        &b(0, 3),
        3,
    );
    let empty = r#""b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}"#;
    of(
        "source-with-an-empty-tensor-in-another",
        "an empty tensor within another",
        empty,
        2,
    );
    let empty = r#""b":{"dtype":"U8","shape":[0],"data_offsets":[3,3]}"#;
    of(
        "source-with-an-empty-tensor-behind",
        "an empty tensor behind a gap",
        empty,
        3,
    );
    of(
        "source-with-an-empty-tensor-past-the-end",
        "an empty tensor past the end",
        empty,
        2,
    );
    let backwards = r#""b":{"dtype":"U8","shape":[0],"data_offsets":[2,1]}"#;
    of(
        "source-with-offsets-backwards",
        "a tensor that ends before it begins",
        backwards,
        2,
    );
    let far = r#""b":{"dtype":"U8","shape":[3],"data_offsets":[18446744073709551613,18446744073709551616]}"#;
    of(
        "source-with-an-end-of-2-to-the-64",
        "an end of 2^64",
        far,
        5,
    );
    let json = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
    refuse(
        cases,
        "source-with-a-byte-before-the-first-tensor",
        &["3.3"],
        "a byte before the first tensor",
        of_json(json, &[0, 1, 2]),
    );
}

fn shapes(cases: &mut Cases) {
    let of = |dtype: &str, shape: &str, bytes: usize| {
        let json = format!(
            r#"{{"a":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[0,{bytes}]}}}}"#
        );
        of_json(&json, &vec![7; bytes])
    };
    let lengths = [
        ("one-more-byte-than-its-shape", "U8", "3", 4),
        ("one-byte-less-than-its-shape", "U8", "3", 2),
        ("two-bytes-less-than-its-shape", "BF16", "2,3", 10),
        ("as-many-bytes-as-elements-of-2", "BF16", "2,3", 6),
        ("no-bytes-and-one-element", "F32", "", 0),
        ("bytes-and-no-elements", "F32", "4,0", 16),
        ("a-byte-for-each-element-of-4-bits", "F4", "4", 4),
        ("a-byte-for-each-element-of-6-bits", "F6_E2M3", "4", 4),
        ("half-of-a-complex-number", "C64", "1", 4),
    ];
    for (name, dtype, shape, bytes) in lengths {
        let id = format!("source-with-{name}");
        let claim =
            format!("{bytes} bytes of data of a tensor of {dtype} with the shape [{shape}]");
        refuse(cases, &id, &["3.3", "4.1"], &claim, of(dtype, shape, bytes));
    }
    let bits = [
        ("one-element-of-4-bits-in-a-byte", "F4", "1", 1),
        ("one-element-of-4-bits-in-no-byte", "F4", "1", 0),
        ("three-elements-of-4-bits-in-one-byte", "F4", "3", 1),
        ("three-elements-of-4-bits-in-two-bytes", "F4", "3", 2),
        ("two-elements-of-6-bits", "F6_E3M2", "2", 2),
        ("three-elements-of-6-bits", "F6_E2M3", "3", 2),
        ("a-scalar-of-6-bits", "F6_E2M3", "", 1),
    ];
    for (name, dtype, shape, bytes) in bits {
        let id = format!("source-with-{name}");
        let claim = format!("{dtype} with the shape [{shape}], which does not fill whole bytes");
        refuse(cases, &id, &["4.1"], &claim, of(dtype, shape, bytes));
    }
    let wrapping = [
        (
            "dimensions-that-wrap-to-0",
            "U8",
            "4294967296,4294967296",
            0,
        ),
        (
            "dimensions-that-wrap-to-1",
            "U8",
            "9223372036854775809,2,9223372036854775809",
            2,
        ),
        ("bits-that-wrap-to-8", "U8", "2305843009213693953", 1),
        ("bytes-that-wrap-to-8", "F64", "2305843009213693953", 8),
        ("2-to-the-57-elements", "F4", "144115188075855872", 0),
    ];
    for (name, dtype, shape, bytes) in wrapping {
        let id = format!("source-with-{name}");
        let claim = format!("{dtype} with the shape [{shape}], which has more than 2^56 elements");
        refuse(cases, &id, &["4.1", "9"], &claim, of(dtype, shape, bytes));
    }
    let ones = vec!["1"; 65].join(",");
    let claim = "a tensor with 65 dimensions";
    refuse(
        cases,
        "source-of-rank-65",
        &["3.2", "9"],
        claim,
        of("U8", &ones, 1),
    );
    let zeros = vec!["0"; 65].join(",");
    let claim = "an empty tensor with 65 dimensions";
    refuse(
        cases,
        "source-of-rank-65-and-no-elements",
        &["3.2", "9"],
        claim,
        of("U8", &zeros, 0),
    );
}

fn names(cases: &mut Cases) {
    let named = |name: &[u8]| {
        let json = [
            br#"{""#,
            name,
            br#"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        ]
        .concat();
        let length = (json.len() as u64).to_le_bytes();
        [&length[..], &json, &[7]].concat()
    };
    let claim = "a name of 65,536 bytes";
    let long = vec![b'n'; 65_536];
    refuse(
        cases,
        "source-with-a-name-of-65536-bytes",
        &["3.2", "9"],
        claim,
        named(&long),
    );
    // Two bytes each in UTF-8, and 6 in the JSON.
    let claim = "a name of 65,536 bytes in fewer characters";
    let long = "\u{e9}".repeat(32_768);
    refuse(
        cases,
        "source-with-a-name-of-32768-characters-of-2-bytes",
        &["3.2", "9"],
        claim,
        named(long.as_bytes()),
    );
    let wrong: [(&str, &[u8]); 6] = [
        ("a-byte-of-latin-1", b"na\xefve"),
        ("a-continuation-byte-alone", b"a\x80"),
        ("a-sequence-cut-short", b"a\xe2\x82"),
        ("an-overlong-slash", b"a\xc0\xaf"),
        ("a-surrogate", b"a\xed\xa0\x80"),
        ("a-character-above-10ffff", b"a\xf4\x90\x80\x80"),
    ];
    for (name, bytes) in wrong {
        let id = format!("source-with-a-name-with-{name}");
        let claim = "a name that is not UTF-8 as RFC 3629 defines it";
        refuse(cases, &id, &["3.2", "3.3"], claim, named(bytes));
    }
    let twice = |first: &str, second: &str| {
        let member = |name: &str, begin: usize| {
            let end = begin + 1;
            format!(r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{begin},{end}]}}"#)
        };
        let json = format!("{{{},{}}}", member(first, 0), member(second, 1));
        of_json(&json, &[1, 2])
    };
    let claim = "two tensors of one name";
    refuse(
        cases,
        "source-with-a-name-twice",
        &["3.3"],
        claim,
        twice("n", "n"),
    );
    let escaped = twice("n", "\\u006e");
    refuse(
        cases,
        "source-with-a-name-twice-once-escaped",
        &["3.3"],
        claim,
        escaped,
    );
    refuse(
        cases,
        "source-with-the-empty-name-twice",
        &["3.3"],
        claim,
        twice("", ""),
    );
    let pair = twice("\u{1d11e}", "\\uD834\\uDD1E");
    refuse(
        cases,
        "source-with-a-name-twice-once-as-surrogates",
        &["3.3"],
        claim,
        pair,
    );
}
