//! Reading of containers, and the places of their parts.

use half::bf16;
use unweight::container::{OpenFile, restore, transcode};
use unweight::{ReadError, Serial, Storage};
use unweight_format::{CodedPlanes, Directory, Encoding, Extent, FileHeader, Payload};

use crate::weights_in;

/// The restored source of a container with every rule checked, which is the output of `unweight
/// decompress`.
///
/// # Errors
/// The error of the broken rule, or of the storage.
pub fn restored<S: Storage + ?Sized>(file: &S) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let mut bytes = Vec::new();
    restore(&open.container(), &Serial, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    })?;
    Ok(bytes)
}

/// The weights of a valid container of BF16 tensors without a source.
pub fn decoded(file: &[u8]) -> Vec<bf16> {
    weights_in(&restored(file).expect("a valid file"))
}

/// A valid container in another encoding.
pub fn transcoded(file: &[u8], encoding: Encoding) -> Vec<u8> {
    let open = OpenFile::read(file).expect("a valid file");
    transcode(&open.container(), encoding, Vec::new(), &Serial).expect("a valid file")
}

/// The planes of the coded tensors, in the order of the directory. None if header or directory are
/// invalid.
pub fn coded_planes(file: &[u8]) -> Vec<CodedPlanes> {
    let header = FileHeader::parse(file);
    let payloads = header.map_or_else(|_| Vec::new(), |header| payloads(file, &header));
    let coded = payloads.into_iter().filter_map(|payload| match payload {
        Payload::Coded(planes) => Some(planes),
        Payload::Raw(_) => None,
    });
    coded.collect()
}

/// The payloads of a file whose header and directory are valid. None otherwise.
pub fn payloads(file: &[u8], header: &FileHeader) -> Vec<Payload> {
    let directory = header.directory().of(file);
    let directory = directory.and_then(|bytes| Directory::parse(header, bytes).ok());
    directory.map_or_else(Vec::new, |directory| {
        directory
            .tensors()
            .map(|tensor| *tensor.payload())
            .collect()
    })
}

/// The records of these planes with valid ends, each with its number.
pub fn records(file: &[u8], planes: &CodedPlanes) -> Vec<(u64, Extent)> {
    let ends = planes.record_ends().of(file).unwrap_or(&[]).as_chunks().0;
    let mut before = 0;
    let mut found = Vec::new();
    for (number, &end) in (0..).zip(ends) {
        let end = u32::from_le_bytes(end);
        found.extend(
            planes
                .record_between(number, before, end)
                .ok()
                .map(|extent| (number, extent)),
        );
        before = end;
    }
    found
}
