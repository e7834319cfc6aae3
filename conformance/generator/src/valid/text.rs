//! Sections 3.2 and 3.3: names of any Unicode, and JSON that writes them in any way.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::draft::{Draft, Tensor};

pub(super) fn add(cases: &mut Cases) {
    let of_names = |names: &[&str]| {
        let tensors = names.iter().zip(1..);
        Draft::of(
            tensors
                .map(|(name, byte)| Tensor::bytes(name, vec![byte]))
                .collect::<Vec<_>>(),
        )
    };
    cases.accept(
        "names-with-nul-and-dots-and-controls",
        &["3.2", "13"],
        "a name may hold NUL, dots, slashes and control characters, and differ from others behind a NUL alone",
        &of_names(&["a\0b", "a\0a", "a", "..", "../..", "/", "\u{1}", "\u{1f}\u{7f}", "A\0B", "A"]),
    );
    cases.accept(
        "names-that-differ-in-case-alone",
        &["3.2"],
        "names are compared byte by byte",
        &of_names(&["W", "w", "É", "é"]),
    );
    let long = "n".repeat(300);
    cases.accept(
        "names-that-differ-behind-300-bytes",
        &["3.2"],
        "names are compared to their ends",
        &of_names(&[&format!("{long}b"), &format!("{long}a"), &long]),
    );

    // The names in the directory, and how the JSON writes them.
    let written: [(&str, &str); 15] = [
        ("\u{10000}", r"\ud800\udc00"),
        ("\u{103ff}", r"\uD800\uDFFF"),
        ("\u{10fc00}", r"\udbff\udc00"),
        ("\u{10ffff}", r"\udBfF\uDffF"),
        ("\u{d7ff}", r"\ud7ff"),
        ("\u{e000}", r"\ue000"),
        ("\u{ffff}", r"\uFFFF"),
        ("\0", r"\u0000"),
        ("\u{7f}", "\u{7f}"),
        ("'", "'"),
        ("\u{abcd}\u{ef01}", r"\uabcd\uEF01"),
        ("\u{9}\u{a}\u{c}\u{d}\u{8}", r"\t\n\f\r\b"),
        ("\"\\//", r#"\"\\\//"#),
        ("\u{1f600}x", "\u{1f600}\\u0078"),
        ("\u{2028}\u{85}", "\u{2028}\u{85}"),
    ];
    let member = |(i, (_, text)): (usize, &(&str, &str))| {
        format!(
            r#""{text}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}"#,
            i + 1
        )
    };
    let members: Vec<String> = written.iter().enumerate().map(member).collect();
    let names: Vec<&str> = written.iter().map(|(name, _)| *name).collect();
    cases.accept(
        "json-with-escapes-at-their-edges",
        &["3.3"],
        "escapes are resolved: pairs of surrogates from the first to the last, and digits in either case",
        &of_names(&names).with_json(format!("{{{}}}", members.join(","))),
    );
    cases.accept(
        "json-with-white-space-in-empty-arrays-and-objects",
        &["3.3"],
        "white space may stand in an empty array, in an empty object, and around colons and commas",
        &Draft::of([Tensor::raw("s", Dtype::U8, &[], vec![1])]).with_json(
            "{\t\"__metadata__\"\r\n:\n{ \t\r\n}\r, \"s\" : {\"dtype\" :\t\"U8\" , \"shape\"\r:[ \n\t\r], \"data_offsets\":\n[ 0\t,\r1\n] \t}\r}\t",
        ),
    );
    let dims: [u64; 12] = [
        (1 << 24) + 1,
        (1 << 31) - 1,
        1 << 31,
        u32::MAX as u64,
        1 << 32,
        (1 << 32) + 1,
        (1 << 53) + 1,
        (1 << 63) - 1,
        1 << 63,
        (1 << 63) + 1,
        u64::MAX,
        0,
    ];
    cases.accept(
        "json-with-integers-of-every-size",
        &["3.3"],
        "integers are exact up to 2^64 - 1",
        &Draft::of([Tensor::raw("e", Dtype::U8, &dims, vec![])]).with_source(),
    );
}
