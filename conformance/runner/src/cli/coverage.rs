//! `unweight-conformance coverage`.

use std::{fs, path::PathBuf};

use clap::Args;
use unweight_conformance_runner::coverage::{Coverage, Spec};

use super::{CorpusArguments, Found, print};

/// Print which cases exercise which section and rule of the specification, as Markdown
///
/// The exit code is 1 if a rule has no case, if a case names a rule, category or section that the
/// specification does not have, or if --check finds a difference.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    corpus: CorpusArguments,

    /// File of the specification
    #[arg(long, value_name = "FILE", default_value = "spec/unweight.md")]
    spec: PathBuf,

    /// Compare with this file instead of printing
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self) -> Found {
        let corpus = self.corpus.open()?;
        let markdown = read(&self.spec)?;
        let spec =
            Spec::parse(&markdown).map_err(|error| format!("{}: {error}", self.spec.display()))?;
        let coverage = Coverage::new(&spec, corpus.cases());
        let document = coverage.to_markdown();

        let mut well = true;
        match &self.check {
            None => print(&document)?,
            Some(path) => {
                if let Some(line) = first_differing_line(&document, &read(path)?) {
                    eprintln!(
                        "{}: differs from the corpus in line {line}; write the output of `unweight-conformance coverage` to it",
                        path.display()
                    );
                    well = false;
                }
            }
        }
        for problem in coverage.problems() {
            eprintln!("{problem}");
            well = false;
        }
        Ok(well)
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The number of the first line that differs. Line ends count: a checkout that changes them differs
/// in its first line.
fn first_differing_line(expected: &str, found: &str) -> Option<usize> {
    if expected == found {
        return None;
    }
    let (expected, found) = (expected.split_inclusive('\n'), found.split_inclusive('\n'));
    let equal = expected
        .zip(found)
        .take_while(|(expected, found)| expected == found)
        .count();
    Some(equal + 1)
}
