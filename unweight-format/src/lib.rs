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
//! A file's weights are divided into fields. What is stored of a tensor follows from the [`Forms`]
//! of its fields alone: [`Payload`] says where each part is, [`Palettes`] what coded and constant
//! fields need, [`RecordEnds`] where the records are, and a [`Record`] has the values of one coded
//! field in one chunk. [`bits`] puts them together.
//!
//! Parsing borrows from the caller's bytes and allocates nothing. No input makes it panic.
//!
//! ```
//! # #[cfg(not(feature = "alloc"))]
//! # fn main() {}
//! # #[cfg(feature = "alloc")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use unweight_format::write::{ContainerWriter, Declaration};
//! use unweight_format::{Directory, Dtype, FileHeader, SourceKind};
//!
//! let declared = vec![Declaration::new("step", Dtype::U64, &[])];
//! let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared)?;
//! let mut tensor = writer.raw()?;
//! tensor.write(&42u64.to_le_bytes())?;
//! tensor.finish()?;
//! let file = writer.finish()?;
//!
//! let header = FileHeader::parse(&file)?;
//! let directory = Directory::parse(&header, header.directory().of(&file).unwrap())?;
//! for tensor in directory.tensors() {
//!     println!("{} {} {:?}", tensor.name(), tensor.dtype(), tensor.shape().collect::<Vec<_>>());
//! }
//! let step = directory.find("step").unwrap();
//! assert!(step.forms().is_raw());
//! assert_eq!(step.payload().plain().of(&file), Some(&42u64.to_le_bytes()[..]));
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

pub mod bits;
mod code;
mod dtype;
mod error;
mod extension;
mod extent;
mod field;
mod form;
pub mod layout;
pub mod limits;
mod palette;
mod palettes;
mod parse;
mod payload;
mod record_shape;
mod source_kind;
pub mod validate;
#[cfg(feature = "alloc")]
pub mod write;

pub use code::{CanonicalCode, Code};
pub use dtype::Dtype;
pub use error::{Category, Error, Expected, Rule};
pub use extension::Extension;
pub use extent::Extent;
pub use field::Field;
pub use form::{CodedField, Encoding, Form, Forms};
pub use palette::Palette;
pub use palettes::Palettes;
pub use payload::{ChunkShape, Payload};
pub use record_shape::RecordShape;
pub use source_kind::SourceKind;
#[cfg(feature = "alloc")]
pub use validate::DirectoryBuf;
pub use validate::{
    Body, Directory, Extensions, FileHeader, Lanes, Patch, Patches, Record, RecordEnds, Tensor,
    UncheckedRecord, require_zero,
};

/// CRC-32 of ISO 3309, as in zlib and PNG (section 8).
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
