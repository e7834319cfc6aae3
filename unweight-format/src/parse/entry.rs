//! A directory entry's fields (section 3.2).

use nom::number::complete::{le_u8, le_u32, le_u64};

use super::{Parsed, array, front};
use crate::layout::PALETTE_ENTRIES;

/// Raw fields of a directory entry.
#[derive(Clone, Copy)]
pub(crate) struct RawEntry {
    pub(crate) dtype: u8,
    pub(crate) encoding: u8,
    pub(crate) chunk_size_log2: u8,
    pub(crate) reserved_byte: u8,
    pub(crate) tensor_checksum: u32,
    pub(crate) dims_end: u32,
    pub(crate) name_end: u32,
    pub(crate) payload_end: u64,
    pub(crate) palette: [u8; PALETTE_ENTRIES],
    pub(crate) by_name: u32,
    pub(crate) reserved_word: u32,
}

impl RawEntry {
    pub(crate) fn parse(input: &[u8]) -> Option<RawEntry> {
        front(input, entry)
    }
}

fn entry(input: &[u8]) -> Parsed<'_, RawEntry> {
    let (input, dtype) = le_u8(input)?;
    let (input, encoding) = le_u8(input)?;
    let (input, chunk_size_log2) = le_u8(input)?;
    let (input, reserved_byte) = le_u8(input)?;
    let (input, tensor_checksum) = le_u32(input)?;
    let (input, dims_end) = le_u32(input)?;
    let (input, name_end) = le_u32(input)?;
    let (input, payload_end) = le_u64(input)?;
    let (input, palette) = array(input)?;
    let (input, by_name) = le_u32(input)?;
    let (input, reserved_word) = le_u32(input)?;
    let entry = RawEntry {
        dtype,
        encoding,
        chunk_size_log2,
        reserved_byte,
        tensor_checksum,
        dims_end,
        name_end,
        payload_end,
        palette,
        by_name,
        reserved_word,
    };
    Ok((input, entry))
}
