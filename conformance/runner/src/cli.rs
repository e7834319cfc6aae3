//! Arguments and commands.

mod coverage;
mod list;
mod run;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use unweight_conformance_runner::{Case, Corpus};

/// Test any Unweight decoder or encoder against the conformance corpus
///
/// Exit codes: 0 success; 1 a case failed, or the coverage has a gap; 2 wrong usage; 3 the probe
/// failed and no case was run.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    List(list::Arguments),
    Coverage(coverage::Arguments),
}

/// True if no problem was found, false if one was, an error if the command could not run.
type Found = Result<bool, Box<dyn Error>>;

impl Arguments {
    pub(crate) fn run(self) -> Found {
        match self.command {
            Command::Run(arguments) => arguments.run(),
            Command::List(arguments) => arguments.run(),
            Command::Coverage(arguments) => arguments.run(),
        }
    }
}

#[derive(Args)]
struct CorpusArguments {
    /// Folder with the manifest.json of the corpus
    #[arg(long, value_name = "DIR", default_value = "conformance/corpus")]
    corpus: PathBuf,
}

#[derive(Args)]
struct FilterArguments {
    /// Run only cases whose id contains this text; repeatable
    #[arg(long = "filter", value_name = "SUBSTRING")]
    filters: Vec<String>,
}

impl CorpusArguments {
    fn open(&self) -> Result<Corpus, Box<dyn Error>> {
        Ok(Corpus::open(&self.corpus)?)
    }
}

/// The sections of a case as text.
fn sections(case: &Case) -> Vec<String> {
    case.sections.iter().map(ToString::to_string).collect()
}

/// Prints to stdout. A closed pipe (`list | head`) is no error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
