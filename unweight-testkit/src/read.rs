//! Reading of containers, and the places of their parts.

use half::bf16;
use unweight::container::{OpenFile, restore, transcode};
use unweight::{ReadError, Serial, Storage};
use unweight_format::layout::{RECORD_ALIGNMENT, RECORD_END_BYTES};
use unweight_format::{CodedField, Directory, Encoding, Extent, FileHeader, Payload, RecordShape};

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

/// A record of a file, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct FoundRecord {
    /// The number of its chunk.
    pub chunk: u64,
    /// Its field.
    pub coded: CodedField,
    /// What a record there must be like.
    pub shape: RecordShape,
    /// Its bytes.
    pub extent: Extent,
    /// The bytes of the plain plane that its checksum covers too. None if that is nothing.
    pub joined: Option<Extent>,
}

impl FoundRecord {
    /// The bytes of the plain plane that its checksum covers too.
    pub fn joined<'f>(&self, file: &'f [u8]) -> Option<&'f [u8]> {
        match self.joined {
            Some(extent) => extent.of(file),
            None => Some(&[]),
        }
    }
}

/// The payloads of the coded tensors, in the order of the directory. None if header or directory
/// are invalid.
pub fn coded_payloads(file: &[u8]) -> Vec<Payload> {
    let header = FileHeader::parse(file);
    let mut payloads = header.map_or_else(|_| Vec::new(), |header| payloads(file, &header));
    payloads.retain(|payload| payload.forms().is_coded());
    payloads
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

/// The records of a payload with valid ends.
pub fn records(file: &[u8], payload: &Payload) -> Vec<FoundRecord> {
    let ends = payload.record_ends().of(file).unwrap_or(&[]);
    let mut ends = ends.as_chunks::<{ RECORD_END_BYTES as usize }>().0.iter();
    let mut before = 0;
    let mut found = Vec::new();
    for number in 0..payload.chunk_count() {
        let chunk = payload.chunk(number);
        for coded in payload.forms().coded() {
            let Some(&end) = ends.next() else {
                return found;
            };
            let (start, end) = (
                before,
                u64::from(u32::from_le_bytes(end)) * RECORD_ALIGNMENT,
            );
            before = end;
            let shape = payload.record_shape(&chunk, &coded);
            let length = end.saturating_sub(start);
            let fits = (1..=shape.longest_bytes()).contains(&length);
            if fits && end <= payload.records().length {
                found.push(FoundRecord {
                    chunk: number,
                    coded,
                    shape,
                    extent: Extent {
                        offset: payload.records().offset + start,
                        length,
                    },
                    joined: shape.joins_plain().then_some(chunk.plain),
                });
            }
        }
    }
    found
}
