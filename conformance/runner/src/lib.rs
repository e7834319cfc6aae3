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
//! use unweight_conformance_runner::{Corpus, Profile, Rejection};
//! # fn my_decode(file: &[u8]) -> Result<Vec<u8>, &'static str> { Err("file-magic") }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let corpus = Corpus::open("conformance/corpus")?;
//! corpus
//!     .check(Profile::Full, |file| my_decode(file).map_err(Rejection::naming))?
//!     .assert_passed();
//! # Ok(())
//! # }
//! ```
//!
//! This crate imports no other crate of the project but the corpus's data. All that an outcome
//! depends on is in the manifest; [`inspect`] reads files to explain them.

#![forbid(unsafe_code)]

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod command;
mod compare;
mod corpus;
pub mod coverage;
mod digest;
#[cfg(feature = "harness")]
mod harness;
pub mod inspect;
mod known;
mod manifest;
mod outcome;
mod probe;
mod process;
mod recipe;
mod rejection;
mod report;
mod run;
mod section;
mod subject;
mod template;

pub use command::ExternalCommand;
pub use corpus::{Corpus, CorpusError};
#[cfg(feature = "harness")]
pub use harness::Harness;
pub use known::{KnownFailures, KnownFailuresError};
pub use manifest::{
    Accept, Case, Category, CorpusPath, Expect, Ignored, Manifest, ManifestError, Parameters,
    Profile, Tensor,
};
pub use outcome::{Difference, Outcome};
pub use probe::{ProbeError, Unavailable, probe};
pub use recipe::Recipe;
pub use rejection::Rejection;
pub use report::{CaseReport, Report, RuleAgreement, Tally, Verdict};
pub use run::{RunOptions, Subjects, run_with};
pub use section::Section;
pub use subject::{Answer, InProcess, Reply, RunError, Subject};
pub use template::TemplateError;
