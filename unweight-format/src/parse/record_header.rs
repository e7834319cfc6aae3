//! A record header's fields (section 5.1).

use nom::number::complete::{le_u8, le_u16, le_u32};

use super::{Parsed, array, front};
use crate::layout::CODE_LENGTHS_BYTES;

/// Raw fields of a record header.
pub(crate) struct RawRecordHeader {
    pub(crate) checksum: u32,
    pub(crate) kind: u8,
    pub(crate) reserved: u8,
    pub(crate) patch_count: u16,
    pub(crate) code_lengths: [u8; CODE_LENGTHS_BYTES],
}

impl RawRecordHeader {
    pub(crate) fn parse(input: &[u8]) -> Option<RawRecordHeader> {
        front(input, record_header)
    }
}

fn record_header(input: &[u8]) -> Parsed<'_, RawRecordHeader> {
    let (input, checksum) = le_u32(input)?;
    let (input, kind) = le_u8(input)?;
    let (input, reserved) = le_u8(input)?;
    let (input, patch_count) = le_u16(input)?;
    let (input, code_lengths) = array(input)?;
    let header = RawRecordHeader {
        checksum,
        kind,
        reserved,
        patch_count,
        code_lengths,
    };
    Ok((input, header))
}
