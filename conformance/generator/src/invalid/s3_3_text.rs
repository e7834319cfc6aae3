//! Section 3.3: UTF-8, and JSON byte by byte.

use unweight_format::Rule;

use super::s3_3_source::{A, B, right, told};
use crate::case::Cases;

/// Byte strings that are not UTF-8 (RFC 3629), and what each is.
pub(crate) const NO_UTF_8: [(&str, &[u8]); 32] = [
    ("an-overlong-zero-of-2-bytes", b"\xc0\x80"),
    ("an-overlong-byte-of-c1", b"\xc1\xbf"),
    ("three-bytes-that-begin-with-c0", b"\xc0\x80\x80"),
    ("three-bytes-that-begin-with-c1", b"\xc1\xbf\xbf"),
    ("three-continuation-bytes", b"\xbf\x80\x80"),
    ("four-continuation-bytes", b"\xbf\x80\x80\x80"),
    ("an-overlong-zero-of-3-bytes", b"\xe0\x80\x80"),
    ("an-overlong-sequence-of-e0-9f", b"\xe0\x9f\xbf"),
    ("an-overlong-zero-of-4-bytes", b"\xf0\x80\x80\x80"),
    ("an-overlong-sequence-of-f0-8f", b"\xf0\x8f\xbf\xbf"),
    ("a-first-high-surrogate", b"\xed\xa0\x80"),
    ("a-last-high-surrogate", b"\xed\xaf\xbf"),
    ("a-first-low-surrogate", b"\xed\xb0\x80"),
    ("a-last-low-surrogate", b"\xed\xbf\xbf"),
    ("a-surrogate-pair-of-6-bytes", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("the-code-point-110000", b"\xf4\x90\x80\x80"),
    ("a-sequence-of-f5", b"\xf5\x80\x80\x80"),
    ("a-sequence-of-f6", b"\xf6\x80\x80\x80"),
    ("a-sequence-of-f7", b"\xf7\xbf\xbf\xbf"),
    ("a-sequence-of-5-bytes", b"\xf8\x88\x80\x80\x80"),
    ("four-bytes-that-begin-with-f8", b"\xf8\x80\x80\x80"),
    ("four-bytes-that-begin-with-ff", b"\xff\x80\x80\x80"),
    ("the-byte-ff", b"\xff"),
    ("a-second-byte-of-7f", b"\xc2\x7f"),
    ("a-second-byte-of-c0", b"\xc2\xc0"),
    ("an-ascii-third-byte", b"\xe2\x82("),
    ("a-third-byte-of-7f", b"\xe1\x80\x7f"),
    ("a-third-byte-of-c0", b"\xe2\x82\xc0"),
    ("an-ascii-fourth-byte", b"\xf0\x9f\x98("),
    ("a-fourth-byte-of-7f", b"\xf0\x9f\x98\x7f"),
    ("a-second-byte-of-7f-of-four", b"\xf1\x7f\x80\x80"),
    ("a-fourth-byte-of-c0", b"\xf0\x9f\x98\xc0"),
];

pub(super) fn add(cases: &mut Cases) {
    utf_8(cases);
    punctuation(cases);
    members(cases);
    number_forms(cases);
    control_characters(cases);
    escapes(cases);
}

fn utf_8(cases: &mut Cases) {
    for (what, bytes) in NO_UTF_8 {
        let begin = br#"{"__metadata__":{"k":""#;
        let end = format!(r#""}},{A},{B}}}"#);
        cases.reject(
            &format!("json-with-{what}"),
            Rule::SourceHeader,
            "the JSON is UTF-8",
            told([&begin[..], bytes, end.as_bytes()].concat()),
        );
    }
}

fn reject(cases: &mut Cases, id: &str, claim: &str, json: String) {
    cases.reject(&format!("json-{id}"), Rule::SourceHeader, claim, told(json));
}

fn punctuation(cases: &mut Cases) {
    let right = right();
    let inner = |from: &str, to: &str| right.replacen(from, to, 1);
    let texts = [
        (
            "with-a-trailing-comma-in-a-member",
            inner("[0,2]}", "[0,2],}"),
        ),
        (
            "with-a-trailing-comma-in-metadata",
            format!(r#"{{"__metadata__":{{"k":"v",}},{A},{B}}}"#),
        ),
        (
            "with-a-comma-alone-in-metadata",
            format!(r#"{{"__metadata__":{{,}},{A},{B}}}"#),
        ),
        ("without-a-comma-between-tensors", format!("{{{A} {B}}}")),
        (
            "without-a-comma-between-members",
            inner(",\"shape\"", " \"shape\""),
        ),
        ("without-a-comma-between-offsets", inner("[0,2]", "[0 2]")),
        ("with-two-commas-between-tensors", format!("{{{A},,{B}}}")),
        ("with-two-commas-between-offsets", inner("[0,2]", "[0,,2]")),
        (
            "with-a-comma-before-the-first-tensor",
            format!("{{,{A},{B}}}"),
        ),
        (
            "with-a-comma-before-the-first-offset",
            inner("[0,2]", "[,0,2]"),
        ),
        ("with-a-comma-for-the-first-offset", inner("[0,2]", "[,2]")),
        ("with-a-semicolon-between-tensors", format!("{{{A};{B}}}")),
        ("without-a-colon", inner("\"dtype\":", "\"dtype\" ")),
        ("with-two-colons", inner("\"dtype\":", "\"dtype\"::")),
        (
            "with-a-comma-for-a-colon",
            inner("\"dtype\":", "\"dtype\","),
        ),
        ("with-a-bracket-for-the-last-brace", format!("{{{A},{B}]")),
        ("with-a-brace-for-a-bracket", inner("[0,2]", "[0,2}")),
        ("with-a-brace-more", format!("{{{A},{B}}}}}")),
        (
            "with-a-vertical-tab-between-tokens",
            format!("{{\u{b}{A},{B}}}"),
        ),
        (
            "with-a-byte-order-mark-between-tokens",
            format!("{{\u{feff}{A},{B}}}"),
        ),
        ("with-a-zero-byte-between-tokens", format!("{{\0{A},{B}}}")),
        ("with-strings-in-single-quotes", inner("\"U8\"", "'U8'")),
        (
            "with-a-string-without-an-end",
            format!(r#"{{{A},{B},"__metadata__":{{"k":"v}}}}"#),
        ),
        (
            "with-metadata-as-a-letter-n",
            format!("{{\"__metadata__\":n,{A},{B}}}"),
        ),
        (
            "with-metadata-as-nul",
            format!("{{\"__metadata__\":nul,{A},{B}}}"),
        ),
        ("before-a-vertical-tab", format!("{right}\u{b}")),
        ("before-del", format!("{right}\u{7f}")),
    ];
    for (id, json) in texts {
        reject(cases, id, "the JSON is that of RFC 8259", json);
    }
}

fn members(cases: &mut Cases) {
    let right = right();
    let inner = |from: &str, to: &str| right.replacen(from, to, 1);
    let claim = "a tensor has exactly the members dtype, shape and data_offsets";
    for (id, from, to) in [
        ("with-another-member-for-dtype", "\"dtype\"", "\"type\""),
        ("with-another-member-for-shape", "\"shape\"", "\"shapes\""),
        (
            "with-another-member-for-offsets",
            "\"data_offsets\"",
            "\"offsets\"",
        ),
        (
            "with-a-tensor-of-no-members",
            "{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}",
            "{}",
        ),
    ] {
        reject(cases, id, claim, inner(from, to));
    }
    replaced_members(cases);
    let claim = "a dtype is a name of section 4.1, to its last character";
    for (id, dtype) in [
        ("with-a-dtype-and-an-escaped-nul", "U8\\u0000"),
        ("with-a-dtype-and-letters-behind-a-nul", "U8\\u0000x"),
        ("with-a-dtype-of-no-letters", ""),
        ("with-a-dtype-cut-short", "U"),
        ("with-a-dtype-and-a-digit", "U80"),
    ] {
        reject(cases, id, claim, inner("\"U8\"", &format!("\"{dtype}\"")));
    }
    let claim = "shape is an array of integers";
    let scalar = "\"shape\":[2]";
    for (id, shape) in [
        ("with-true-for-2", "[true]"),
        ("with-a-dimension-in-an-array", "[[2]]"),
        ("with-a-shape-as-a-string", "\"[2]\""),
        ("with-a-shape-as-an-empty-string", "\"\""),
    ] {
        reject(
            cases,
            id,
            claim,
            inner(scalar, &format!("\"shape\":{shape}")),
        );
    }
}

/// Three members of which one is there twice, in place of another. The decoder that misses it takes
/// the other to be 0 or empty, which is right here: a tensor without dimensions, or without elements.
fn replaced_members(cases: &mut Cases) {
    use crate::draft::{Draft, Tensor};
    let claim = "a tensor has each of the members dtype, shape and data_offsets once";
    let mut wrong = |id: &str, tensor: Tensor, members: &str| {
        let name = String::from_utf8_lossy(&tensor.name).into_owned();
        let json = format!(r#"{{"{name}":{{{members}}}}}"#);
        let file = Draft::of([tensor]).with_json(json).forge();
        cases.reject(&format!("json-{id}"), Rule::SourceHeader, claim, file);
    };
    let scalar = || Tensor::raw("s", unweight_format::Dtype::U8, &[], vec![1]);
    let empty = || Tensor::raw("e", unweight_format::Dtype::U8, &[0], Vec::new());
    wrong(
        "with-dtype-twice-and-no-shape",
        scalar(),
        r#""dtype":"U8","dtype":"U8","data_offsets":[0,1]"#,
    );
    wrong(
        "with-offsets-twice-and-no-shape",
        scalar(),
        r#""dtype":"U8","data_offsets":[0,1],"data_offsets":[0,1]"#,
    );
    wrong(
        "with-shape-twice-and-no-offsets",
        empty(),
        r#""dtype":"U8","shape":[0],"shape":[0]"#,
    );
    wrong(
        "with-dtype-twice-and-no-offsets",
        empty(),
        r#""dtype":"U8","shape":[0],"dtype":"U8""#,
    );
    wrong(
        "with-another-member-of-5-letters-for-shape",
        scalar(),
        r#""dtype":"U8","shope":[],"data_offsets":[0,1]"#,
    );
}

/// JSON of one tensor of type U8 and no elements, with this shape; in the directory it has that one.
fn empty(shape: &str, told: &[u64]) -> crate::forge::Forge {
    use crate::draft::{Draft, Tensor};
    let tensor = Tensor::raw("e", unweight_format::Dtype::U8, told, Vec::new());
    let json = format!(r#"{{"e":{{"dtype":"U8","shape":{shape},"data_offsets":[0,0]}}}}"#);
    Draft::of([tensor]).with_json(json).forge()
}

/// Shapes that differ from those of the directory. For an encoder they are valid.
pub(super) fn add_differences(cases: &mut Cases) {
    let claim = "the shape in the source is that of the directory, in all 64 bits";
    let different: [(&str, &str, &[u64]); 5] = [
        ("2-to-the-32-more", "[4294967299,0]", &[3, 0]),
        ("2-to-the-32-for-0", "[4294967296,0]", &[0, 0]),
        (
            "2-to-the-53-and-1-more",
            "[9007199254740993,0]",
            &[1 << 53, 0],
        ),
        ("2-to-the-24-and-1-more", "[16777217,0]", &[1 << 24, 0]),
        ("2-to-the-63-less", "[1,0]", &[(1 << 63) + 1, 0]),
    ];
    for (id, shape, told) in different {
        let id = format!("json-with-a-dimension-of-{id}");
        cases.reject(&id, Rule::SourceHeader, claim, empty(shape, told));
    }
}

fn number_forms(cases: &mut Cases) {
    let claim = "integers are written in digits alone, without leading zeros, and below 2^64";
    let forms: [(&str, &str, &[u64]); 20] = [
        // 2^64 more than the directory has, although each digit makes the number of 64 bits greater.
        (
            "2-to-the-64-more-that-grows-with-each-digit",
            "[0,21446744073709551616]",
            &[0, 3_000_000_000_000_000_000],
        ),
        ("no-digits-behind-a-number", "[5,]", &[5, 0]),
        ("no-digits-before-a-number", "[,5]", &[0, 5]),
        (
            "2-to-the-64-for-one-less",
            "[18446744073709551616,0]",
            &[u64::MAX, 0],
        ),
        ("2-to-the-64-for-0", "[18446744073709551616]", &[0]),
        ("2-to-the-65-for-0", "[36893488147419103232]", &[0]),
        (
            "10-to-the-20-for-what-it-wraps-to",
            "[100000000000000000000,0]",
            &[7_766_279_631_452_241_920, 0],
        ),
        ("nan-for-0", "[NaN]", &[0]),
        ("infinity", "[Infinity,0]", &[u64::MAX, 0]),
        ("false-for-0", "[false]", &[0]),
        ("true-for-1", "[true,0]", &[1, 0]),
        ("null-for-0", "[null]", &[0]),
        ("two-zeros", "[00]", &[0]),
        ("three-zeros", "[000,0]", &[0, 0]),
        ("a-zero-before-a-zero-and-a-digit", "[007,0]", &[7, 0]),
        ("digits-and-a-letter", "[1f,0]", &[1, 0]),
        ("digits-and-a-suffix", "[1u64,0]", &[1, 0]),
        ("digits-and-an-underscore", "[1_0,0]", &[10, 0]),
        ("a-minus-sign-alone", "[-]", &[0]),
        ("an-octal-number", "[0o7,0]", &[7, 0]),
    ];
    for (id, shape, told) in forms {
        let id = format!("json-with-a-dimension-of-{id}");
        cases.reject(&id, Rule::SourceHeader, claim, empty(shape, told));
    }
    cases.reject(
        "json-with-an-object-for-a-shape-of-no-dimensions",
        Rule::SourceHeader,
        "shape is an array",
        {
            use crate::draft::{Draft, Tensor};
            let tensor = Tensor::raw("s", unweight_format::Dtype::U8, &[], vec![1]);
            let json = r#"{"s":{"dtype":"U8","shape":{},"data_offsets":[0,1]}}"#;
            Draft::of([tensor]).with_json(json).forge()
        },
    );
}

fn control_characters(cases: &mut Cases) {
    for byte in 1..0x20u8 {
        let text = char::from(byte);
        cases.reject(
            &format!("json-with-the-byte-{byte:02x}-in-a-string"),
            Rule::SourceHeader,
            "control characters are escaped",
            told(format!("{{\"__metadata__\":{{\"k\":\"{text}\"}},{A},{B}}}")),
        );
    }
}

fn escapes(cases: &mut Cases) {
    let texts = [
        ("with-an-escaped-single-quote", r"\'"),
        ("with-an-escaped-vertical-tab", r"\v"),
        ("with-an-escaped-nul-of-c", r"\0"),
        ("with-an-escaped-zero-byte", "\\\0"),
        ("with-an-escaped-bell", r"\a"),
        ("with-an-escaped-line-end", "\\\n"),
        ("with-an-escaped-space", r"\ "),
        ("with-an-escape-of-n-in-upper-case", r"\N"),
        ("with-an-escape-of-u-in-upper-case", r"\U0041"),
        ("with-a-g-in-an-escape", r"\u00G1"),
        ("with-a-last-g-in-an-escape", r"\u004G"),
        ("with-a-small-g-in-an-escape", r"\u00g1"),
        ("with-a-colon-in-an-escape", r"\u00:1"),
        ("with-a-slash-in-an-escape", r"\u00/1"),
        ("with-a-slash-behind-a-digit-in-an-escape", r"\u01/1"),
        ("with-an-at-sign-in-an-escape", r"\u00@1"),
        ("with-a-grave-in-an-escape", r"\u00`1"),
        ("with-a-space-in-an-escape", r"\u 041"),
        ("with-a-space-at-the-end-of-an-escape", r"\u041 "),
        ("with-an-underscore-in-an-escape", r"\u0_41"),
        ("with-an-escape-of-x-in-hexadecimal", r"\u0x41"),
        ("with-an-escape-of-three-digits", r"\u041"),
        ("with-an-escape-of-no-digits", r"\u"),
        ("with-braces-in-an-escape", r"\u{41}"),
    ];
    let json = |text: &str| format!("{{\"__metadata__\":{{\"k\":\"{text}\"}},{A},{B}}}");
    for (id, text) in texts {
        reject(cases, id, "the JSON is that of RFC 8259", json(text));
    }
    let claim = "strings are Unicode: a surrogate escape has its pair";
    for (id, text) in [
        ("with-d800-alone", r"\ud800"),
        ("with-dbff-alone", r"\udbff"),
        ("with-dc00-alone", r"\udc00"),
        ("with-dfff-alone", r"\udfff"),
        ("with-d800-before-e000", r"\ud800\ue000"),
        ("with-d800-before-dbff", r"\ud800\udbff"),
        ("with-d83d-before-a-pair-in-utf-8", "\\ud83d\u{1f600}"),
        ("with-dbff-before-an-escaped-letter-n", r"\udbff\n"),
        ("with-d800-before-an-escape-cut-short", r"\ud800\udc0"),
    ] {
        reject(cases, id, claim, json(text));
    }
}
