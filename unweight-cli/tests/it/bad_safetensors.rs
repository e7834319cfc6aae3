//! Sources that are not safetensors files: one line says why, and nothing is left behind.

use unweight_testkit::{safetensors_json, tensor, with_header};

use crate::model::mixed;
use crate::place::Place;

/// Requires that `compress` refuses this source, and says why in words that contain `why`.
#[track_caller]
fn refuses(source: &[u8], why: &str) {
    let place = Place::with("bad.safetensors", source);
    let line = place.run(&["compress", "bad.safetensors"]).fails(1);
    assert!(
        line.contains("bad.safetensors: ") && line.contains(why),
        "{line}"
    );
    let estimate = [
        "report",
        "bad.safetensors",
        "--estimate",
        "-o",
        "report.html",
    ];
    assert_eq!(place.run(&estimate).fails(1), line);
    assert_eq!(place.names(), ["bad.safetensors"]);
}

#[track_caller]
fn refuses_header(json: &str, why: &str) {
    refuses(&with_header(json, &[0; 8]), why);
}

/// A header of two tensors of 4 bytes at these offsets.
fn two(a: [u64; 2], b: [u64; 2]) -> String {
    format!(
        r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a:?}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b:?}}}}}"#
    )
}

/// A header of one tensor with this description.
fn one(description: &str) -> String {
    format!(r#"{{"a":{description}}}"#)
}

#[test]
fn the_headers_made_here_are_good_but_for_what_is_wrong_with_them() {
    let place = Place::new();
    let good = [
        two([0, 4], [4, 8]),
        one(r#"{"dtype":"U8","shape":[8],"data_offsets":[0,8]}"#),
    ];
    for json in good {
        place.write("m.safetensors", &with_header(&json, &[0; 8]));
        place
            .run(&["compress", "m.safetensors", "--force"])
            .succeeds();
    }
}

#[test]
fn refuses_overlapping_ranges() {
    refuses_header(
        &two([0, 4], [3, 7]),
        "overlaps the one before it: it begins at 3, expected 4",
    );
    refuses_header(&two([0, 4], [0, 4]), "overlaps");
}

#[test]
fn refuses_holes() {
    refuses_header(
        &two([0, 4], [5, 9]),
        "leaves a hole: it begins at 5, expected 4",
    );
    refuses_header(&two([1, 5], [5, 9]), "leaves a hole");
}

#[test]
fn refuses_missing_bytes() {
    let whole = mixed();
    for missing in [1, 1_000, whole.len() - 2_000] {
        refuses(&whole[..whole.len() - missing], "but its header describes");
    }
}

#[test]
fn refuses_trailing_bytes() {
    let mut longer = mixed();
    longer.push(0);
    refuses(
        &longer,
        &format!(
            "the file has {} bytes, but its header describes",
            longer.len()
        ),
    );
}

#[test]
fn refuses_files_that_end_in_the_header() {
    refuses(
        &[],
        "the file ends at byte 0, expected its safetensors header to end at byte 8",
    );
    refuses(&[1, 0, 0, 0, 0, 0, 0], "the file ends at byte 7");
    let whole = mixed();
    refuses(
        &whole[..100],
        "the file ends at byte 100, expected its safetensors header to end at byte",
    );
}

#[test]
fn refuses_lengths_of_the_header_beyond_any_file() {
    for length in [1 << 28, 1 << 63, u64::MAX] {
        refuses(
            &[&length.to_le_bytes()[..], b"{}"].concat(),
            "at most 268435448",
        );
    }
    refuses(
        b"Dear reader, this is a letter.",
        "safetensors header at byte 0",
    );
}

#[test]
fn refuses_tensors_of_one_name() {
    let twice = [
        tensor("a", "U8", &[4], vec![0; 4]),
        tensor("a", "U8", &[4], vec![0; 4]),
    ];
    refuses_header(&safetensors_json(&twice), "duplicate name \"a\"");
    let escaped = two([0, 4], [4, 8]).replace("\"b\"", "\"\\u0061\"");
    refuses_header(&escaped, "duplicate name \"a\"");
}

#[test]
fn refuses_members_that_occur_twice() {
    for again in [
        r#""dtype":"U8""#,
        r#""shape":[8]"#,
        r#""data_offsets":[0,8]"#,
        r#""shap\u0065":[8]"#,
    ] {
        let json = one(&format!(
            r#"{{"dtype":"U8","shape":[8],"data_offsets":[0,8],{again}}}"#
        ));
        refuses_header(&json, "duplicate field");
    }
    let metadata = r#"{"__metadata__":{"x":"1","x":"2"}}"#;
    refuses(
        &with_header(metadata, &[]),
        "duplicate name \"x\" in __metadata__",
    );
    for metadata in [
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        r#"{"__metadata__":null,"__metadata__":null}"#,
        r#"{"__metadata__":{},"__metadata__":null}"#,
    ] {
        refuses(
            &with_header(metadata, &[]),
            "duplicate name \"__metadata__\"",
        );
    }
}

#[test]
fn refuses_members_that_are_missing_or_unknown() {
    refuses_header(&one(r#"{"dtype":"U8","shape":[8]}"#), "data_offsets");
    refuses_header(&one(r#"{"dtype":"U8","data_offsets":[0,8]}"#), "shape");
    refuses_header(&one(r#"{"shape":[8],"data_offsets":[0,8]}"#), "dtype");
    refuses_header(
        &one(r#"{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1}"#),
        "unknown field",
    );
    // A control character in a name does not get into the message.
    refuses_header(&one(r#"{"\u001b[31m":1}"#), "\\u{1b}");
}

#[test]
fn refuses_unknown_types() {
    for dtype in ["BF17", "bf16", "", "U8 "] {
        let json = format!(r#"{{"dtype":"{dtype}","shape":[8],"data_offsets":[0,8]}}"#);
        refuses_header(&one(&json), &format!("unknown dtype \"{dtype}\""));
    }
}

#[test]
fn refuses_ranges_that_do_not_fit_the_shape() {
    let of = |dtype: &str, shape: &str, offsets: &str| {
        one(&format!(
            r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#
        ))
    };
    refuses_header(&of("U8", "[7]", "[0,8]"), "has 8 bytes, expected 7");
    refuses_header(&of("BF16", "[8]", "[0,8]"), "has 8 bytes, expected 16");
    refuses_header(
        &of("U8", "[8]", "[8,0]"),
        "ends at 0, before it begins at 8",
    );
    refuses_header(&of("F4", "[3]", "[0,2]"), "not a whole number of bytes");
    refuses_header(
        &of("U8", "[4294967296,4294967296]", "[0,8]"),
        "not a whole number of bytes",
    );
}

#[test]
fn refuses_numbers_that_are_not_plain() {
    for number in [
        "8.0",
        "8e0",
        "-8",
        "+8",
        "08",
        "18446744073709551616",
        "\"8\"",
        "null",
        "true",
        "[8]",
    ] {
        let shape = format!(r#"{{"dtype":"U8","shape":[{number}],"data_offsets":[0,8]}}"#);
        refuses_header(&one(&shape), "safetensors header at byte");
        let offsets = format!(r#"{{"dtype":"U8","shape":[8],"data_offsets":[0,{number}]}}"#);
        refuses_header(&one(&offsets), "safetensors header at byte");
    }
    refuses_header(
        &one(r#"{"dtype":"U8","shape":[8],"data_offsets":[0,8,8]}"#),
        "at byte",
    );
    refuses_header(
        &one(r#"{"dtype":"U8","shape":[8],"data_offsets":[0]}"#),
        "at byte",
    );
    refuses_header(
        &one(r#"{"dtype":"U8","shape":8,"data_offsets":[0,8]}"#),
        "at byte",
    );
}

#[test]
fn refuses_json_that_is_none() {
    for json in [
        "",
        "{",
        "{]",
        "[]",
        "null",
        " {}",
        "{},",
        "{}{}",
        "{}\0",
        "{'a':1}",
        "{\"a\":}",
        "{\"a\"}",
        "{/**/}",
        "{\"\n\":{}}",
        "{\"\\ud800\":{}}",
        "{\"\\x\":{}}",
        "{\"__metadata__\":{\"x\":1}}",
        "{\"__metadata__\":NULL}",
        "{\"__metadata__\":nul}",
        "{\"__metadata__\":null x}",
        "{\"__metadata__\":false}",
        "{\"__metadata__\":0.5}",
        "{\"__metadata__\":{\"x\":null}}",
        "{\"x\":null}",
        "{\"__metadata__\":[]}",
        "{\"a\":[\"U8\",[8],[0,8]]}",
        "{\"a\":{},}",
    ] {
        refuses(&with_header(json, &[]), "safetensors header at byte");
    }
    let not_utf8 = [&5u64.to_le_bytes()[..], b"{\"\xff\"}"].concat();
    refuses(&not_utf8, "at byte 10: the header is not UTF-8");
}

#[test]
fn refuses_what_the_container_cannot_hold() {
    let deep = tensor("a", "U8", &[1; 65], vec![0]);
    refuses(&with_header(&safetensors_json(&[deep]), &[0]), "limit-rank");
    let long = tensor(&"n".repeat(65_536), "U8", &[1], vec![0]);
    refuses(&with_header(&safetensors_json(&[long]), &[0]), "limit-name");
}

#[test]
fn force_leaves_the_old_output_in_place() {
    let place = Place::with("bad.safetensors", b"bad");
    place.write("bad.unw", b"old");
    place
        .run(&["compress", "bad.safetensors", "--force"])
        .fails(1);
    assert_eq!(place.names(), ["bad.safetensors", "bad.unw"]);
    assert_eq!(place.read("bad.unw"), b"old");
}
