//! Palettes and record ends of a tensor, and the pieces in which it is decoded.

use std::ops::Range;

use unweight_format::{Extent, Palettes, Payload, RecordEnds, Tensor, layout};

use super::Container;
use crate::memory::index_bytes;
use crate::storage::coalesce::Window;
use crate::{Purpose, ReadError, Storage};

/// The palettes and record ends of a tensor, or of some of its chunks, all checked: what decoding
/// needs beside plain bytes and records.
#[derive(Clone, Copy, Debug)]
pub struct TensorIndex<'b> {
    payload: Payload,
    palettes: Palettes,
    ends: RecordEnds<'b>,
}

impl<'b> TensorIndex<'b> {
    /// The extents of the payload's parts.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The palettes, with the values of constant fields.
    pub const fn palettes(&self) -> &Palettes {
        &self.palettes
    }

    /// The record ends; none if no field is coded.
    pub const fn record_ends(&self) -> &RecordEnds<'b> {
        &self.ends
    }

    /// The number of pieces that are decoded on their own; see [`piece_weights`].
    pub(super) fn piece_count(&self) -> u64 {
        self.payload
            .weights()
            .div_ceil(piece_weights(&self.payload))
    }

    /// The weights of piece `number`.
    pub(super) fn piece(&self, number: u64) -> Range<u64> {
        let start = number * piece_weights(&self.payload);
        start
            ..self
                .payload
                .weights()
                .min(start + piece_weights(&self.payload))
    }

    /// The original bytes of piece `number`.
    pub(super) fn piece_bytes(&self, number: u64) -> u64 {
        let piece = self.piece(number);
        (piece.end - piece.start) * weight_bytes(&self.payload)
    }
}

/// Weights of every piece of a tensor but the last: those of a chunk if it is coded, else those of a
/// block if it is raw, else so many that most blocks are in one piece. The plain bits of a piece
/// begin at bit 0 of a byte.
pub(super) fn piece_weights(payload: &Payload) -> u64 {
    /// Original bytes of a piece with constant fields and without records.
    const BYTES: u64 = 4 * layout::BLOCK_BYTES;
    let forms = payload.forms();
    if forms.is_coded() {
        1 << payload.chunk_size_log2()
    } else if forms.is_raw() {
        layout::BLOCK_BYTES / weight_bytes(payload)
    } else {
        BYTES / weight_bytes(payload)
    }
}

pub(super) const fn weight_bytes(payload: &Payload) -> u64 {
    payload.forms().dtype().weight_bytes() as u64
}

impl<S: Storage + ?Sized> Container<'_, S> {
    /// Reads and checks the palettes and record ends of a tensor. They are borrowed or read into
    /// `buffer`: 16 bytes for each field that is not plain, and 4 for each chunk and coded field.
    ///
    /// # Errors
    /// `palette-crc`, `palette-values`, `record-ends`, `record-too-long`; the errors of the
    /// storage; [`ReadError::OverBudget`].
    pub fn index<'b>(
        &'b self,
        tensor: &Tensor<'_>,
        buffer: &'b mut Vec<u8>,
    ) -> Result<TensorIndex<'b>, ReadError> {
        let needed = self.held_bytes() + index_bytes(tensor);
        self.budget.require(Purpose::Tensor, needed)?;
        let payload = tensor.payload();
        let palettes = payload.palettes();
        let bytes = self.read(palettes_and(palettes, payload.record_ends()), buffer)?;
        let (stored, ends) = bytes.split_at(palettes.length as usize);
        Ok(TensorIndex {
            payload: *payload,
            palettes: Palettes::parse(tensor, stored)?,
            ends: RecordEnds::parse(payload, ends)?,
        })
    }

    /// Same as [`Container::index`], but with the record ends of these chunks alone. The palettes
    /// are read if they are not given. The bytes are few, and not counted towards the budget.
    pub(super) fn index_of_chunks<'b>(
        &'b self,
        tensor: &Tensor<'_>,
        palettes: Option<Palettes>,
        chunks: Range<u64>,
        buffer: &'b mut Vec<u8>,
    ) -> Result<TensorIndex<'b>, ReadError> {
        let payload = tensor.payload();
        let stored = payload.palettes();
        let wanted = payload.record_ends_of(chunks.clone());
        let together = palettes_and(stored, wanted);
        let (palettes, ends) = match palettes {
            Some(palettes) => (palettes, self.read(wanted, buffer)?),
            None if together.length == stored.length + wanted.length => {
                let bytes = self.read(together, buffer)?;
                let (stored, ends) = bytes.split_at(stored.length as usize);
                (Palettes::parse(tensor, stored)?, ends)
            }
            None => {
                let mut window = Window::default();
                let container = self.with_both(tensor, [stored, wanted], &mut window);
                let mut bytes = Vec::new();
                let palettes = Palettes::parse(tensor, container.read(stored, &mut bytes)?)?;
                let mut bytes = Vec::new();
                let ends = container.read(wanted, &mut bytes)?;
                buffer.clear();
                buffer.extend_from_slice(ends);
                (palettes, &buffer[..])
            }
        };
        Ok(TensorIndex {
            payload: *payload,
            palettes,
            ends: RecordEnds::parse_chunks(payload, chunks, ends)?,
        })
    }
}

/// The palettes, and the file up to the end of these record ends behind them.
fn palettes_and(palettes: Extent, ends: Extent) -> Extent {
    Extent {
        offset: palettes.offset,
        length: ends.end() - palettes.offset,
    }
}
