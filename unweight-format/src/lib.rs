//! The Unweight container: types, parser and writer.
//!
//! The authority is `spec/unweight.md`. Section numbers in this crate's documentation refer to it.
//!
//! Modules:
//!
//! - `parse` (private) turns bytes into raw fields, without checks;
//! - [`validate`] turns raw fields into types that are valid by construction: a [`Directory`] or a
//!   [`Record`] needs no further checks;
//! - [`write`](mod@write) (feature `alloc`) turns types into bytes, and does not use the parser;
//! - [`layout`] has every offset, size and magic number, [`limits`] every limit, [`Rule`] every
//!   reason to reject.
//!
//! Parsing borrows from the caller's bytes and allocates nothing. No input makes it panic.
//!
//! ```
//! # fn main() -> Result<(), unweight_format::Error> {
//! # let file = include_bytes!("../tests/data/example.unw");
//! use unweight_format::{Directory, FileHeader};
//!
//! let header = FileHeader::parse(file)?;
//! let directory = Directory::parse(&header, header.directory().of(file).unwrap())?;
//! for tensor in directory.tensors() {
//!     println!("{} {} {:?}", tensor.name(), tensor.dtype(), tensor.shape().collect::<Vec<_>>());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Features, all additive: `alloc` (the writer), `std` (default), `serde`.

#![no_std]
#![forbid(unsafe_code)]

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod code;
mod dtype;
mod encoding;
mod error;
mod extent;
pub mod layout;
pub mod limits;
mod palette;
mod parse;
pub mod validate;
mod weight;
#[cfg(feature = "alloc")]
pub mod write;

pub use code::{CanonicalCode, Code};
pub use dtype::Dtype;
pub use encoding::{Encoding, SourceKind};
pub use error::{Category, Error, Expected, Rule};
pub use extent::Extent;
pub use palette::Palette;
#[cfg(feature = "alloc")]
pub use validate::DirectoryBuf;
pub use validate::{
    Body, ChunkShape, CodedPlanes, Directory, FileHeader, Lanes, Patch, Patches, Payload, RawPlane,
    Record, RecordEnds, Tensor, UncheckedRecord, require_zero,
};
pub use weight::{exponent, sign_mantissa, weight};

/// CRC-32 of ISO 3309, as in zlib and PNG (section 8).
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
