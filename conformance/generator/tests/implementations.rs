//! `conformance/IMPLEMENTATIONS.md` lists the implementations that `conformance/implementations` runs,
//! with the present version of the suite.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use unweight_conformance_runner::Corpus;

fn conformance() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of each row of the table, without those of its head.
fn rows() -> Vec<Vec<String>> {
    let table = read(&conformance().join("IMPLEMENTATIONS.md"));
    let lines = table.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let inner = line.trim_matches('|').split('|');
        inner.map(|cell| cell.trim().to_owned()).collect()
    };
    lines.skip(2).map(cells).collect()
}

const AGAIN: &str = "run conformance/implementations";

#[test]
fn the_table_has_every_implementation_that_the_script_runs() {
    let script = read(&conformance().join("implementations"));
    let named: BTreeSet<String> = script
        .lines()
        .filter_map(|line| line.strip_prefix("suite \""))
        .filter_map(|rest| Some(rest.rsplit_once('"')?.0.replace('\\', "")))
        .collect();
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row[0].clone()).collect();
    assert!(named.len() >= 5, "{named:?}");
    assert_eq!(listed, named, "{AGAIN}");
}

#[test]
fn every_decoder_of_the_suite_is_in_the_script() {
    let script = read(&conformance().join("implementations"));
    for folder in fs::read_dir(conformance().join("decoders")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let path = format!("conformance/decoders/{name}");
        assert!(
            script.contains(&path),
            "{path} is not run by conformance/implementations"
        );
    }
}

#[test]
fn every_run_was_one_of_the_present_suite_and_passed() {
    let corpus = Corpus::open(conformance().join("corpus")).unwrap();
    let suite = format!(
        "{}, {} cases, runner {}",
        corpus.manifest().format_version,
        corpus.cases().iter().filter(|case| !case.large).count(),
        env!("CARGO_PKG_VERSION")
    );
    for row in rows() {
        let [name, cells @ .., run] = row.as_slice() else {
            panic!("{row:?}");
        };
        if cells.iter().all(|cell| cell == "not run") {
            continue;
        }
        assert_eq!(*run, suite, "{name}: {AGAIN}");
        assert_eq!(cells[1], "passed", "{name}");
        assert!(!cells.iter().any(|cell| cell.contains("failed")), "{name}");
    }
}
