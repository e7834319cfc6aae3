//! Repair of the checksums of a damaged container.

use unweight_format::layout::{self, file_header, record};
use unweight_format::{Extent, FileHeader, Payload, crc32};

use crate::{payloads, records};

/// Corrects every checksum whose position and extent can still be found, except those of tensors.
/// Bytes that are not a container stay unchanged.
pub fn repair_checksums(file: &mut [u8]) {
    repair_front(file);
    let header = FileHeader::parse(file);
    let Some(header) = header
        .ok()
        .filter(|header| header.require_file_length(file.len() as u64).is_ok())
    else {
        return;
    };
    let payloads = payloads(file, &header);
    for (number, payload) in (0..).zip(&payloads) {
        repair_blocks(file, payload);
        repair_records(file, payload);
        if payload.palettes().length > 0
            && let Some(checksum) = payload.palettes().of(file).map(crc32)
        {
            put_in_entry(file, number, layout::entry::PALETTE_CHECKSUM, checksum);
        }
    }
    repair_front(file);
}

/// Writes `checksum` as that of tensor `number`.
pub fn state_tensor_checksum(file: &mut [u8], number: u32, checksum: u32) {
    put_in_entry(file, number, layout::entry::TENSOR_CHECKSUM, checksum);
    repair_front(file);
}

fn put_in_entry(file: &mut [u8], number: u32, offset: u64, checksum: u32) {
    let entry = layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES * u64::from(number);
    put(file, entry + offset, &checksum.to_le_bytes());
}

/// Corrects the checksums of directory, source section, extensions and header.
pub fn repair_front(file: &mut [u8]) {
    let field = |file: &[u8], offset: u64| {
        let bytes = file.get(offset as usize..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let mut offset = layout::FILE_HEADER_BYTES;
    for (length, checksum) in [
        (
            field(file, file_header::DIRECTORY_LENGTH),
            file_header::DIRECTORY_CHECKSUM,
        ),
        (
            field(file, file_header::SOURCE_LENGTH),
            file_header::SOURCE_CHECKSUM,
        ),
        (
            field(file, file_header::EXTENSION_LENGTH).map(|bytes| bytes & u64::from(u32::MAX)),
            file_header::EXTENSION_CHECKSUM,
        ),
    ] {
        let Some(length) = length else {
            break;
        };
        let part = Extent { offset, length };
        let Some(found) = part.of(file).map(crc32) else {
            break;
        };
        put(file, checksum, &found.to_le_bytes());
        offset = part.end();
    }
    let checked = Extent {
        offset: 0,
        length: layout::FILE_HEADER_CHECKED_BYTES as u64,
    };
    if let Some(checksum) = checked.of(file).map(crc32) {
        put(file, file_header::HEADER_CHECKSUM, &checksum.to_le_bytes());
    }
}

fn repair_blocks(file: &mut [u8], payload: &Payload) {
    for number in 0..payload.block_count() {
        if let Some(checksum) = payload.block(number).of(file).map(crc32) {
            let at = payload.block_checksums().offset + number * layout::BLOCK_CHECKSUM_BYTES;
            put(file, at, &checksum.to_le_bytes());
        }
    }
}

fn repair_records(file: &mut [u8], payload: &Payload) {
    for record in records(file, payload) {
        let checked = record
            .extent
            .of(file)
            .and_then(|bytes| bytes.get(layout::RECORD_CHECKED_FROM..));
        if let (Some(checked), Some(joined)) = (checked, record.joined(file)) {
            let checksum = crc32(&[checked, joined].concat());
            let at = record.extent.offset + record::CHECKSUM;
            put(file, at, &checksum.to_le_bytes());
        }
    }
}

fn put(file: &mut [u8], offset: u64, bytes: &[u8]) {
    let place = file
        .get_mut(offset as usize..)
        .and_then(|rest| rest.get_mut(..bytes.len()));
    if let Some(place) = place {
        place.copy_from_slice(bytes);
    }
}
