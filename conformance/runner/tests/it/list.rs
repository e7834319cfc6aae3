//! `list`.

use serde_json::Value;

use crate::fixture::Fixture;

#[test]
fn lists_a_table() {
    let run = Fixture::new().binary(&["list", "--corpus", "corpus"]);
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(
        lines[0],
        "case            kind              profile  sections  claim"
    );
    assert_eq!(
        lines[1],
        "valid-digest    accept            core     3.1 4.2   digests are enough"
    );
}

#[test]
fn lists_json_of_the_filtered_cases() {
    let run = Fixture::new().binary(&[
        "list", "--corpus", "corpus", "--json", "--filter", "encode-", "--filter", "sum",
    ]);
    let cases: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(cases.as_array().unwrap().len(), 3);
    assert_eq!(cases[0]["category"], "malformed");
    assert_eq!(cases[1]["parameters"]["chunk"], "12");
    assert_eq!(cases[2]["parameters"]["encoding"], "huffman");
}

#[test]
fn a_list_of_nothing_is_wrong_use() {
    assert_eq!(
        Fixture::new()
            .binary(&["list", "--corpus", "corpus", "--filter", "no-such"])
            .code,
        2
    );
}
