//! Names of tensors and files with characters that control a terminal, are invisible, or reverse
//! text. No such character is ever printed.

use serde_json::Value;
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::place::Place;

/// Controls (C0, DEL, C1), bidirectional, zero-width and separating characters.
const BAD: [char; 22] = [
    '\u{1}', '\u{7}', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{ad}',
    '\u{61c}', '\u{200b}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}',
    '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}',
];

fn evil(begin: &str) -> String {
    let bad: String = BAD.iter().collect();
    format!("{begin}{bad}[31m重")
}

/// Checks everything that a run printed, and returns standard output.
#[track_caller]
fn printed(place: &Place, call: &[&str], code: i32) -> String {
    let (found, stdout, stderr) = place.run(call).raw();
    assert_eq!(found, Some(code), "{call:?}: {stderr}");
    let stdout = String::from_utf8(stdout).unwrap();
    for text in [&stdout, &stderr] {
        let bad = text
            .chars()
            .find(|character| BAD.contains(character) && *character != '\n');
        assert_eq!(bad, None, "{call:?}: {text:?}");
    }
    if code != 0 {
        assert_eq!(stderr.lines().count(), 1, "{call:?}: {stderr:?}");
    }
    stdout
}

/// Checks a run with `--json` like [`printed`], and returns the JSON.
#[track_caller]
fn json(place: &Place, call: &[&str], code: i32) -> Value {
    let text = printed(place, &[call, &["--json"]].concat(), code);
    serde_json::from_str(&text).unwrap()
}

#[cfg(unix)]
#[test]
fn every_command_escapes_names_of_tensors_and_files() {
    let tensor = evil("t");
    let source = safetensors_file(&[bf16(&tensor, &Random::new(60).trained_weights(4_000))]);
    let (input, output, other, back) = (evil("in"), evil("out"), evil("other"), evil("back"));
    let [input, unw, other] = [input + ".safetensors", output + ".unw", other + ".unw"];
    let place = Place::with(&input, &source);
    for call in [
        &["compress", &input, "-o", &unw, "--force", "--verify"][..],
        &["decompress", &unw, "-o", &back, "--force"],
        &["inspect", &unw],
        &["inspect", &unw, "--directory"],
        &["verify", &unw, "--against", &input],
        &["extract", &unw, &tensor, "-o", &back, "--force"],
        &[
            "transcode",
            &unw,
            "--to",
            "palette",
            "-o",
            &other,
            "--force",
        ],
        &["bench", &input, "--runs", "1"],
    ] {
        let text = printed(&place, call, 0);
        assert!(text.contains("\\u{202e}"), "{call:?}: {text}");
        let result = json(&place, call, 0).to_string();
        // The names are restored unchanged.
        let name = serde_json::json!(evil("")).to_string();
        assert!(
            result.contains(name.trim_matches('"')),
            "{call:?}: {result}"
        );
    }
    let folder = evil("folder");
    place.write(&format!("{folder}/{input}"), &source);
    let converted = format!("{folder}.unw");
    printed(&place, &["compress", &folder], 0);
    printed(&place, &["verify", &converted, "--against", &folder], 0);
    printed(&place, &["decompress", &converted, "-o", &evil("again")], 0);
}

#[cfg(unix)]
#[test]
fn every_failure_escapes_names_of_tensors_and_files() {
    let tensor = evil("t");
    let source = safetensors_file(&[bf16(&tensor, &Random::new(61).trained_weights(9_000))]);
    let (input, missing) = (evil("in") + ".safetensors", evil("missing"));
    let unw = evil("in") + ".unw";
    let place = Place::with(&input, &source);
    place.run(&["compress", &input]).raw();
    let mut bad = place.read(&unw);
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    place.write("bad.unw", &bad);
    place.write(&evil("text"), b"a text");
    place.write(&format!("{}/x", evil("folder")), b"");
    for (call, code) in [
        (&["compress", &input][..], 2),
        (&["compress", &evil("text")], 1),
        (&["compress", &evil("folder")], 2),
        (&["decompress", &unw, "-o", &evil("folder"), "--force"], 2),
        (&["decompress", &missing, "-o", "x"], 3),
        (&["inspect", "bad.unw"], 1),
        (&["inspect", &evil("folder")], 2),
        (&["verify", "bad.unw"], 1),
        (&["verify", &unw, "--memory", "1"], 4),
        (&["verify", &unw, "--against", &evil("text")], 1),
        (&["extract", "bad.unw", &tensor, "-o", "x"], 1),
        (&["extract", &unw, &missing, "-o", "x"], 2),
        (
            &["extract", &unw, &tensor, "--range", "0..9001", "-o", "x"],
            2,
        ),
        (&["transcode", &missing, "--to", "palette", "-o", "x"], 3),
        (&["bench", &evil("text")], 1),
    ] {
        printed(&place, call, code);
        let message = json(&place, call, code)["error"]["message"].clone();
        assert!(message.is_string(), "{call:?}");
    }
}

/// The parser of the command line repeats arguments that it does not understand.
#[test]
fn arguments_that_are_not_understood_are_escaped() {
    let place = Place::new();
    let unknown = evil("--unknown");
    for call in [
        &["compress", "x", &unknown][..],
        &[&evil("command")],
        &["verify", "x", "--memory", &evil("1")],
        &["extract", "x", "t", "--range", &evil("1")],
    ] {
        for call in [call.to_vec(), [call, &["--json"]].concat()] {
            let (code, stdout, stderr) = place.run(&call).raw();
            assert_eq!(code, Some(2), "{stderr}");
            for text in [String::from_utf8(stdout).unwrap(), stderr] {
                let bad = text
                    .chars()
                    .find(|character| BAD.contains(character) && *character != '\n');
                assert_eq!(bad, None, "{call:?}: {text:?}");
                assert!(!text.contains("\r"), "{text:?}");
            }
        }
    }
}

/// Bytes that are not text are shown as escaped replacement characters.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_escaped() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let output = std::process::Command::new(crate::place::UNWEIGHT)
        .arg("verify")
        .arg(OsStr::from_bytes(b"a\xff\xed\xa0\x80.unw"))
        .arg("--json")
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unweight: a\\u{fffd}"), "{stderr}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"a\\ufffd")
    );
}

#[test]
fn lines_that_report_failures_have_an_upper_length() {
    let long = "重".repeat(20_000);
    let source = safetensors_file(&[bf16(&long, &Random::new(62).trained_weights(9_000))]);
    let place = Place::with_compressed(&source, &[]);
    let mut bad = place.read("m.unw");
    let last = bad.len() - 100;
    bad[last] ^= 1;
    place.write("bad.unw", &bad);
    for (call, code, begin, end) in [
        (
            &["verify", "bad.unw"][..],
            1,
            "unweight: bad.unw: tensor ",
            "checksum is wrong",
        ),
        (
            &["extract", "m.unw", &long, "--range", "0..9001"],
            2,
            "unweight: tensor ",
            "but the range is 0..9001",
        ),
        (
            &["extract", "m.unw", &long[3..]],
            2,
            "unweight: m.unw has no tensor ",
            "has",
        ),
    ] {
        let line = place.run(call).fails(code);
        assert!(line.chars().count() <= 1_000, "{}", line.len());
        assert!(line.starts_with(begin) && line.contains("..."), "{line}");
        assert!(line.ends_with(end) || code == 1, "{line}");
    }
}
