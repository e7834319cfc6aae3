//! Test of the corpus: decoders, encoders and transcoders with a planted bug fail on the cases that
//! are meant to find it.
//!
//! They are those of `conformance/mutants`, derived from the programs in Python. Each bug stands there
//! beside the cases that find it. `PYTHON` names the interpreter; the default is
//! `python3`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::{env, fs};

use tempfile::TempDir;
use unweight_conformance_runner::{
    Answer, Corpus, Parameters, Profile, Rejection, Reply, Report, RunError, RunOptions, Subject,
    Subjects, run_with,
};

/// Rules that a decoder can miss without accepting any file of the corpus.
const IMPLIED: &[&str] = &[
    // A file that breaks only one of these rules is as large as the limit. The runner makes it, for
    // its option --large.
    "limit-tensors",
    "limit-directory",
    "limit-source",
    "limit-extensions",
    // There is no file as large as these.
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

/// What a mutant does.
#[derive(Clone, Copy)]
enum Role {
    Decode,
    Encode,
    Transcode,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Decode => "decode",
            Role::Encode => "encode",
            Role::Transcode => "transcode",
        }
    }
}

const NEEDS_PYTHON: &str = "this test needs Python 3; set PYTHON to its path";

const ROLES: [Role; 3] = [Role::Decode, Role::Encode, Role::Transcode];

/// A running mutant that waits for files.
struct Mutant {
    role: Role,
    folder: TempDir,
    process: Mutex<Process>,
}

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Mutant {
    fn start(role: Role, name: &str) -> Mutant {
        let mut child = python(&["serve", role.name(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(NEEDS_PYTHON);
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Mutant {
            role,
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
        let mut subjects = Subjects::default();
        match self.role {
            Role::Decode => subjects.decoder = Some(self),
            Role::Encode => subjects.encoder = Some(self),
            Role::Transcode => subjects.transcoder = Some(self),
        }
        run_with(&corpus(), &options, subjects, &|_| ()).unwrap()
    }
}

impl Subject for Mutant {
    fn answer(&self, input: &[u8], parameters: &Parameters) -> Result<Reply, RunError> {
        let paths = ["input", "output"].map(|name| self.folder.path().join(name));
        fs::write(&paths[0], input).unwrap();
        let mut process = self.process.lock().unwrap();
        let [input_path, output_path] = paths.each_ref().map(|path| path.to_str().unwrap());
        let mut request = vec![input_path, output_path];
        // Encoding before chunk, as mutants.py expects them.
        request.extend(
            ["encoding", "chunk"]
                .into_iter()
                .map_while(|name| parameters.value(name)),
        );
        let request = format!("{}\n", request.join("\t"));
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
            None if line.trim_end() == "refused" => Answer::Rejected(Rejection::unnamed()),
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
fn what_has_no_bug_passes_everything() {
    for role in ROLES {
        Mutant::start(role, "none").run(Vec::new()).assert_passed();
    }
}

#[test]
fn a_decoder_of_profile_core_passes_profile_core() {
    let options = RunOptions {
        profile: Profile::Core,
        ..RunOptions::default()
    };
    Mutant::start(Role::Decode, "core")
        .run_with(options)
        .assert_passed();
}

#[test]
fn a_decoder_that_reads_text_byte_by_byte_passes_everything() {
    // It takes long for the megabytes of text in files that are made.
    let corpus = corpus();
    let stored = corpus.cases().iter().filter(|case| case.recipe.is_none());
    Mutant::start(Role::Decode, "written-out")
        .run_with(RunOptions {
            exact: stored.map(|case| case.id.clone()).collect(),
            ..RunOptions::default()
        })
        .assert_passed();
}

#[test]
fn every_mutant_fails_on_every_case_that_it_names_and_the_table_says_so() {
    let ended = python(&["check"]).output().expect(NEEDS_PYTHON);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
fn no_case_finds_a_mutant_that_is_listed_as_equivalent() {
    let ended = python(&["survivors"]).output().expect(NEEDS_PYTHON);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
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
            let breaks = case.rule().is_some_and(|(named, _)| named == rule);
            case.kind() == "reject" && breaks && !case.large
        });
        let ids: Vec<String> = cases.map(|case| case.id.clone()).collect();
        let report = Mutant::start(Role::Decode, &format!("without-{rule}")).run(ids.clone());
        let noticed = report
            .failures()
            .any(|report| ids.contains(&report.case.id));
        if !noticed {
            unnoticed.insert(rule);
        }
    }
    assert_eq!(unnoticed, IMPLIED.iter().copied().collect());
}
