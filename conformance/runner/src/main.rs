//! The command line: `run`, `list` and `coverage`.
//!
//! Exit codes: 0 all is well, 1 a case failed or the coverage has a gap, 2 wrong use.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Arguments::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
