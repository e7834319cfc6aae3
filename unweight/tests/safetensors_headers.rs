//! Safetensors headers: valid ones are read, all others are rejected with a reason.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as TheirDtype, TensorView};
use unweight::safetensors::Header;
use unweight_format::Dtype;

fn with_length(json: &[u8]) -> Vec<u8> {
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    header
}

fn refused(json: &[u8]) -> String {
    Header::parse(&with_length(json))
        .expect_err("a bad header")
        .to_string()
}

#[test]
fn reads_what_the_safetensors_crate_writes() {
    let bytes = [7u8; 48];
    let view = |dtype, shape: &[usize], length: usize| {
        TensorView::new(dtype, shape.to_vec(), &bytes[..length]).unwrap()
    };
    let tensors = vec![
        ("weight", view(TheirDtype::BF16, &[2, 3], 12)),
        ("bias", view(TheirDtype::F32, &[3], 12)),
        ("scalar", view(TheirDtype::I64, &[], 8)),
        ("none", view(TheirDtype::F16, &[0, 5], 0)),
        ("quarter", view(TheirDtype::F4, &[4], 2)),
        ("\u{1f600} \"quoted\"\n", view(TheirDtype::BOOL, &[3], 3)),
    ];
    let metadata = Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
    let file = safetensors::serialize(tensors.clone(), metadata).unwrap();
    let header_bytes = Header::bytes_from_length(file[..8].try_into().unwrap()).unwrap();
    let header = Header::parse(&file[..header_bytes as usize]).unwrap();
    assert_eq!(header.tensors.len(), tensors.len());
    assert_eq!(header.header_bytes + header.data_bytes(), file.len() as u64);
    for (name, view) in &tensors {
        let found = header
            .tensors
            .iter()
            .find(|tensor| tensor.name == *name)
            .unwrap();
        assert_eq!(found.dtype.name(), view.dtype().to_string());
        assert!(
            found.shape.iter().eq(view
                .shape()
                .iter()
                .map(|&dim| dim as u64)
                .collect::<Vec<_>>()
                .iter())
        );
        assert_eq!(found.end - found.begin, view.data().len() as u64);
    }
}

#[test]
fn knows_every_dtype_that_the_safetensors_crate_knows() {
    // Rust cannot list the variants of the crate's enum, so these are its names in the order of its
    // source.
    let theirs = [
        "BOOL",
        "F4",
        "F6_E2M3",
        "F6_E3M2",
        "U8",
        "I8",
        "F8_E5M2",
        "F8_E4M3",
        "F8_E8M0",
        "F8_E4M3FNUZ",
        "F8_E5M2FNUZ",
        "I16",
        "U16",
        "F16",
        "BF16",
        "I32",
        "U32",
        "F32",
        "C64",
        "F64",
        "I64",
        "U64",
    ];
    for name in theirs {
        let ours = Dtype::from_name(name).expect(name);
        let parsed: TheirDtype = serde_json::from_str(&format!("{name:?}")).unwrap();
        assert_eq!(ours.bits(), parsed.bitsize() as u64, "{name}");
    }
    assert_eq!(theirs.len(), Dtype::ALL.len());
}

#[test]
fn empty_tensors_at_one_offset_stay_in_the_order_of_the_header() {
    let json = br#"{"z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"y":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}  "#;
    let header = Header::parse(&with_length(json)).unwrap();
    let names: Vec<&str> = header
        .tensors
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert_eq!(names, ["y", "b", "z", "a"]);
}

#[test]
fn metadata_may_be_null_once() {
    let tensor = r#""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    for json in [
        format!(r#"{{"__metadata__":null,{tensor}}}"#),
        format!("{{{tensor},\"\\u005f_metadata__\" :\t\r\n null \n}}"),
    ] {
        let header = Header::parse(&with_length(json.as_bytes())).unwrap();
        assert_eq!(header.tensors.len(), 1, "{json}");
    }
    let header = Header::parse(&with_length(br#"{"__metadata__":null}"#)).unwrap();
    assert_eq!(header.tensors, []);
    for (json, reason) in [
        (r#"{"__metadata__":NULL}"#, "expected value"),
        (r#"{"__metadata__":nul}"#, "expected ident"),
        (r#"{"__metadata__":null x}"#, "expected `,` or `}`"),
        (
            r#"{"__metadata__":"null"}"#,
            "expected an object of strings or null",
        ),
        (
            r#"{"__metadata__":false}"#,
            "expected an object of strings or null",
        ),
        (r#"{"__metadata__":{"a":null}}"#, "expected a string"),
        (
            r#"{"__metadata__":null,"__metadata__":null}"#,
            "duplicate name",
        ),
        (
            r#"{"__metadata__":null,"__metadata__":{}}"#,
            "duplicate name",
        ),
        (r#"{"a":null}"#, "expected an object of dtype"),
    ] {
        let message = refused(json.as_bytes());
        assert!(message.contains(reason), "{message:?}");
        assert!(!the_crate_reads(json, 0), "{json}");
    }
}

/// Whether the `safetensors` crate loads a file with this header and `data_bytes` zero bytes.
fn the_crate_reads(json: &str, data_bytes: usize) -> bool {
    let mut file = with_length(json.as_bytes());
    file.resize(file.len() + data_bytes, 0);
    SafeTensors::deserialize(&file).is_ok()
}

/// SECURITY.md lists these differences, and `fuzz/properties/src/safetensors_in.rs` allows only
/// these.
#[test]
fn refuses_what_the_safetensors_crate_takes_although_it_is_ambiguous_or_unknown() {
    let good = r#"{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    for (json, reason) in [
        (format!(r#" {{"a":{good}}}"#), "does not begin with '{'"),
        (format!(r#"{{"a":{good},"a":{good}}}"#), "duplicate name"),
        (
            format!(r#"{{"__metadata__":{{"k":"1","k":"2"}},"a":{good}}}"#),
            "duplicate name",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":1}}"#.to_owned(),
            "unknown field",
        ),
        (
            r#"{"a":["U8",[2],[0,2]]}"#.to_owned(),
            "expected an object of dtype",
        ),
        (
            r#"{"a":{"dtype":{"U8":null},"shape":[2],"data_offsets":[0,2]}}"#.to_owned(),
            "expected a string",
        ),
    ] {
        assert!(the_crate_reads(&json, 2), "{json}");
        let message = refused(json.as_bytes());
        assert!(message.contains(reason), "{message:?}");
    }
}

/// SECURITY.md documents this difference.
#[test]
fn reads_an_empty_shape_that_the_safetensors_crate_multiplies_past_64_bits() {
    let json = r#"{"a":{"dtype":"U8","shape":[9223372036854775808,4,0],"data_offsets":[0,0]}}"#;
    assert!(!the_crate_reads(json, 0));
    let header = Header::parse(&with_length(json.as_bytes())).unwrap();
    assert_eq!(header.data_bytes(), 0);
}

#[test]
fn refuses_with_a_reason() {
    let tensor = |name: &str, rest: &str| format!(r#"{{"{name}":{{{rest}}}}}"#);
    let good = r#""dtype":"U8","shape":[2],"data_offsets":[0,2]"#;
    let cases: [(Vec<u8>, &str); 19] = [
        (b"".to_vec(), "does not begin with '{'"),
        (b" {}".to_vec(), "does not begin with '{'"),
        (b"[]".to_vec(), "does not begin with '{'"),
        (b"{".to_vec(), "EOF"),
        (b"{}x".to_vec(), "trailing characters"),
        (b"{\"\xff\":1}".to_vec(), "not UTF-8"),
        (
            tensor("a", r#""dtype":"BF17","shape":[],"data_offsets":[0,2]"#).into_bytes(),
            "BF17",
        ),
        (
            tensor("a", r#""dtype":"U8","shape":[2],"data_offsets":[2,0]"#).into_bytes(),
            "before it begins",
        ),
        (
            tensor("a", r#""dtype":"U8","shape":[2],"data_offsets":[1,3]"#).into_bytes(),
            "hole",
        ),
        (
            tensor("a", r#""dtype":"U8","shape":[3],"data_offsets":[0,2]"#).into_bytes(),
            "has 2 bytes, expected 3",
        ),
        (
            tensor("a", r#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#).into_bytes(),
            "whole number of bytes",
        ),
        (
            tensor(
                "a",
                r#""dtype":"U8","shape":[18446744073709551615,3],"data_offsets":[0,2]"#,
            )
            .into_bytes(),
            "whole number of bytes",
        ),
        (
            tensor("a", r#""dtype":"U8","shape":[2.0],"data_offsets":[0,2]"#).into_bytes(),
            "floating point",
        ),
        (
            tensor("a", r#""dtype":"U8","shape":[-2],"data_offsets":[0,2]"#).into_bytes(),
            "integer",
        ),
        (
            tensor("a", &format!(r#"{good},"x":1"#)).into_bytes(),
            "unknown field",
        ),
        (
            tensor("a", &format!(r#"{good},"shape":[2]"#)).into_bytes(),
            "duplicate field",
        ),
        (br#"{"a":["U8",[2],[0,2]]}"#.to_vec(), "expected an object"),
        (br#"{"__metadata__":{"a":1}}"#.to_vec(), "expected a string"),
        (
            br#"{"__metadata__":{"a":"1","a":"2"}}"#.to_vec(),
            "duplicate name",
        ),
    ];
    for (json, reason) in cases {
        let message = refused(&json);
        assert!(
            message.contains(reason),
            "{message:?} does not say {reason:?}"
        );
        assert_eq!(message.lines().count(), 1);
    }
    let twice = format!(r#"{{"a":{{{good}}},"\u0061":{{{good}}}}}"#);
    assert!(refused(twice.as_bytes()).contains("duplicate name"));
    let overlap =
        format!(r#"{{"a":{{{good}}},"b":{{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}}}"#);
    assert!(refused(overlap.as_bytes()).contains("overlaps"));
}
