//! `unweight-conformance run`.

use std::{fs, io::IsTerminal, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use unweight_conformance_runner::{
    CaseReport, ExternalCommand, KnownFailures, Profile, RunOptions, Subject, Subjects, probe,
    run_with,
};

use super::{CorpusArguments, Found, print, select::Selection};

/// Run a decoder, and an encoder and a transcoder if they are given, against the corpus
///
/// A command gets the paths {input} and {output}. Exit code 0 accepts, and {output} then holds the
/// result. Exit code 1 rejects or refuses, and a word of stderr is the id of the broken rule (an
/// encoder's refusal needs none). Anything else is a crash, and so is an uncaught exception or the
/// report of a sanitizer on stderr.
#[derive(Args)]
pub(super) struct Arguments {
    /// Command of the decoder, such as 'my-decoder {input} {output}'; split into words like in a
    /// shell, and run without one
    #[arg(long, value_name = "COMMAND")]
    decoder: String,

    /// Command of the encoder, such as 'my-encoder {input} {output} --encoding {encoding} --chunk {chunk}'
    #[arg(long, value_name = "COMMAND")]
    encoder: Option<String>,

    /// Command of the transcoder, such as 'my-transcoder {input} {output} --encoding {encoding}'
    #[arg(long, value_name = "COMMAND")]
    transcoder: Option<String>,

    /// Command that is run first; unless its exit code is 0, the decoder cannot run on this machine
    /// (it may lack a device) and no case is run
    #[arg(long, value_name = "COMMAND")]
    probe: Option<String>,

    #[command(flatten)]
    corpus: CorpusArguments,

    /// Profile that the decoder claims; a decoder of core has to reject the form palette as
    /// form-unknown
    #[arg(long, value_enum, default_value_t = ProfileName::Full)]
    profile: ProfileName,

    #[command(flatten)]
    selection: Selection,

    /// Let rejections pass that name no rule; they are counted
    #[arg(long)]
    lenient: bool,

    /// File with the ids of cases that are known to fail, one a line, # before a comment; a listed
    /// case that passes is an error
    #[arg(long, value_name = "FILE")]
    known_failures: Option<PathBuf>,

    /// Stop at the first unexpected failure
    #[arg(long)]
    fail_fast: bool,

    /// Write the input, the output, stdout and stderr of each call below this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Name and version of what is tested, for the report
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Number of cases that run at a time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,

    /// Time limit for one call of a command, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    timeout: Duration,

    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the report as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Print a line for every case, and the output of its command
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    Core,
    Full,
}

impl Arguments {
    pub(super) fn run(self) -> Found {
        let decoder = ExternalCommand::decoder(&self.decoder, self.timeout)?;
        let encoder = self
            .encoder
            .as_deref()
            .map(|text| ExternalCommand::encoder(text, self.timeout))
            .transpose()?;
        let transcoder = self
            .transcoder
            .as_deref()
            .map(|text| ExternalCommand::transcoder(text, self.timeout))
            .transpose()?;
        let corpus = self.corpus.open()?;
        if let Some(command) = &self.probe {
            probe(command, self.timeout)??;
        }
        let mut options = self.selection.options();
        options.lenient = self.lenient;
        options.fail_fast = self.fail_fast;
        options.keep = self.keep;
        if let Some(list) = &self.known_failures {
            options.known_failures = KnownFailures::read(list)?;
        }
        options.profile = match self.profile {
            ProfileName::Core => Profile::Core,
            ProfileName::Full => Profile::Full,
        };
        if let Some(jobs) = self.jobs {
            options.jobs = jobs.into();
        }

        let selects = |options: &RunOptions| {
            let cases = corpus.cases().iter();
            cases.filter(|case| options.selects(case)).count()
        };
        let selected = selects(&options);
        let with_large = RunOptions {
            large: true,
            ..options.clone()
        };
        let left_out = selects(&with_large) - selected;
        let bar = progress_bar(selected);
        let watch = |report: &CaseReport| {
            bar.set_message(report.case.id.clone());
            bar.inc(1);
        };
        fn subject(command: &ExternalCommand) -> &dyn Subject {
            command
        }
        let subjects = Subjects {
            decoder: Some(&decoder),
            encoder: encoder.as_ref().map(subject),
            transcoder: transcoder.as_ref().map(subject),
        };
        let report = run_with(&corpus, &options, subjects, &watch);
        bar.finish_and_clear();
        let mut report = report?;
        report.name = self.name;

        if self.verbose {
            print(&report.cases.iter().map(lines).collect::<String>())?;
        }
        print(&report.to_string())?;
        if left_out > 0 {
            print(&format!(
                "\n{left_out} cases of large files were left out; --large runs them.\n"
            ))?;
        }
        for (path, text) in [
            (&self.json, report.to_json()),
            (&self.junit, report.to_junit()),
        ] {
            if let Some(path) = path {
                fs::write(path, text)
                    .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            }
        }
        Ok(report.passed())
    }
}

/// Shown on a terminal only.
fn progress_bar(cases: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").expect("the template is right");
    ProgressBar::new(cases as u64).with_style(style)
}

fn lines(report: &CaseReport) -> String {
    let mut lines = format!(
        "{:<16} {} ({:.3} s)\n",
        report.outcome.id(),
        report.case.id,
        report.duration.as_secs_f64()
    );
    for (stream, text) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
        for line in text.lines() {
            let shown: String = line.chars().filter(|c| !c.is_control()).collect();
            lines.push_str(&format!("    {stream}: {shown}\n"));
        }
    }
    lines
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    let limit = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    // One day, so that adding it to the clock cannot overflow.
    if limit.is_zero() || limit > Duration::from_secs(86_400) {
        return Err("a limit is more than 0 and at most 86400 seconds".into());
    }
    Ok(limit)
}
