//! An extension item's fields (section 3.4).

use nom::number::complete::le_u32;

use super::{Parsed, front};

/// The fields in front of an extension item's contents.
pub(crate) struct RawExtension {
    pub(crate) kind: u32,
    pub(crate) length: u32,
}

impl RawExtension {
    pub(crate) fn parse(input: &[u8]) -> Option<RawExtension> {
        front(input, extension)
    }
}

fn extension(input: &[u8]) -> Parsed<'_, RawExtension> {
    let (input, kind) = le_u32(input)?;
    let (input, length) = le_u32(input)?;
    Ok((input, RawExtension { kind, length }))
}
