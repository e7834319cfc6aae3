//! A directory entry's fields (section 3.2).

use nom::number::complete::{le_u8, le_u16, le_u32, le_u64};

use super::{Parsed, front};

/// Raw fields of a directory entry.
#[derive(Clone, Copy)]
pub(crate) struct RawEntry {
    pub(crate) dtype: u8,
    pub(crate) chunk_size_log2: u8,
    pub(crate) reserved_half: u16,
    pub(crate) forms: u32,
    pub(crate) payload_end: u64,
    pub(crate) tensor_checksum: u32,
    pub(crate) palette_checksum: u32,
    pub(crate) dims_end: u32,
    pub(crate) name_end: u32,
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
    let (input, chunk_size_log2) = le_u8(input)?;
    let (input, reserved_half) = le_u16(input)?;
    let (input, forms) = le_u32(input)?;
    let (input, payload_end) = le_u64(input)?;
    let (input, tensor_checksum) = le_u32(input)?;
    let (input, palette_checksum) = le_u32(input)?;
    let (input, dims_end) = le_u32(input)?;
    let (input, name_end) = le_u32(input)?;
    let (input, by_name) = le_u32(input)?;
    let (input, reserved_word) = le_u32(input)?;
    let entry = RawEntry {
        dtype,
        chunk_size_log2,
        reserved_half,
        forms,
        payload_end,
        tensor_checksum,
        palette_checksum,
        dims_end,
        name_end,
        by_name,
        reserved_word,
    };
    Ok((input, entry))
}
