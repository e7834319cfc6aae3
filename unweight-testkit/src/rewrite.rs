//! Records that are written again from their parsed parts.

use std::array;

use unweight_format::layout::LANES;
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{Body, Patch, Record};

/// The record with the same body and these patches. `joined` has the chunk's bytes of the plain
/// plane, or none if the record's checksum does not cover them.
pub fn rewritten(record: &Record<'_>, patches: &[Patch], joined: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    let mut write = |body: &RecordBody<'_>| write_record(body, patches, joined, &mut written);
    match record.body() {
        Body::Verbatim(values) => write(&RecordBody::Verbatim(values)),
        Body::Palette(indices) => write(&RecordBody::Palette(indices)),
        Body::Huffman { code, lanes } => {
            let mut streams = Vec::new();
            let lane_ends: [u16; LANES] = array::from_fn(|lane| {
                streams.extend(lanes.stream(lane));
                streams.len() as u16
            });
            write(&RecordBody::Huffman {
                code,
                lane_ends: &lane_ends,
                streams: &streams,
            });
        }
    }
    written
}
