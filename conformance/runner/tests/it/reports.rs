//! `--json` and `--junit`.

use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Run};

#[test]
fn json_has_totals_verdicts_and_every_case() {
    let fixture = Fixture::new();
    let run = fixture.run("flip-last-byte", &["--json", "report.json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let report: Value = serde_json::from_str(&fixture.read("report.json")).unwrap();
    assert_eq!(report["format_version"], "1.0-rc.1");
    assert_eq!(report["profile"], "full");
    assert_eq!(
        report["totals"],
        json!({"cases": 11, "passed": 4, "failed": 3, "not_run": 4, "known_failures": 0,
               "unexpected_passes": 0, "unnamed_rejections": 0})
    );
    assert_eq!(
        report["verdicts"],
        json!({"core": "not-judged", "full": "failed", "encoder": "not-judged", "transcoder": "not-judged"})
    );
    assert_eq!(
        report["rule_agreement"],
        json!({"same": 2, "other": 0, "none": 0})
    );

    let outcomes: Vec<(&str, &str)> = report["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| {
            (
                case["id"].as_str().unwrap(),
                case["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            ("valid-digest", "wrong-output"),
            ("valid-hex", "wrong-output"),
            ("valid-source", "wrong-output"),
            ("valid-empty", "pass"),
            ("invalid-magic", "pass"),
            ("invalid-sum", "pass"),
            ("prefixes-plain", "pass"),
            ("encode-plain", "not-run"),
            ("refused-source", "not-run"),
            ("recoded-plain", "not-run"),
            ("recoded-sum", "not-run"),
        ]
    );
    assert_eq!(
        report["cases"][0]["difference"],
        json!({"tensor": "b", "offset": null, "weight": null})
    );
    assert_eq!(
        report["cases"][1]["difference"],
        json!({"tensor": "b", "offset": 7, "weight": null})
    );
    assert_eq!(report["cases"][4]["rule"], "file-magic");
    assert_eq!(report["cases"][4]["named_rule"], "file-magic");
    let stderr = report["cases"][4]["stderr"].as_str().unwrap();
    assert!(
        stderr.ends_with("breaks file-magic: says the toy\n"),
        "{stderr}"
    );
}

/// Prints the counts of the suite, then name, class, what it holds and its text for each test.
const READ_JUNIT: &str = r#"
import sys, xml.etree.ElementTree as ET
root = ET.parse(sys.argv[1]).getroot()
assert root.tag == "testsuites" and [suite.tag for suite in root] == ["testsuite"]
suite = root[0]
print(*(suite.get(key) for key in ("tests", "failures", "errors", "skipped")))
for case in suite:
    assert case.tag == "testcase" and float(case.get("time")) >= 0
    inside = [(e.tag, e.get("type"), e.get("message"), e.text) for e in case]
    print(case.get("classname"), case.get("name"), ascii(inside))
"#;

#[test]
fn junit_is_xml_that_a_parser_reads() {
    let fixture = Fixture::new();
    let run = fixture.run(
        "exit-3",
        &[
            "--junit", "out.xml", "--filter", "invalid-", "--filter", "encode-",
        ],
    );
    assert_eq!(run.code, 1, "{run:?}");
    fixture.write("read.py", READ_JUNIT);
    let read = Run::of(
        Command::new("python3")
            .arg(fixture.path("read.py"))
            .arg(fixture.path("out.xml")),
    );
    assert_eq!(read.code, 0, "{}", read.stderr);
    let lines: Vec<&str> = read.stdout.lines().collect();
    assert_eq!(lines[0], "3 0 2 1");
    // The claim and the decoder's stderr have every character that XML reserves, and one that it
    // cannot hold.
    assert!(
        lines[2].starts_with("unweight.reject invalid-sum "),
        "{}",
        lines[2]
    );
    assert!(
        lines[2]
            .contains(r#"('error', 'crash', 'neither accepted nor rejected the file: exit code 3"#)
    );
    assert!(
        lines[2].contains(r#"a <sum> & its "file" agree"#),
        "{}",
        lines[2]
    );
    assert!(
        lines[2].contains(r#"<went> & "wrong" \ufffd[31m\n"#),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].contains("('skipped', None, 'not run: no encoder was given', None)"),
        "{}",
        lines[3]
    );
}

#[test]
fn junit_tells_failures_from_errors() {
    let fixture = Fixture::new();
    fixture.run("skip-checksum", &["--junit", "out.xml"]);
    let xml = fixture.read("out.xml");
    assert!(
        xml.contains("tests=\"11\" failures=\"1\" errors=\"0\" skipped=\"4\""),
        "{xml}"
    );
    assert!(xml.contains("<failure type=\"accepted-invalid\""), "{xml}");
}
