//! Arguments and commands of the command line.

mod coverage;
mod explain;
mod implementations;
mod list;
mod make;
mod run;
mod select;
mod show;
mod unpack;

use std::{
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
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
    Run(Box<run::Arguments>),
    List(list::Arguments),
    Show(show::Arguments),
    Explain(explain::Arguments),
    Unpack(unpack::Arguments),
    Make(make::Arguments),
    Coverage(coverage::Arguments),
    Implementations(implementations::Arguments),
}

/// True if no problem was found, false if one was, an error if the command could not run.
type Found = Result<bool, Box<dyn Error>>;

impl Arguments {
    pub(crate) fn run(self) -> Found {
        match self.command {
            Command::Run(arguments) => arguments.run(),
            Command::List(arguments) => arguments.run(),
            Command::Show(arguments) => arguments.run(),
            Command::Explain(arguments) => arguments.run(),
            Command::Unpack(arguments) => arguments.run(),
            Command::Make(arguments) => arguments.run(),
            Command::Coverage(arguments) => arguments.run(),
            Command::Implementations(arguments) => arguments.run(),
        }
    }
}

#[derive(Args)]
struct CorpusArguments {
    /// Folder with the manifest.json of the corpus [default: conformance/corpus if it is there, else
    /// the corpus inside this program]
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
}

impl CorpusArguments {
    fn open(&self) -> Result<Corpus, Box<dyn Error>> {
        let here = Path::new("conformance/corpus");
        Ok(match &self.corpus {
            Some(folder) => Corpus::open(folder)?,
            None if here.join("manifest.json").exists() => Corpus::open(here)?,
            None => Corpus::embedded(),
        })
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
