//! The steps of `conformance/README.md`: a decoder that has done steps 1 to n passes exactly the cases
//! of these steps, whatever it does with files that need a later one.
//!
//! The decoder is that in Python, which forgets the later steps (`forgetful.py`). `PYTHON` names the
//! interpreter.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::{env, fs};

use tempfile::TempDir;
use unweight_conformance_runner::{
    Answer, Corpus, Parameters, Rejection, Reply, Report, RunError, RunOptions, Subject, Subjects,
    run_with,
};

const LAST_STEP: u8 = 10;

/// One process of the decoder.
struct Forgetful {
    folder: TempDir,
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Forgetful {
    fn start(step: u8, beyond: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(env::var_os("PYTHON").unwrap_or("python3".into()))
            .arg(root.join("tests/forgetful.py"))
            .arg(root.join("../decoders/python"))
            .args([&step.to_string(), beyond])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self {
            folder: TempDir::new().unwrap(),
            process,
            pipes: Mutex::new((stdin, stdout)),
        }
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Subject for Forgetful {
    fn answer(&self, input: &[u8], _: &Parameters) -> Result<Reply, RunError> {
        let mut pipes = self.pipes.lock().unwrap();
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        fs::write(path("input"), input).unwrap();
        let (stdin, stdout) = &mut *pipes;
        writeln!(
            stdin,
            "{}\t{}",
            path("input").display(),
            path("output").display()
        )
        .unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["accepted"] => Answer::Accepted(fs::read(path("output")).unwrap()),
            ["rejected", rule] => Answer::Rejected(Rejection::naming(rule)),
            _ => Answer::Crashed(format!("answered {line:?}")),
        };
        Ok(Reply {
            answer,
            stdout: String::new(),
            stderr: String::new(),
        })
    }
}

/// Runs the cases up to a step, of one kind or of all, with a decoder that has done `done`.
fn run(done: u8, beyond: &str, step: u8, kind: Option<&str>) -> Report {
    let corpus = Corpus::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")).unwrap();
    let decoder = Forgetful::start(done, beyond);
    // Files that are made take longer than all others together.
    let stored = corpus.cases().iter().filter(|case| case.recipe.is_none());
    let options = RunOptions {
        step: Some(step),
        exact: stored.map(|case| case.id.clone()).collect(),
        kinds: kind.map(str::to_owned).into_iter().collect(),
        jobs: 1,
        ..RunOptions::default()
    };
    let subjects = Subjects {
        decoder: Some(&decoder),
        ..Subjects::default()
    };
    run_with(&corpus, &options, subjects, &|_| ()).unwrap()
}

#[test]
fn a_decoder_that_has_done_a_step_passes_its_cases_and_those_before() {
    for step in 1..=LAST_STEP {
        run(step, "reject", step, None).assert_passed();
    }
}

/// No case of a step is passed only because the file is rejected for what comes later.
#[test]
fn what_comes_later_need_not_be_rejected() {
    for step in 1..LAST_STEP {
        run(step, "accept", step, Some("reject")).assert_passed();
    }
}

/// Each step has cases that fail without it.
#[test]
fn a_decoder_that_has_not_done_a_step_fails_its_cases() {
    for step in 2..=LAST_STEP {
        let report = run(step - 1, "accept", step, None);
        let failed: Vec<Option<u8>> = report.failures().map(|case| case.case.step).collect();
        assert!(!failed.is_empty(), "step {step}");
        assert!(
            failed.iter().all(|of| *of == Some(step)),
            "step {step}: {failed:?}"
        );
    }
}

#[test]
fn every_case_of_a_decoder_has_a_step() {
    let corpus = Corpus::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")).unwrap();
    for case in corpus.cases() {
        let in_steps = case
            .step
            .is_some_and(|step| (1..=LAST_STEP).contains(&step));
        assert_eq!(in_steps, case.is_decode(), "{}", case.id);
    }
}
