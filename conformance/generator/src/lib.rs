//! Writes the conformance corpus of the Unweight bitstream.
//!
//! - A [`draft::Draft`] is a file as its author thinks of it, down to the bits of each lane; [`draft::Draft::forge`] lays it out.
//!   Layout, codes and lane streams are written out of the specification here a second time, and what a valid file restores
//!   to is what went into its draft: nothing here asks the decoder under test.
//! - A [`forge::Forge`] changes bytes of such a file and makes the checksums right again.
//! - [`valid`], [`invalid`], [`prefixes`] and [`encode`] hold the cases. Only `encode` uses the encoder of `unweight-cpu`.
//!
//! Everything is deterministic: the same source gives the same corpus.

#![forbid(unsafe_code)]

pub mod case;
pub mod code;
pub mod draft;
pub mod encode;
pub mod forge;
pub mod invalid;
pub mod manifest;
pub mod prefixes;
pub mod random;
pub mod record;
pub mod source;
pub mod store;
pub mod valid;
pub mod weights;

use case::Cases;

/// The dedication of the corpus to the public domain.
pub const LICENSE: &str = include_str!("../corpus-license.txt");

/// The whole corpus.
pub fn corpus() -> Cases {
    let mut cases = Cases::default();
    valid::add(&mut cases);
    invalid::add(&mut cases);
    prefixes::add(&mut cases);
    encode::add(&mut cases);
    cases
}
