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

/// Holds any Unweight decoder to the conformance corpus
///
/// Exit codes: 0 all is well; 1 a case failed, or the coverage has a gap; 2 wrong use; 3 the probe
/// says that nothing can be run here.
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

/// True if nothing was found, false if something was, an error if the command could not run.
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
    /// The folder with the corpus's manifest.json
    #[arg(long, value_name = "DIR", default_value = "conformance/corpus")]
    corpus: PathBuf,
}

#[derive(Args)]
struct FilterArguments {
    /// Takes only cases whose id contains this; may be given several times
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
