//! The reader of `inspect` restores every valid file of the corpus; each is a test of its own.

use std::process::ExitCode;

use unweight_conformance_runner::{Corpus, Harness, Rejection, RunOptions, inspect};

fn main() -> ExitCode {
    let restore = |file: &[u8]| inspect::restore(file).map_err(|_| Rejection::unnamed());
    let options = RunOptions {
        kinds: vec!["accept".into()],
        ..RunOptions::default()
    };
    Harness::decoder(Corpus::embedded(), restore)
        .options(options)
        .run()
}
