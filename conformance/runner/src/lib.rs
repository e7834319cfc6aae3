//! Runs any Unweight decoder, encoder or transcoder against the conformance corpus.
//!
//! A corpus is a folder with a `manifest.json` ([`Manifest`], described by
//! `conformance/manifest.schema.json`) and the files that its cases name. A decoder, an
//! encoder or a transcoder is tested in one of two ways:
//!
//! - as a program in any language, through a command ([`ExternalCommand`]), as the program
//!   `unweight-conformance` does;
//! - as a Rust function, inside `cargo test` and without processes: [`Corpus::check`],
//!   [`Corpus::check_encoder`], [`Corpus::check_transcoder`].
//!
//! ```no_run
//! use unweight_conformance_runner::{Corpus, Rejection};
//! # fn my_decode(file: &[u8]) -> Result<Vec<u8>, &'static str> { Err("file-magic") }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let corpus = Corpus::open("conformance/corpus")?;
//! corpus.check(|file| my_decode(file).map_err(Rejection::naming))?.assert_passed();
//! # Ok(())
//! # }
//! ```
//!
//! This crate imports no other crate of the project. All it knows of the format is in the manifest.

#![forbid(unsafe_code)]

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod compare;
mod corpus;
pub mod coverage;
mod digest;
mod manifest;
mod outcome;
mod probe;
mod process;
mod report;
mod run;
mod section;
mod subject;
mod template;

pub use corpus::{Corpus, CorpusError};
pub use manifest::{
    Accept, Case, Category, CorpusPath, Expect, Manifest, ManifestError, Parameters, Profile,
    Tensor,
};
pub use outcome::{Difference, Outcome};
pub use probe::{ProbeError, Unavailable, probe};
pub use report::{CaseReport, Report, RuleAgreement, Tally, Verdict};
pub use run::{RunOptions, Subjects, run_with};
pub use section::Section;
pub use subject::{Answer, ExternalCommand, InProcess, Rejection, Reply, RunError, Subject};
pub use template::TemplateError;
