//! Test of the corpus: decoders with a planted bug fail on the cases that are meant to find it.
//!
//! The decoders are those of `conformance/mutants/mutants.py`, derived from the Python decoder.
//! Each is a single process for all of its cases. `PYTHON` names the interpreter; the default is
//! `python3`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::{env, fs};

use tempfile::TempDir;
use unweight_conformance_runner::{
    Answer, Corpus, Outcome, Parameters, Profile, Rejection, Reply, Report, RunError, RunOptions,
    Subject, run_with,
};

/// A mutant and the cases that must find it.
const MUTANTS: &[(&str, &[&str])] = &[
    (
        "ignores-patches",
        &[
            "huffman-patch-at-the-first-weight",
            "palette-patch-at-the-last-weight",
        ],
    ),
    (
        "drops-the-highest-plain-bit",
        &[
            "every-bit-pattern-in-huffman",
            "every-bit-pattern-in-palette",
            "every-bit-pattern-verbatim",
        ],
    ),
    (
        "drops-the-lowest-plain-bit",
        &[
            "every-bit-pattern-in-huffman",
            "three-coded-fields-of-4097-weights",
        ],
    ),
    (
        "ignores-constants",
        &["every-field-of-f32-constant", "constants-of-1-weight"],
    ),
    (
        "joins-fields-in-the-opposite-order",
        &[
            "every-field-of-f16-in-huffman",
            "two-coded-fields-of-4097-weights",
        ],
    ),
    (
        "takes-the-first-16-plain-bits",
        &["mixed-forms-of-f64-from-0", "mixed-forms-of-c64-from-2"],
    ),
    (
        "treats-verbatim-as-absent",
        &[
            "verbatim-records-among-huffman-records",
            "verbatim-record-in-a-palette-tensor",
            "every-field-of-i64-verbatim",
        ],
    ),
    (
        "takes-palettes-for-consecutive",
        &["huffman-palette-with-gaps"],
    ),
    (
        "makes-nans-quiet",
        &[
            "zeros-infinities-and-nans-in-huffman",
            "every-bit-pattern-verbatim",
        ],
    ),
    (
        "wrong-bit-order",
        &["skewed-code-of-9-entries", "huffman-tensor-of-4096-weights"],
    ),
    (
        "codes-not-reversed",
        &["skewed-code-of-9-entries", "even-code-of-16-entries"],
    ),
    (
        "codes-by-entry-before-length",
        &[
            "even-code-of-16-entries",
            "most-skewed-code-in-both-directions",
        ],
    ),
    (
        "mixes-nibbles",
        &[
            "palette-tensor-of-255-weights",
            "every-bit-pattern-in-palette",
        ],
    ),
    (
        "mixes-nibbles-of-code-lengths",
        &["skewed-code-of-9-entries"],
    ),
    (
        "takes-lanes-for-interleaved",
        &["huffman-tensor-of-4096-weights"],
    ),
    (
        "mixes-forms-of-two-fields",
        &["second-field-coded-alone", "mixed-forms-of-i32-from-2"],
    ),
    (
        "packs-numbers-from-the-highest-bit",
        &[
            "verbatim-records-of-5-bits",
            "two-coded-fields-of-9-weights",
            "constants-of-7-weights",
        ],
    ),
    (
        "pads-each-number-to-a-byte",
        &["verbatim-records-of-2-bits", "verbatim-records-of-7-bits"],
    ),
    ("signed-patch-positions", &["patch-at-position-65535"]),
    (
        "last-step-dropped",
        &[
            "huffman-tensor-of-257-weights",
            "palette-tensor-of-513-weights",
        ],
    ),
    (
        "one-step-too-many",
        &[
            "huffman-tensor-of-256-weights",
            "palette-tensor-of-4096-weights",
        ],
    ),
    (
        "last-weight-takes-no-patch",
        &[
            "huffman-patch-at-the-last-weight",
            "palette-patch-at-the-last-weight-of-a-full-chunk",
        ],
    ),
    (
        "surplus-takes-patches",
        &[
            "huffman-patch-at-the-first-surplus-weight",
            "palette-patch-at-the-last-surplus-weight",
        ],
    ),
    (
        "last-chunk-takes-the-length-of-the-first",
        &[
            "huffman-tensor-of-4097-weights",
            "palette-tensor-of-4097-weights",
        ],
    ),
    (
        "last-block-unchecked",
        &["last-block-checksum-wrong-by-a-bit"],
    ),
    (
        "small-planes-have-block-checksums",
        &[
            "raw-payloads-around-multiples-of-16",
            "raw-tensor-of-65536-bytes",
        ],
    ),
    (
        "a-full-block-has-a-checksum",
        &["raw-tensor-of-65536-bytes", "constants-of-58254-weights"],
    ),
    (
        "small-tensors-are-aligned-to-256",
        &[
            "raw-payloads-around-multiples-of-16",
            "tensor-of-65535-bytes-between-small-ones",
        ],
    ),
    (
        "no-tensor-is-large",
        &["tensor-of-65536-bytes-between-small-ones"],
    ),
    (
        "alignment-of-the-plane-not-the-tensor",
        &["huffman-chunks-of-2-to-the-15"],
    ),
    (
        "plain-bytes-of-a-chunk-without-its-last",
        &["two-coded-fields-of-4097-weights"],
    ),
    (
        "records-field-by-field",
        &[
            "two-coded-fields-of-8449-weights",
            "three-coded-fields-of-8201-weights",
        ],
    ),
    (
        "chunk-size-always-12",
        &[
            "huffman-chunks-of-2-to-the-13",
            "palette-chunks-of-2-to-the-16",
        ],
    ),
    (
        "lane-ends-checked-to-the-byte-alone",
        &[
            "lane-0-overrun-by-one-bit",
            "lane-17-overrun-by-one-bit",
            "lane-31-overrun-by-one-bit",
        ],
    ),
    (
        "overreads-of-a-lane-are-fine",
        &[
            "lane-without-bytes-overrun",
            "lanes-all-without-bytes-overrun",
        ],
    ),
    (
        "allows-bytes-behind-the-last-record",
        &["bytes-hidden-behind-the-last-record"],
    ),
    (
        "allows-equal-names",
        &["two-tensors-of-one-name", "two-tensors-without-a-name"],
    ),
    (
        "stops-at-first-tensor",
        &[
            "source-kind-none",
            "three-hundred-tensors",
            "tensor-checksum-of-the-last-tensor-wrong",
        ],
    ),
    ("forgets-the-source-section", &["safetensors-source"]),
    (
        "no-crc-check",
        &[
            "header-checksum-wrong-by-a-bit",
            "directory-checksum-wrong-by-a-bit",
            "source-checksum-wrong-by-a-bit",
            "extension-checksum-wrong-by-a-bit",
            "block-checksum-wrong-by-a-bit",
            "palette-checksum-wrong-by-a-bit",
            "record-checksum-wrong-by-a-bit",
            "tensor-checksum-of-a-huffman-tensor-wrong",
        ],
    ),
    (
        "accepts-trailing-bytes",
        &["one-zero-byte-behind-the-file", "file-behind-the-file"],
    ),
    (
        "ignores-padding",
        &[
            "padding-before-the-payload-first-byte",
            "padding-before-block-checksums-first-byte",
            "padding-between-two-payloads-last-byte",
            "padding-behind-the-plain-plane-first-byte",
            "padding-before-constants-last-byte",
            "padding-last-bit-of-a-plane-beside-constants",
            "padding-behind-record-ends-last-byte",
            "padding-of-the-guard-of-a-file-without-tensors",
        ],
    ),
    (
        "ignores-the-guard",
        &["padding-guard-first-byte", "padding-guard-last-byte"],
    ),
    (
        "ignores-all-reserved-bytes",
        &[
            "header-reserved-byte-57",
            "verbatim-record-padding-last-byte",
            "directory-padding-last-byte",
        ],
    ),
    (
        "ignores-padding-bits",
        &[
            "padding-first-bit-of-a-plane-beside-huffman",
            "verbatim-record-of-7-bits-last-padding-bit",
        ],
    ),
    (
        "record-checksum-without-the-plain-bytes",
        &[
            "record-checksum-of-the-record-alone",
            "huffman-tensor-of-4096-weights",
        ],
    ),
    (
        "every-record-checksum-covers-the-plain-bytes",
        &["two-coded-fields-of-4097-weights"],
    ),
    (
        "only-the-first-field-covers-the-plain-bytes",
        &[
            "second-field-coded-alone",
            "constant-exponent-beside-a-coded-mantissa",
        ],
    ),
    (
        "patches-take-any-value",
        &[
            "patch-with-16-in-4-bits",
            "palette-patch-with-128-in-7-bits",
        ],
    ),
    (
        "codes-for-missing-entries",
        &["code-of-entry-4-of-2-bits", "code-of-entry-15-of-3-bits"],
    ),
    (
        "palettes-take-any-value",
        &[
            "palette-with-32-in-5-bits",
            "palette-of-3-bits-with-a-value-too-great",
        ],
    ),
    (
        "palettes-go-on",
        &[
            "constant-with-a-last-byte-behind-its-value",
            "palette-of-2-bits-that-goes-on",
        ],
    ),
    (
        "narrow-fields-take-the-form-palette",
        &[
            "form-palette-of-3-bits",
            "form-palette-of-4-bits-of-f8-e4m3",
        ],
    ),
    (
        "missing-fields-take-forms",
        &[
            "fourth-field-of-bf16-constant",
            "first-field-of-f6-constant",
        ],
    ),
    (
        "critical-extensions-are-ignored",
        &[
            "critical-extension-of-kind-5",
            "critical-extension-behind-others",
        ],
    ),
    (
        "every-extension-is-critical",
        &["extension-for-private-use", "extensions-without-tensors"],
    ),
    (
        "only-the-first-extension-counts",
        &["critical-extension-behind-others"],
    ),
    (
        "empty-tensors-are-aligned",
        &["empty-tensors", "empty-tensor-aligned-to-16"],
    ),
    (
        "dimensions-wrap-at-2-to-the-64",
        &["dimensions-whose-product-wraps-to-1"],
    ),
    ("minor-version-must-be-0", &["minor-version-1"]),
    (
        "json-keeps-the-last-of-two",
        &[
            "json-with-a-tensor-twice",
            "json-with-a-name-twice-in-metadata",
            "json-with-metadata-as-null-twice",
            "json-with-metadata-as-null-and-as-an-object",
        ],
    ),
    (
        "json-takes-half-a-surrogate-pair",
        &["json-with-a-high-surrogate-alone-in-metadata"],
    ),
    (
        "json-takes-floats",
        &[
            "json-with-a-dimension-of-a-fraction-of-0",
            "json-with-an-offset-of-0-with-an-exponent",
        ],
    ),
    (
        "json-takes-unknown-members",
        &["json-with-an-unknown-member"],
    ),
    (
        "json-takes-no-null-for-metadata",
        &[
            "json-with-metadata-as-null",
            "json-with-metadata-as-null-at-the-end",
            "json-with-metadata-as-null-amid-white-space",
            "json-with-metadata-as-null-and-no-tensors",
            "json-with-metadata-as-null-by-an-escaped-name",
            "metadata-as-null-huffman-12-decodes",
        ],
    ),
    (
        "json-takes-null-for-a-tensor",
        &["json-with-an-extra-tensor-as-null"],
    ),
    (
        "json-takes-null-in-metadata",
        &["json-with-null-in-metadata"],
    ),
    (
        "json-takes-other-numbers-for-null",
        &["json-with-metadata-as-a-fraction"],
    ),
    (
        "json-takes-false-for-null",
        &[
            "json-with-metadata-as-false",
            "json-with-metadata-as-0",
            "json-with-metadata-as-a-string",
            "json-with-metadata-as-an-array",
        ],
    ),
    (
        "json-takes-null-in-any-case",
        &["json-with-metadata-as-null-in-upper-case"],
    ),
    (
        "json-in-the-order-of-the-text",
        &[
            "json-with-tensors-out-of-offset-order",
            "empty-tensors-at-equal-offsets",
        ],
    ),
];

/// Rules that a decoder can miss without accepting any file of the corpus.
const IMPLIED: &[&str] = &[
    // A file that breaks only one of these rules would be as large as the limit.
    "limit-tensors",
    "limit-directory",
    "limit-source",
    "limit-extensions",
    "limit-elements",
    "limit-coded",
    // Two equal names do not ascend either.
    "name-duplicate",
    // A lane that ends before it begins also has too few bits.
    "lane-ends",
    // An unknown kind also differs from that of the field's form.
    "record-kind",
];

fn conformance() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn corpus() -> Corpus {
    Corpus::open(conformance().join("corpus")).unwrap()
}

fn python(arguments: &[&str]) -> Command {
    let interpreter = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(interpreter);
    command
        .arg(conformance().join("mutants/mutants.py"))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A running mutant that waits for files.
struct Mutant {
    folder: TempDir,
    process: Mutex<Process>,
}

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Mutant {
    fn start(name: &str) -> Mutant {
        let mut child = python(&["serve", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs Python 3; set PYTHON to its path");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Mutant {
            folder: TempDir::new().unwrap(),
            process: Mutex::new(Process {
                child,
                input,
                output,
            }),
        }
    }

    /// Runs the selected cases, or all cases without filters.
    fn run(&self, filters: Vec<String>) -> Report {
        self.run_with(RunOptions {
            filters,
            ..RunOptions::default()
        })
    }

    fn run_with(&self, options: RunOptions) -> Report {
        let options = RunOptions { jobs: 1, ..options };
        run_with(&corpus(), &options, Some(self), None, &|_| ()).unwrap()
    }
}

impl Subject for Mutant {
    fn answer(&self, input: &[u8], _: &Parameters) -> Result<Reply, RunError> {
        let paths = ["input", "output"].map(|name| self.folder.path().join(name));
        fs::write(&paths[0], input).unwrap();
        let mut process = self.process.lock().unwrap();
        let [input_path, output_path] = paths.each_ref().map(|path| path.to_str().unwrap());
        let request = format!("{input_path}\t{output_path}\n");
        process
            .input
            .as_mut()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
        let mut line = String::new();
        process.output.read_line(&mut line).unwrap();
        let answer = match line.trim_end().split_once(' ') {
            None if line.trim_end() == "accepted" => {
                Answer::Accepted(fs::read(output_path).unwrap())
            }
            Some(("rejected", rule)) => Answer::Rejected(Rejection::naming(rule)),
            Some(("crashed", why)) => Answer::Crashed(why.to_owned()),
            _ => panic!("mutants.py answered {line:?}"),
        };
        Ok(Reply {
            answer,
            stdout: String::new(),
            stderr: String::new(),
        })
    }
}

impl Drop for Mutant {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        // The process ends when its input is closed.
        process.input = None;
        let _ = process.child.wait();
    }
}

#[test]
fn the_decoder_without_a_bug_passes_everything() {
    Mutant::start("none").run(Vec::new()).assert_passed();
}

#[test]
fn a_decoder_of_profile_core_passes_profile_core() {
    let options = RunOptions {
        profile: Profile::Core,
        ..RunOptions::default()
    };
    Mutant::start("core").run_with(options).assert_passed();
}

#[test]
fn every_mutant_fails_on_the_cases_that_are_there_for_it() {
    let mut survivors = Vec::new();
    for (name, ids) in MUTANTS {
        let report = Mutant::start(name).run(ids.iter().map(|id| (*id).to_owned()).collect());
        for id in *ids {
            // Filters match parts of ids, so other cases may have been selected too.
            let case = report.cases.iter().find(|report| report.case.id == *id);
            let case = case.unwrap_or_else(|| panic!("there is no case {id}"));
            if matches!(case.outcome, Outcome::Passed) {
                survivors.push(format!("{name} passes {id}"));
            }
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

#[test]
fn every_mutant_is_listed_here() {
    let output = python(&["list"])
        .output()
        .expect("this test needs Python 3; set PYTHON to its path");
    let found: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let listed = MUTANTS.iter().map(|(name, _)| *name).chain(["none"]);
    assert_eq!(found, listed.map(str::to_owned).collect());
}

#[test]
fn a_decoder_that_overlooks_a_rule_accepts_a_case_of_that_rule() {
    let corpus = corpus();
    let rules: BTreeSet<&str> = corpus
        .cases()
        .iter()
        .filter_map(|case| case.rule())
        .map(|(rule, _)| rule)
        .collect();
    let mut unnoticed = BTreeSet::new();
    for &rule in &rules {
        let cases = corpus.cases().iter().filter(|case| {
            case.kind() == "reject" && case.rule().is_some_and(|(named, _)| named == rule)
        });
        let ids: Vec<String> = cases.map(|case| case.id.clone()).collect();
        let report = Mutant::start(&format!("without-{rule}")).run(ids.clone());
        let noticed = report
            .failures()
            .any(|report| ids.contains(&report.case.id));
        if !noticed {
            unnoticed.insert(rule);
        }
    }
    assert_eq!(unnoticed, IMPLIED.iter().copied().collect());
}
