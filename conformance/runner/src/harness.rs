//! The test program of a decoder, an encoder or a transcoder: each case is a test of its own, in the
//! manner of `cargo test`.

use std::{collections::HashSet, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{
    Case, Corpus, ExternalCommand, InProcess, KnownFailures, Outcome, Parameters, Profile,
    Rejection, RunOptions, Subject, Subjects, TemplateError,
    run::{CaseRun, rules_of},
};

/// A test program with one test for each case of a corpus.
///
/// It is the `main` of a test target with `harness = false`, and takes the options of every test
/// program: a filter, `--exact`, `--skip`, `--list`, `--test-threads`.
///
/// ```no_run
/// use std::process::ExitCode;
/// use unweight_conformance_runner::{Corpus, Harness, Profile, Rejection};
/// # fn my_decode(file: &[u8]) -> Result<Vec<u8>, &'static str> { Err("file-magic") }
///
/// fn main() -> ExitCode {
///     let corpus = Corpus::open("conformance/corpus").unwrap();
///     Harness::decoder(corpus, |file: &[u8]| my_decode(file).map_err(Rejection::naming))
///         .profile(Profile::Core)
///         .run()
/// }
/// ```
pub struct Harness {
    corpus: Corpus,
    role: Role,
    subject: Box<dyn Subject + Send>,
    options: RunOptions,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Decoder,
    Encoder,
    Transcoder,
}

impl Harness {
    /// Tests a function that restores the source of a file, or rejects the file.
    pub fn decoder<D>(corpus: Corpus, decode: D) -> Self
    where
        D: Fn(&[u8]) -> Result<Vec<u8>, Rejection> + Send + Sync + 'static,
    {
        let subject = InProcess(move |file: &[u8], _: &Parameters| decode(file));
        Self::new(corpus, Role::Decoder, subject)
    }

    /// Tests a function that makes a file of a source and the parameters `encoding` and `chunk`, or
    /// refuses the source.
    pub fn encoder<E>(corpus: Corpus, encode: E) -> Self
    where
        E: Fn(&[u8], &Parameters) -> Result<Vec<u8>, Rejection> + Send + Sync + 'static,
    {
        Self::new(corpus, Role::Encoder, InProcess(encode))
    }

    /// Tests a function that makes a file of a file and the parameter `encoding`, or rejects the file.
    pub fn transcoder<T>(corpus: Corpus, transcode: T) -> Self
    where
        T: Fn(&[u8], &Parameters) -> Result<Vec<u8>, Rejection> + Send + Sync + 'static,
    {
        Self::new(corpus, Role::Transcoder, InProcess(transcode))
    }

    /// Tests a decoder's command, such as `my-decoder {input} {output}`, with a time limit for each
    /// call.
    pub fn decoder_command(
        corpus: Corpus,
        template: &str,
        limit: Duration,
    ) -> Result<Self, TemplateError> {
        let command = ExternalCommand::decoder(template, limit)?;
        Ok(Self::new(corpus, Role::Decoder, command))
    }

    fn new(corpus: Corpus, role: Role, subject: impl Subject + Send + 'static) -> Self {
        Self {
            corpus,
            role,
            subject: Box::new(subject),
            options: RunOptions::default(),
        }
    }

    /// The profile that is claimed; full if this is not called.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.options.profile = profile;
        self
    }

    /// Cases that are known to fail. Their tests pass while they fail.
    pub fn known_failures(mut self, known: KnownFailures) -> Self {
        self.options.known_failures = known;
        self
    }

    /// Further options: the selection of cases, `lenient`, `keep`. Replaces all that was set before.
    pub fn options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs the tests that the arguments of the program select. The exit code is that of a test
    /// program: 0 if all passed, 101 otherwise.
    pub fn run(self) -> ExitCode {
        self.run_arguments(&Arguments::from_args())
    }

    /// Runs the tests that these arguments select; the first is the name of the program.
    pub fn run_with_arguments<A>(self, arguments: A) -> ExitCode
    where
        A: IntoIterator<Item = String>,
    {
        self.run_arguments(&Arguments::from_iter(arguments))
    }

    fn run_arguments(self, arguments: &Arguments) -> ExitCode {
        if let Err(error) = self.options.check_ids(&self.corpus) {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
        let shared = Arc::new(self);
        let cases = shared.corpus.cases().iter().enumerate();
        let selected =
            cases.filter(|(_, case)| shared.concerns(case) && shared.options.selects(case));
        let trials = selected.map(|(position, case)| trial(&shared, position, case));
        libtest_mimic::run(arguments, trials.collect()).exit_code()
    }

    fn concerns(&self, case: &Case) -> bool {
        match self.role {
            Role::Decoder => case.is_decode(),
            Role::Encoder => case.kind().starts_with("encode"),
            Role::Transcoder => case.kind().starts_with("transcode"),
        }
    }

    /// Runs one case; the error is the reason of its failure.
    fn test(&self, case: &Case, rules: &HashSet<&str>) -> Result<(), Failed> {
        let subject: Option<&dyn Subject> = Some(&*self.subject);
        let mut subjects = Subjects::default();
        match self.role {
            Role::Decoder => subjects.decoder = subject,
            Role::Encoder => subjects.encoder = subject,
            Role::Transcoder => subjects.transcoder = subject,
        }
        let run = CaseRun {
            corpus: &self.corpus,
            options: &self.options,
            subjects,
            rules,
        };
        let report = run.one(case).map_err(|error| error.to_string())?;
        match (&report.outcome, report.unexpected()) {
            (Outcome::Passed, true) => Err(Failed::from(
                "passes, but the list of known failures has it; take it out",
            )),
            (outcome, true) => Err(Failed::from(format!(
                "{}: {outcome}\nclaim: {}\n{}",
                outcome.id(),
                case.claim,
                report.stderr
            ))),
            (_, false) => Ok(()),
        }
    }
}

fn trial(shared: &Arc<Harness>, position: usize, case: &Case) -> Trial {
    // Where either answer conforms, there is nothing to test.
    let ignored = case.profile > shared.options.profile && case.core_rule.is_none();
    let (harness, kind) = (Arc::clone(shared), case.kind());
    let test = move || {
        let rules = rules_of(&harness.corpus);
        harness.test(&harness.corpus.cases()[position], &rules)
    };
    Trial::test(case.id.clone(), test)
        .with_kind(kind)
        .with_ignored_flag(ignored)
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::inspect;

    /// The exit code with a decoder that restores valid files and accepts others, on these cases.
    fn run(profile: Profile, known: &str, arguments: &[&str]) -> String {
        let restore = |file: &[u8]| inspect::restore(file).map_err(|_| Rejection::unnamed());
        // What it prints would look like the output of this test program.
        let log = tempfile::NamedTempFile::new().unwrap();
        let log = log.path().to_str().unwrap();
        let quiet = ["test", "--logfile", log];
        let arguments = quiet.iter().chain(arguments);
        let code = Harness::decoder(Corpus::embedded(), restore)
            .profile(profile)
            .known_failures(KnownFailures::parse(known).unwrap())
            .run_with_arguments(arguments.map(|&argument| argument.to_owned()));
        format!("{code:?}")
    }

    fn passed() -> String {
        format!("{:?}", ExitCode::SUCCESS)
    }

    const VALID: &str = "huffman-tensor-of-256-weights";
    const INVALID: &str = "last-block-checksum-wrong-by-a-bit";
    const PALETTE: &str = "palette-tensor-of-1-weight";

    #[test]
    fn each_case_is_a_test() {
        assert_eq!(run(Profile::Full, "", &["--exact", VALID]), passed());
        assert_ne!(run(Profile::Full, "", &["--exact", INVALID]), passed());
    }

    #[test]
    fn a_known_failure_passes_while_it_fails() {
        assert_eq!(run(Profile::Full, INVALID, &["--exact", INVALID]), passed());
        assert_ne!(run(Profile::Full, VALID, &["--exact", VALID]), passed());
        assert_ne!(run(Profile::Full, "no-such", &["--exact", VALID]), passed());
    }

    #[test]
    fn a_core_decoder_has_to_reject_palettes() {
        assert_eq!(run(Profile::Full, "", &["--exact", PALETTE]), passed());
        assert_ne!(run(Profile::Core, "", &["--exact", PALETTE]), passed());
    }
}
