//! Repair of the checksums of a damaged container.

use unweight_format::layout::{self, file_header, record};
use unweight_format::{CodedPlanes, Extent, FileHeader, Payload, RawPlane, crc32};

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
    for payload in payloads(file, &header) {
        match payload {
            Payload::Raw(plane) => repair_blocks(file, &plane),
            Payload::Coded(planes) => repair_records(file, &planes),
        }
    }
}

/// Writes `checksum` as that of tensor `number`.
pub fn state_tensor_checksum(file: &mut [u8], number: u32, checksum: u32) {
    let entry = layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES * u64::from(number);
    put(
        file,
        entry + layout::entry::TENSOR_CHECKSUM,
        &checksum.to_le_bytes(),
    );
    repair_front(file);
}

/// Corrects the checksums of directory, source section and header.
pub fn repair_front(file: &mut [u8]) {
    let field = |offset: u64| {
        let bytes = file.get(offset as usize..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let (Some(directory_length), Some(source_length)) = (
        field(file_header::DIRECTORY_LENGTH),
        field(file_header::SOURCE_LENGTH),
    ) else {
        return;
    };
    let directory = Extent {
        offset: layout::FILE_HEADER_BYTES,
        length: directory_length,
    };
    if let Some(checksum) = directory.of(file).map(crc32) {
        put(
            file,
            file_header::DIRECTORY_CHECKSUM,
            &checksum.to_le_bytes(),
        );
        let source = Extent {
            offset: directory.end(),
            length: source_length,
        };
        if let Some(checksum) = source.of(file).map(crc32) {
            put(file, file_header::SOURCE_CHECKSUM, &checksum.to_le_bytes());
        }
    }
    let checked = Extent {
        offset: 0,
        length: layout::FILE_HEADER_CHECKED_BYTES as u64,
    };
    if let Some(checksum) = checked.of(file).map(crc32) {
        put(file, file_header::HEADER_CHECKSUM, &checksum.to_le_bytes());
    }
}

fn repair_blocks(file: &mut [u8], plane: &RawPlane) {
    for number in 0..plane.block_count() {
        if let Some(checksum) = plane.block(number).of(file).map(crc32) {
            let at = plane.checksums().offset + number * layout::BLOCK_CHECKSUM_BYTES;
            put(file, at, &checksum.to_le_bytes());
        }
    }
}

fn repair_records(file: &mut [u8], planes: &CodedPlanes) {
    for (number, record) in records(file, planes) {
        let checked = record
            .of(file)
            .and_then(|bytes| bytes.get(layout::RECORD_CHECKED_FROM..));
        let sign_mantissa = planes.chunk(number).sign_mantissa.of(file);
        if let (Some(checked), Some(sign_mantissa)) = (checked, sign_mantissa) {
            let checksum = crc32(&[checked, sign_mantissa].concat());
            put(
                file,
                record.offset + record::CHECKSUM,
                &checksum.to_le_bytes(),
            );
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
