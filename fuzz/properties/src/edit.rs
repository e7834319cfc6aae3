//! Edits of single fields in a valid container, to reach the code after the checksum checks.

use arbitrary::{Result, Unstructured};
use unweight_format::layout::{self, entry, file_header, record};
use unweight_format::{Extent, FileHeader};
use unweight_testkit::{container, payloads, records, repair_checksums};

use crate::draft::some_tensors;

/// The container that these bytes are or describe, with repaired checksums. It is valid, or damaged
/// in a place that byte-level fuzzing seldom reaches.
pub fn any_container(bytes: &[u8]) -> Vec<u8> {
    let mut file = match bytes.starts_with(&layout::MAGIC) {
        true => bytes.to_vec(),
        false => {
            let mut u = Unstructured::new(bytes);
            described(&mut u).unwrap_or_default()
        }
    };
    repair_checksums(&mut file);
    file
}

fn described(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let edits = *u.choose(&[1u8, 1, 1, 2, 3, 0])?;
    let mut file = container(&some_tensors(u)?, u.arbitrary()?);
    for _ in 0..edits {
        edit(&mut file, u)?;
    }
    Ok(file)
}

/// A field: its offset and its width in bytes.
type Field = (u64, usize);

const HEADER_FIELDS: &[Field] = &[
    (0, 1),
    (file_header::MAJOR_VERSION, 2),
    (file_header::MAJOR_VERSION + 2, 2),
    (file_header::TENSOR_COUNT, 4),
    (file_header::FILE_LENGTH, 8),
    (file_header::DIRECTORY_LENGTH, 8),
    (file_header::SOURCE_LENGTH, 8),
    (file_header::EXTENSION_LENGTH, 4),
    (file_header::SOURCE_KIND, 1),
    (file_header::RESERVED, 1),
    (file_header::RESERVED + 2, 1),
];

const ENTRY_FIELDS: &[Field] = &[
    (entry::DTYPE, 1),
    (entry::CHUNK_SIZE, 1),
    (entry::RESERVED_HALF, 2),
    (entry::FORMS, 1),
    (entry::FORMS + 1, 1),
    (entry::FORMS + 3, 1),
    (entry::PAYLOAD_END, 8),
    (entry::TENSOR_CHECKSUM, 4),
    (entry::PALETTE_CHECKSUM, 4),
    (entry::DIMS_END, 4),
    (entry::NAME_END, 4),
    (entry::BY_NAME, 4),
    (entry::RESERVED_WORD, 4),
];

/// Makes one change, mostly in a record.
fn edit(file: &mut Vec<u8>, u: &mut Unstructured<'_>) -> Result<()> {
    let Ok(header) = FileHeader::parse(file) else {
        return Ok(());
    };
    match u.int_in_range(0..=31)? {
        0 => {
            let &field = u.choose(HEADER_FIELDS)?;
            change(file, field, u)
        }
        1..=3 if header.tensor_count() > 0 => {
            let number = u.int_in_range(0..=header.tensor_count() - 1)?;
            let &(offset, width) = u.choose(ENTRY_FIELDS)?;
            let start = layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES * u64::from(number);
            change(file, (start + offset, width), u)
        }
        4 => {
            // A change of dimensions, names or padding.
            let skip = layout::ENTRY_BYTES * u64::from(header.tensor_count());
            let directory = header.directory();
            let rest = Extent {
                offset: directory.offset + skip,
                length: directory.length.saturating_sub(skip),
            };
            change_within(file, rest, &[1, 8], u)
        }
        5 => change_within(file, header.source(), &[1, 8], u),
        6 => {
            let length = u.int_in_range(0..=file.len())?;
            file.truncate(length);
            Ok(())
        }
        7 => {
            file.extend(u.bytes(u.len().min(3))?);
            Ok(())
        }
        8 => {
            let all = Extent {
                offset: 0,
                length: file.len() as u64,
            };
            change_within(file, all, &[1, 2, 4, 8], u)
        }
        _ => edit_payload(file, &header, u),
    }
}

fn edit_payload(file: &mut [u8], header: &FileHeader, u: &mut Unstructured<'_>) -> Result<()> {
    let payloads = payloads(file, header);
    if payloads.is_empty() {
        return Ok(());
    }
    let payload = u.choose(&payloads)?;
    let records = records(file, payload);
    let part = u.int_in_range(0..=15)?;
    if records.is_empty() || part < 3 {
        let extent = match part {
            0 => payload.record_ends(),
            1 | 2 => payload.palettes(),
            3..=5 => payload.block_checksums(),
            6..=12 => payload.plain(),
            _ => payload.extent(),
        };
        return change_within(file, extent, &[1, 4], u);
    }
    let record = u.choose(&records)?;
    let at = record.extent;
    match u.int_in_range(0..=7)? {
        0 => {
            let &(offset, width) = u.choose(&[
                (record::KIND, 1),
                (record::RESERVED, 1),
                (record::PATCH_COUNT, 2),
            ])?;
            change(file, (at.offset + offset, width), u)
        }
        1 => {
            let lengths = Extent {
                offset: at.offset + record::CODE_LENGTHS,
                length: layout::CODE_LENGTHS_BYTES as u64,
            };
            change_within(file, lengths, &[1], u)
        }
        2 | 3 => {
            let lane = u.int_in_range(0..=layout::LANES as u64 - 1)?;
            change(file, (at.offset + record::LANE_ENDS + 2 * lane, 2), u)
        }
        4 => change_within(file, payload.chunk(record.chunk).plain, &[1], u),
        // A change of patches or padding.
        5 => {
            let tail = at.length.min(24);
            let tail = Extent {
                offset: at.end() - tail,
                length: tail,
            };
            change_within(file, tail, &[1, 2], u)
        }
        _ => change_within(file, at, &[1, 2, 4], u),
    }
}

fn change_within(
    file: &mut [u8],
    extent: Extent,
    widths: &[usize],
    u: &mut Unstructured<'_>,
) -> Result<()> {
    if extent.length == 0 {
        return Ok(());
    }
    let at = extent.offset + u.int_in_range(0..=extent.length - 1)?;
    let &width = u.choose(widths)?;
    change(file, (at, width), u)
}

/// Writes another value to a field: an extreme one, a neighbour of the old one, or an arbitrary
/// one.
fn change(file: &mut [u8], (offset, width): Field, u: &mut Unstructured<'_>) -> Result<()> {
    let field = file
        .get_mut(offset as usize..)
        .and_then(|rest| rest.get_mut(..width));
    let Some(field) = field else {
        return Ok(());
    };
    let mut value = [0; 8];
    value[..width].copy_from_slice(field);
    let value = u64::from_le_bytes(value);
    let changed = match u.int_in_range(0..=9)? {
        0 => 0,
        1 => u64::MAX,
        2 => value.wrapping_add(1),
        3 => value.wrapping_sub(1),
        4 => value.wrapping_add(16),
        5 => value.wrapping_sub(256),
        6 => value ^ 1 << u.int_in_range(0..=8 * width - 1)?,
        7 => 1 << u.int_in_range(0..=63)?,
        8 => u.int_in_range(0..=255)?,
        _ => u.arbitrary()?,
    };
    field.copy_from_slice(&changed.to_le_bytes()[..width]);
    Ok(())
}
