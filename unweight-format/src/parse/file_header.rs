//! The file header's fields (section 3.1).

use nom::number::complete::{le_u8, le_u16, le_u32, le_u64};

use super::{Parsed, array, front};
use crate::layout::MAGIC;

/// Raw fields of the file header. The caller compares the magic.
pub(crate) struct RawFileHeader {
    pub(crate) major_version: u16,
    pub(crate) minor_version: u16,
    pub(crate) tensor_count: u32,
    pub(crate) file_length: u64,
    pub(crate) directory_length: u64,
    pub(crate) source_length: u64,
    pub(crate) directory_checksum: u32,
    pub(crate) source_checksum: u32,
    pub(crate) extension_length: u32,
    pub(crate) extension_checksum: u32,
    pub(crate) source_kind: u8,
    pub(crate) reserved: [u8; 3],
    pub(crate) header_checksum: u32,
}

impl RawFileHeader {
    pub(crate) fn parse(input: &[u8]) -> Option<RawFileHeader> {
        front(input, file_header)
    }
}

fn file_header(input: &[u8]) -> Parsed<'_, RawFileHeader> {
    let (input, _magic) = array::<{ MAGIC.len() }>(input)?;
    let (input, major_version) = le_u16(input)?;
    let (input, minor_version) = le_u16(input)?;
    let (input, tensor_count) = le_u32(input)?;
    let (input, file_length) = le_u64(input)?;
    let (input, directory_length) = le_u64(input)?;
    let (input, source_length) = le_u64(input)?;
    let (input, directory_checksum) = le_u32(input)?;
    let (input, source_checksum) = le_u32(input)?;
    let (input, extension_length) = le_u32(input)?;
    let (input, extension_checksum) = le_u32(input)?;
    let (input, source_kind) = le_u8(input)?;
    let (input, reserved) = array(input)?;
    let (input, header_checksum) = le_u32(input)?;
    let header = RawFileHeader {
        major_version,
        minor_version,
        tensor_count,
        file_length,
        directory_length,
        source_length,
        directory_checksum,
        source_checksum,
        extension_length,
        extension_checksum,
        source_kind,
        reserved,
        header_checksum,
    };
    Ok((input, header))
}
