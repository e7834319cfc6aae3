//! The command line: `run`, `list` and `coverage`.
//!
//! Exit codes: 0 passed, 1 a case failed or the coverage has a gap, 2 wrong use, 3 the probe failed
//! and nothing was run.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use unweight_conformance_runner::Unavailable;

fn main() -> ExitCode {
    match cli::Arguments::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) if error.is::<Unavailable>() => {
            println!("skipped every case: {error}");
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
