//! Section 3.3: JSON that is invalid by RFC 8259 or by rule 2.

use unweight_format::Rule;

use super::s3_3_source::{A, B, right, told};
use super::s3_3_text;
use crate::case::Cases;

pub(crate) fn add(cases: &mut Cases) {
    grammar(cases);
    objects(cases);
    numbers(cases);
    strings(cases);
    s3_3_text::add(cases);
}

fn grammar(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, json: Vec<u8>| {
        cases.reject(id, Rule::SourceHeader, claim, told(json));
    };
    let right = right();
    let claim = "the first byte of the JSON is {";
    wrong("json-behind-a-space", claim, format!(" {right}").into());
    wrong(
        "json-behind-a-line-feed",
        claim,
        format!("\n{right}").into(),
    );
    wrong(
        "json-behind-a-byte-order-mark",
        claim,
        format!("\u{feff}{right}").into(),
    );
    let claim = "the outermost value is an object";
    wrong(
        "json-array-of-the-object",
        claim,
        format!("[{right}]").into(),
    );
    wrong(
        "json-array-of-members",
        claim,
        format!("[{{{A}}},{{{B}}}]").into(),
    );
    wrong("json-null", claim, "null".into());
    wrong("json-of-white-space", claim, "    ".into());
    let claim = "behind the object only space, tab, line feed and carriage return may stand";
    wrong(
        "json-before-a-second-object",
        claim,
        format!("{right}{{}}").into(),
    );
    wrong(
        "json-before-a-zero-byte",
        claim,
        format!("{right}\0").into(),
    );
    wrong(
        "json-before-a-form-feed",
        claim,
        format!("{right}\u{c}").into(),
    );
    wrong(
        "json-before-a-no-break-space",
        claim,
        format!("{right}\u{a0}").into(),
    );
    wrong("json-before-a-comma", claim, format!("{right},").into());
    let claim = "the JSON is that of RFC 8259";
    wrong(
        "json-without-its-end",
        claim,
        right[..right.len() - 1].into(),
    );
    wrong(
        "json-with-a-trailing-comma",
        claim,
        format!("{{{A},{B},}}").into(),
    );
    wrong(
        "json-with-a-trailing-comma-in-an-array",
        claim,
        right.replace("[2]", "[2,]").into(),
    );
    wrong(
        "json-with-a-comment",
        claim,
        format!("{{/**/{A},{B}}}").into(),
    );
    wrong(
        "json-with-single-quotes",
        claim,
        right.replace('"', "'").into(),
    );
    wrong(
        "json-with-a-name-without-quotes",
        claim,
        right.replace("\"a\"", "a").into(),
    );
    wrong(
        "json-with-a-form-feed-between-tokens",
        claim,
        format!("{{\u{c}{A},{B}}}").into(),
    );
    wrong(
        "json-with-an-equals-sign",
        claim,
        right.replace("\"a\":", "\"a\"=").into(),
    );
    for (id, null) in [
        ("json-with-metadata-as-null-in-upper-case", "NULL"),
        ("json-with-metadata-as-null-capitalized", "Null"),
        ("json-with-metadata-as-null-cut-short", "nul"),
        ("json-with-metadata-as-null-of-another-last-letter", "nulx"),
        ("json-with-metadata-as-null-and-a-letter", "nulll"),
        ("json-with-metadata-as-null-twice-in-a-row", "null null"),
        ("json-with-metadata-as-null-before-an-object", "null{}"),
        ("json-with-metadata-as-null-before-a-zero-byte", "null\0"),
        ("json-with-metadata-as-none", "None"),
        ("json-with-metadata-as-nothing", ""),
    ] {
        wrong(
            id,
            claim,
            format!("{{\"__metadata__\":{null},{A},{B}}}").into(),
        );
    }
    wrong(
        "json-with-null-for-a-name-in-metadata",
        claim,
        format!("{{\"__metadata__\":{{null:\"\"}},{A},{B}}}").into(),
    );
    let claim = "the JSON is UTF-8";
    let metadata = |bytes: &[u8]| {
        [
            b"{\"__metadata__\":{\"k\":\"",
            bytes,
            b"\"},",
            &right.as_bytes()[1..],
        ]
        .concat()
    };
    wrong("json-with-a-byte-of-latin-1", claim, metadata(b"na\xefve"));
    wrong(
        "json-with-a-surrogate-in-utf-8",
        claim,
        metadata(b"\xed\xa0\x80"),
    );
    wrong(
        "json-in-utf-16",
        claim,
        right.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    );
}

fn objects(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, json: String| {
        cases.reject(id, Rule::SourceHeader, claim, told(json));
    };
    let claim = "no member name of the outermost object occurs twice";
    wrong(
        "json-with-a-tensor-twice",
        claim,
        format!("{{{A},{B},{A}}}"),
    );
    let other = r#""a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}"#;
    wrong(
        "json-with-a-tensor-twice-differently",
        claim,
        format!("{{{other},{A},{B}}}"),
    );
    wrong(
        "json-with-a-tensor-twice-once-escaped",
        "names are compared after escapes are resolved",
        format!("{{{A},{},{B}}}", other.replace("\"a\"", r#""\u0061""#)),
    );
    wrong(
        "json-with-metadata-twice",
        claim,
        format!(r#"{{"__metadata__":{{}},{A},{B},"__metadata__":{{}}}}"#),
    );
    wrong(
        "json-with-metadata-twice-once-escaped",
        "names are compared after escapes are resolved",
        format!(r#"{{"__metadata__":{{}},{A},{B},"\u005f_metadata__":{{}}}}"#),
    );
    wrong(
        "json-with-metadata-as-null-twice",
        claim,
        format!(r#"{{"__metadata__":null,{A},{B},"__metadata__":null}}"#),
    );
    wrong(
        "json-with-metadata-as-null-and-as-an-object",
        claim,
        format!(r#"{{"__metadata__":null,{A},{B},"__metadata__":{{}}}}"#),
    );
    wrong(
        "json-with-metadata-as-an-object-and-as-null",
        claim,
        format!(r#"{{"__metadata__":{{}},{A},{B},"__metadata__":null}}"#),
    );
    let claim =
        "a tensor's object has exactly the members dtype, shape and data_offsets, each once";
    let with_a = |a: &str| format!("{{\"a\":{a},{B}}}");
    wrong(
        "json-with-an-unknown-member",
        claim,
        with_a(r#"{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":0}"#),
    );
    wrong("json-with-an-unknown-member-deep-inside", claim, {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        with_a(&format!(
            r#"{{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":{deep}}}"#
        ))
    });
    wrong(
        "json-with-dtype-twice",
        claim,
        with_a(r#"{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}"#),
    );
    wrong(
        "json-with-shape-twice",
        claim,
        with_a(r#"{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,2]}"#),
    );
    wrong(
        "json-with-offsets-twice-once-escaped",
        claim,
        with_a(r#"{"dtype":"U8","shape":[2],"data_offsets":[0,2],"\u0064ata_offsets":[0,2]}"#),
    );
    wrong(
        "json-without-dtype",
        claim,
        with_a(r#"{"shape":[2],"data_offsets":[0,2]}"#),
    );
    wrong(
        "json-without-shape",
        claim,
        with_a(r#"{"dtype":"U8","data_offsets":[0,2]}"#),
    );
    wrong(
        "json-without-offsets",
        claim,
        with_a(r#"{"dtype":"U8","shape":[2]}"#),
    );
    wrong(
        "json-with-members-in-upper-case",
        claim,
        with_a(r#"{"DTYPE":"U8","SHAPE":[2],"DATA_OFFSETS":[0,2]}"#),
    );
    wrong(
        "json-with-a-tensor-as-an-array",
        claim,
        with_a(r#"["U8",[2],[0,2]]"#),
    );
    wrong("json-with-a-tensor-as-null", claim, with_a("null"));
    let claim = "a dtype is a string that is a name of section 4.1";
    let dtype = |dtype: &str| {
        with_a(&format!(
            r#"{{"dtype":{dtype},"shape":[2],"data_offsets":[0,2]}}"#
        ))
    };
    wrong("json-with-an-unknown-dtype", claim, dtype("\"U7\""));
    wrong("json-with-a-dtype-in-lower-case", claim, dtype("\"u8\""));
    wrong("json-with-a-dtype-and-a-space", claim, dtype("\"U8 \""));
    wrong("json-with-the-code-of-a-dtype", claim, dtype("2"));
    wrong("json-with-a-dtype-as-null", claim, dtype("null"));
    wrong("json-with-a-dtype-in-an-array", claim, dtype("[\"U8\"]"));
    wrong(
        "json-with-an-extra-tensor-as-null",
        "only __metadata__ may be null: every other member is an object",
        format!(r#"{{"c":null,{A},{B}}}"#),
    );
    let claim = "__metadata__ is null or an object whose values are strings, no name twice";
    let metadata = |metadata: &str| format!(r#"{{"__metadata__":{metadata},{A},{B}}}"#);
    wrong("json-with-metadata-as-a-string", claim, metadata("\"\""));
    wrong(
        "json-with-metadata-as-the-string-null",
        claim,
        metadata("\"null\""),
    );
    wrong("json-with-metadata-as-an-array", claim, metadata("[]"));
    wrong(
        "json-with-metadata-as-null-in-an-array",
        claim,
        metadata("[null]"),
    );
    wrong("json-with-metadata-as-false", claim, metadata("false"));
    wrong("json-with-metadata-as-0", claim, metadata("0"));
    wrong("json-with-metadata-as-a-fraction", claim, metadata("0.5"));
    wrong(
        "json-with-metadata-as-an-integer-of-2-to-the-64",
        claim,
        metadata("18446744073709551616"),
    );
    wrong(
        "json-with-a-number-in-metadata",
        claim,
        metadata(r#"{"epoch":1}"#),
    );
    wrong(
        "json-with-null-in-metadata",
        claim,
        metadata(r#"{"a":null}"#),
    );
    wrong(
        "json-with-an-object-in-metadata",
        claim,
        metadata(r#"{"a":{}}"#),
    );
    wrong(
        "json-with-a-name-twice-in-metadata",
        claim,
        metadata(r#"{"a":"1","b":"2","a":"1"}"#),
    );
    wrong(
        "json-with-a-name-twice-in-metadata-once-escaped",
        claim,
        metadata(r#"{"a":"1","\u0061":"1"}"#),
    );
    wrong(
        "json-with-metadata-that-describes-a-tensor",
        claim,
        metadata(r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#),
    );
}

fn numbers(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, json: String| {
        cases.reject(id, Rule::SourceHeader, claim, told(json));
    };
    let claim = "integers are written in digits alone, without sign, fraction or exponent, and are below 2^64";
    let shape = |two: &str| right().replace("[2]", &format!("[{two}]"));
    for (id, two) in [
        ("a-fraction-of-0", "2.0"),
        ("an-exponent-of-0", "2e0"),
        ("an-upper-case-exponent", "2E0"),
        ("an-exponent-that-matters", "0.2e1"),
        ("a-plus-sign", "+2"),
        ("a-leading-zero", "02"),
        ("a-hexadecimal-number", "0x2"),
        ("quotes", "\"2\""),
        ("true", "true,2"),
        ("null", "null"),
        ("nan", "NaN"),
        ("2-to-the-64-more", "18446744073709551618"),
    ] {
        wrong(&format!("json-with-a-dimension-of-{id}"), claim, shape(two));
    }
    wrong(
        "json-with-a-dimension-of-5000-digits",
        claim,
        shape(&format!("1{}", "0".repeat(4999))),
    );
    let begin = |zero: &str| right().replace("[0,2]", &format!("[{zero},2]"));
    wrong("json-with-an-offset-of-minus-0", claim, begin("-0"));
    wrong(
        "json-with-an-offset-of-0-with-a-fraction",
        claim,
        begin("0.0"),
    );
    wrong(
        "json-with-an-offset-of-0-with-an-exponent",
        claim,
        begin("0e9"),
    );
    wrong("json-with-a-negative-offset", claim, begin("-1"));
    let big = |end: &str| right().replace("[2,6]", &format!("[2,{end}]"));
    wrong(
        "json-with-an-offset-of-2-to-the-64-more",
        claim,
        big("18446744073709551622"),
    );
    wrong(
        "json-with-an-offset-above-2-to-the-32",
        "offsets are numbers of 64 bits",
        big("4294967302"),
    );
    let claim = "a shape is an array of integers";
    wrong(
        "json-with-a-shape-as-a-number",
        claim,
        right().replace("[2]", "2"),
    );
    wrong(
        "json-with-a-shape-as-null",
        claim,
        right().replace("[2]", "null"),
    );
    wrong(
        "json-with-a-shape-in-a-shape",
        claim,
        right().replace("[2]", "[[2]]"),
    );
    wrong(
        "json-with-a-shape-as-an-object",
        claim,
        right().replace("[2]", "{\"0\":2}"),
    );
    let claim = "data_offsets is an array of two integers";
    let offsets = |offsets: &str| right().replace("[0,2]", offsets);
    wrong("json-with-one-offset", claim, offsets("[2]"));
    wrong("json-with-three-offsets", claim, offsets("[0,2,2]"));
    wrong("json-with-no-offsets", claim, offsets("[]"));
    wrong(
        "json-with-offsets-as-an-object",
        claim,
        offsets("{\"begin\":0,\"end\":2}"),
    );
    wrong("json-with-offsets-as-null", claim, offsets("null"));
}

fn strings(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, json: String| {
        cases.reject(id, Rule::SourceHeader, claim, told(json));
    };
    let metadata = |metadata: &str| format!(r#"{{"__metadata__":{{{metadata}}},{A},{B}}}"#);
    let claim = "strings are Unicode: a surrogate escape has its pair";
    wrong(
        "json-with-a-high-surrogate-alone-in-metadata",
        claim,
        metadata(r#""k":"\ud83d""#),
    );
    wrong(
        "json-with-a-low-surrogate-alone-in-metadata",
        claim,
        metadata(r#""k":"\ude00""#),
    );
    wrong(
        "json-with-surrogates-in-the-wrong-order",
        claim,
        metadata(r#""k":"\ude00\ud83d""#),
    );
    wrong(
        "json-with-a-high-surrogate-before-a-letter",
        claim,
        metadata(r#""k":"\ud83dA""#),
    );
    wrong(
        "json-with-a-high-surrogate-before-another-escape",
        claim,
        metadata(r#""k":"\ud83d\u0041""#),
    );
    wrong(
        "json-with-two-high-surrogates",
        claim,
        metadata(r#""k":"\ud83d\ud83d\ude00""#),
    );
    wrong(
        "json-with-a-surrogate-alone-in-a-metadata-name",
        claim,
        metadata(r#""\udfff":"v""#),
    );
    wrong(
        "json-with-a-surrogate-alone-in-a-tensor-name",
        claim,
        right().replace("\"a\"", r#""\ud800""#),
    );
    let claim = "the JSON is that of RFC 8259";
    wrong(
        "json-with-an-unknown-escape",
        claim,
        metadata(r#""k":"\x41""#),
    );
    wrong(
        "json-with-an-escape-cut-short",
        claim,
        metadata(r#""k":"\u041""#),
    );
    wrong(
        "json-with-a-sign-in-an-escape",
        claim,
        metadata(r#""k":"\u+041""#),
    );
    wrong(
        "json-with-a-line-feed-in-a-string",
        claim,
        metadata("\"k\":\"\n\""),
    );
    wrong(
        "json-with-a-zero-byte-in-a-string",
        claim,
        metadata("\"k\":\"\0\""),
    );
    wrong("json-with-a-tab-in-a-name", claim, metadata("\"\t\":\"\""));
}
