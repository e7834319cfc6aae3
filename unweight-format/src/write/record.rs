//! A record's bytes (section 5).

use alloc::vec::Vec;

use crate::code::Code;
use crate::layout::{self, CODE_LENGTHS_BYTES, LANES};
use crate::validate::Patch;

/// The body of a record to be written.
#[derive(Clone, Copy, Debug)]
pub enum RecordBody<'a> {
    /// The values of the chunk's weights, a bit string of numbers of the field's width.
    Verbatim(&'a [u8]),
    /// Lane streams.
    Huffman {
        /// The code of the streams.
        code: &'a Code,
        /// End of each lane in `streams`.
        lane_ends: &'a [u16; LANES],
        /// The lane streams, one after another.
        streams: &'a [u8],
    },
    /// Palette indices, 128 bytes a step.
    Palette(&'a [u8]),
}

impl RecordBody<'_> {
    /// Bytes of a record with this body and `patch_count` patches.
    pub fn record_bytes(&self, patch_count: usize) -> usize {
        let body = match self {
            RecordBody::Verbatim(bytes) | RecordBody::Palette(bytes) => bytes.len(),
            RecordBody::Huffman { streams, .. } => layout::LANE_ENDS_BYTES + streams.len(),
        };
        (layout::RECORD_HEADER_BYTES + body + layout::PATCH_BYTES * patch_count)
            .next_multiple_of(layout::RECORD_ALIGNMENT as usize)
    }
}

/// Appends a record to `output`. Its checksum covers `joined` too: the chunk's bytes of the plain
/// plane in the record of the chunk's first coded field, no bytes in any other.
///
/// # Panics
/// If there are more than 65,535 patches, or any in a verbatim record. A record with more would
/// be longer than its chunk's verbatim record, which the format forbids.
pub fn write_record(body: &RecordBody<'_>, patches: &[Patch], joined: &[u8], output: &mut Vec<u8>) {
    let start = output.len();
    let (kind, code_lengths) = match body {
        RecordBody::Verbatim(_) => (layout::KIND_VERBATIM, [0; CODE_LENGTHS_BYTES]),
        RecordBody::Huffman { code, .. } => (layout::KIND_HUFFMAN, code.to_bytes()),
        RecordBody::Palette(_) => (layout::KIND_PALETTE, [0; CODE_LENGTHS_BYTES]),
    };
    let patch_count = u16::try_from(patches.len()).expect("fewer than 65,536 patches");
    assert!(
        patch_count == 0 || kind != layout::KIND_VERBATIM,
        "a verbatim record has no patches"
    );

    output.extend([0; layout::RECORD_CHECKED_FROM]);
    output.extend([kind, 0]);
    output.extend(patch_count.to_le_bytes());
    output.extend(code_lengths);
    match body {
        RecordBody::Verbatim(bytes) | RecordBody::Palette(bytes) => output.extend_from_slice(bytes),
        RecordBody::Huffman {
            lane_ends, streams, ..
        } => {
            output.extend(lane_ends.iter().flat_map(|end| end.to_le_bytes()));
            output.extend_from_slice(streams);
        }
    }
    for patch in patches {
        output.extend(patch.position.to_le_bytes());
        output.push(patch.value);
    }
    output.resize(start + body.record_bytes(patches.len()), 0);

    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&output[start + layout::RECORD_CHECKED_FROM..]);
    checksum.update(joined);
    output[start..start + layout::RECORD_CHECKED_FROM]
        .copy_from_slice(&checksum.finalize().to_le_bytes());
}
