//! `list`, `show`, `unpack`, `explain` and `implementations`.

use serde_json::Value;
use unweight_conformance_runner::Corpus;

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

#[test]
fn shows_all_of_a_case_and_how_to_reproduce_it() {
    let fixture = Fixture::new();
    let show = |id: &str| fixture.binary(&["show", "--corpus", "corpus", id]);
    let run = show("invalid-sum");
    assert_eq!(run.code, 0, "{run:?}");
    for part in [
        "claim     a <sum> & its \"file\" agree\n",
        "rule      record-crc (malformed)\n",
        "step      6\n",
        "corpus/invalid/sum.toy\n",
        "and stderr names a rule: record-crc",
        "unweight-conformance run --exact invalid-sum --keep kept",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let run = show("valid-source");
    assert!(
        run.stdout
            .contains("full; a core decoder rejects the file as form-unknown"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("tensor    \"b\" BF16 [1], bytes 6..8"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("restored  8 bytes, SHA-256 "),
        "{run:?}"
    );
    assert!(
        show("encode-plain")
            .stdout
            .contains("chunk 12, encoding huffman")
    );
    assert!(
        show("prefixes-plain")
            .stdout
            .contains("of 0, 3, 6, ... bytes")
    );
    let run = show("valid");
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("similar: valid-digest, valid-hex"),
        "{run:?}"
    );
}

#[test]
fn without_a_folder_the_corpus_inside_the_program_is_used() {
    let fixture = Fixture::new();
    let run = fixture.binary(&["list", "--kind", "prefixes"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("every-prefix-of-"), "{}", run.stdout);
    assert_eq!(fixture.binary(&["unpack", "out"]).code, 0);
    let unpacked = Corpus::open(fixture.path("out")).unwrap();
    assert_eq!(unpacked.cases().len(), Corpus::embedded().cases().len());
    let again = fixture.binary(&["unpack", "out"]);
    assert_eq!(again.code, 2, "{again:?}");
}

#[test]
fn explains_a_file() {
    let fixture = Fixture::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/example.unw");
    let run = fixture.binary(&["explain", example]);
    assert_eq!(run.code, 0, "{run:?}");
    for part in [
        "version 1.0, 2 tensors, file length 1032",
        "tensor 0 \"w\": BF16 [5, 51]",
        "255 weights, M = 0x807f, W = 8, plain plane 0x200..0x2ff",
        "field 0: 111 112 113",
        "chunk 0, field 0, at 0x320",
        "code lengths: - - - - - - - - 7 7 6 5 4 3 2 1",
        "126=0 125=10 124=110",
        "lane ends: 2 4 6 9 11",
        "patches (position: value): 100: 200",
        "costs (11.5): t = ",
        "checksum 0x21940f2d, right",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let run = fixture.binary(&["explain", example, "--tensor", "step"]);
    assert!(run.stdout.contains("tensor 1 \"step\": I64 []"), "{run:?}");
    assert!(!run.stdout.contains("\"w\""), "{run:?}");
    let run = fixture.binary(&["explain", "corpus/valid/plain.toy"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("does not begin with the magic"),
        "{run:?}"
    );
}

#[test]
fn makes_a_table_of_implementations_from_reports() {
    let fixture = Fixture::new();
    for (profile, file) in [("full", "full.json"), ("core", "core.json")] {
        let run = fixture.run(
            "good",
            &["--profile", profile, "--json", file, "--name", "toy 1.0"],
        );
        assert!(run.code < 2, "{run:?}");
    }
    let run = fixture.binary(&["implementations", "full.json", "core.json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let row =
        "| toy 1.0 | failed (the run: 1 failures) | passed |  |  | 1.0-rc.1, 11 cases, runner ";
    assert!(run.stdout.contains(row), "{}", run.stdout);
    let run = fixture.binary(&[
        "implementations",
        "core.json",
        "full.json",
        "--not-run",
        "toy on a device",
    ]);
    assert!(run.stdout.contains(row), "{}", run.stdout);
    let row = "| toy on a device | not run | not run | not run | not run |  |\n";
    assert!(run.stdout.contains(row), "{}", run.stdout);
    fixture.run("good", &["--json", "nameless.json"]);
    let run = fixture.binary(&["implementations", "nameless.json"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("run it with --name"), "{run:?}");
}

#[test]
fn makes_the_files_that_are_not_in_the_corpus() {
    let fixture = Fixture::new();
    let run = fixture.binary(&["make", "65537-tensors-huffman-12", "made"]);
    assert_eq!(run.code, 0, "{run:?}");
    let read = |name: &str| std::fs::read(fixture.path("made").join(name)).unwrap();
    let file = read("65537-tensors-huffman-12.unw");
    let restored = unweight_conformance_runner::inspect::restore(&file).unwrap();
    assert!(restored == read("65537-tensors-huffman-12.safetensors"));
    let corpus = Corpus::embedded();
    let mut cases = corpus.cases().iter();
    let case = cases.find(|case| case.id == "65537-tensors").unwrap();
    assert!(file == corpus.read(&case.file).unwrap());

    let run = fixture.binary(&["make", "huffman-tensor-of-256-weights", "made"]);
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn cases_of_large_files_are_listed_on_request() {
    let fixture = Fixture::new();
    let lists = |options: &[&str]| {
        let run = fixture.binary(&[&["list"], options].concat());
        run.stdout
            .lines()
            .any(|line| line.starts_with("1048577-tensors "))
    };
    assert!(!lists(&[]));
    assert!(lists(&["--large"]));
    assert!(lists(&["--exact", "1048577-tensors"]));
}
