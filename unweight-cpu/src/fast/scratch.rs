//! Reusable buffers and tables of one worker.

use unweight_format::Patch;
use unweight_format::layout::LANES;

use super::decode_table::DecodeTable;
use super::encode_table::EncodeTable;
use super::lanes::{LaneBuffer, ROW_BYTES, Rows};

/// Weights of the largest chunk.
pub(super) const LARGEST_CHUNK: usize = 1 << 16;

/// Buffers and tables for one chunk at a time. Each worker has its own and reuses it. The previous
/// content does not matter.
///
/// It takes some 210 KiB, and up to 512 KiB after encoding chunks of the largest size.
#[derive(Debug)]
pub struct Scratch {
    /// Buffers for decoding.
    pub(super) table: DecodeTable,
    pub(super) lanes: LaneBuffer,
    /// Exponents lane by lane for decoding, lane streams for encoding.
    pub(super) rows: Box<Rows>,
    /// Buffers for encoding.
    pub(super) codes: EncodeTable,
    pub(super) exponents: Box<[u8; LARGEST_CHUNK]>,
    pub(super) body: Vec<u8>,
    pub(super) positions: Vec<u16>,
    pub(super) patches: Vec<Patch>,
}

impl Default for Scratch {
    fn default() -> Self {
        let rows = vec![[0; ROW_BYTES]; LANES].into_boxed_slice();
        let exponents = vec![0; LARGEST_CHUNK].into_boxed_slice();
        Scratch {
            table: DecodeTable::default(),
            lanes: LaneBuffer::default(),
            rows: rows.try_into().expect("as many as were made"),
            codes: EncodeTable::default(),
            exponents: exponents.try_into().expect("as many as were made"),
            body: Vec::new(),
            positions: Vec::new(),
            patches: Vec::new(),
        }
    }
}
