//! Parsers from bytes to raw fields (nom), without checks. A parser returns `None` if there are too
//! few bytes; it has no other error.

mod entry;
mod extension;
mod file_header;
mod record_header;

pub(crate) use entry::RawEntry;
pub(crate) use extension::RawExtension;
pub(crate) use file_header::RawFileHeader;
pub(crate) use record_header::RawRecordHeader;

use nom::{IResult, Parser, error::ErrorKind};

/// Result of a nom parser. Its only error is that bytes are missing.
type Parsed<'a, T> = IResult<&'a [u8], T, (&'a [u8], ErrorKind)>;

/// The next `N` bytes as an array.
fn array<const N: usize>(input: &[u8]) -> Parsed<'_, [u8; N]> {
    nom::bytes::complete::take(N)
        .map(|bytes: &[u8]| {
            let mut array = [0; N];
            array.copy_from_slice(bytes);
            array
        })
        .parse(input)
}

/// The raw fields at the start of `input`. The bytes after them are ignored.
fn front<'a, T>(input: &'a [u8], parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>) -> Option<T> {
    parser(input).ok().map(|(_, record)| record)
}
