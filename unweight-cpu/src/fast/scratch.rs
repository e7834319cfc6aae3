//! Reusable buffers and tables of one worker.

use unweight_format::layout::LANES;
use unweight_format::{Code, Lanes, Palette, Patch};

use super::decode_table::DecodeTable;
use super::encode_table::EncodeTable;
use super::lanes::{LaneBuffer, ROW_BYTES, Rows};
use super::layout::Placing;

/// Weights of the largest chunk.
pub(super) const LARGEST_CHUNK: usize = 1 << 16;

/// The values of a field in a chunk, and of the surplus of a short last step.
pub(super) type Values = Box<[u8; LARGEST_CHUNK]>;

/// Buffers and tables for one chunk at a time. Each worker has its own and reuses it. The previous
/// content does not matter.
///
/// It takes some 210 KiB, and up to 512 KiB after encoding chunks of the largest size. Each coded
/// field of a tensor but the first takes another 97 KiB.
#[derive(Debug)]
pub struct Scratch {
    /// Tables for decoding, one for each coded field.
    pub(super) tables: Vec<DecodeTable>,
    /// The number of the table that kernels decode with.
    pub(super) table_number: usize,
    /// Buffers for decoding.
    pub(super) lanes: LaneBuffer,
    /// Values lane by lane for decoding, lane streams for encoding.
    pub(super) rows: Box<Rows>,
    /// Buffers for encoding, and the values of both.
    pub(super) codes: EncodeTable,
    /// The values of each coded field; see [`with_values`](Scratch::with_values).
    pub(super) values: Vec<Values>,
    pub(super) body: Vec<u8>,
    pub(super) positions: Vec<u16>,
    pub(super) patches: Vec<Patch>,
}

impl Default for Scratch {
    fn default() -> Self {
        let rows = vec![[0; ROW_BYTES]; LANES].into_boxed_slice();
        Scratch {
            tables: vec![DecodeTable::default()],
            table_number: 0,
            lanes: LaneBuffer::default(),
            rows: rows.try_into().expect("as many as were made"),
            codes: EncodeTable::default(),
            values: vec![no_values()],
            body: Vec::new(),
            positions: Vec::new(),
            patches: Vec::new(),
        }
    }
}

impl Scratch {
    /// The most memory that the buffers take after encoding or decoding tensors with so many coded
    /// fields, in bytes.
    pub const fn most_bytes(coded_fields: usize) -> u64 {
        let further_field = LARGEST_CHUNK + DecodeTable::BYTES;
        (512 << 10) + (further_field * coded_fields.saturating_sub(1)) as u64
    }

    /// Prepares the decoding of a record of coded field `number`. A table of the field that has this
    /// code is kept.
    pub(super) fn prepare(
        &mut self,
        number: usize,
        code: &Code,
        lanes: &Lanes<'_>,
        palette: &Palette,
        placing: Placing,
    ) {
        if self.tables.len() <= number {
            self.tables.resize_with(number + 1, DecodeTable::default);
        }
        self.table_number = number;
        self.tables[number].prepare(code, palette, placing);
        self.lanes.fill(lanes);
    }

    /// The table that kernels decode with.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn table(&self) -> &DecodeTable {
        &self.tables[self.table_number]
    }

    /// Calls `then` with the scratch and with buffers for the values of so many coded fields.
    pub(super) fn with_values<T>(
        &mut self,
        fields: usize,
        then: impl FnOnce(&mut Scratch, &mut [Values]) -> T,
    ) -> T {
        let mut values = std::mem::take(&mut self.values);
        if values.len() < fields {
            values.resize_with(fields, no_values);
        }
        let done = then(self, &mut values[..fields]);
        self.values = values;
        done
    }
}

fn no_values() -> Values {
    let values = vec![0; LARGEST_CHUNK].into_boxed_slice();
    values.try_into().expect("as many as were made")
}
