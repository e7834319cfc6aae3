//! Writes the conformance corpus of the Unweight bitstream.
//!
//! - A [`draft::Draft`] describes a file down to the bits of each lane. [`draft::Draft::forge`]
//!   creates its bytes. Layout, codes and lane streams are a second implementation of the
//!   specification, and the expected restored source of a valid file comes from its draft. No case
//!   depends on the decoder under test.
//! - A [`forge::Forge`] changes bytes of such a file and updates the checksums.
//! - [`valid`], [`invalid`], [`prefixes`], [`encode`], [`refuse`] and [`transcode`] have the cases.
//!   The files that an encoder or a transcoder must write come from those in Python in
//!   `conformance/decoders/python`.
//!
//! Everything is deterministic: the same code gives the same corpus.

#![forbid(unsafe_code)]

pub mod case;
pub mod code;
pub mod draft;
pub mod encode;
pub mod fields;
pub mod forge;
pub mod inner;
pub mod invalid;
pub mod made;
pub mod manifest;
pub mod prefixes;
pub mod python;
pub mod random;
pub mod record;
pub mod refuse;
pub mod source;
pub mod steps;
pub mod store;
pub mod transcode;
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
    refuse::add(&mut cases);
    transcode::add(&mut cases);
    cases
}
