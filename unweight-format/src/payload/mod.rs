//! The parts of a tensor's payload (section 3.5).

mod place;

use core::ops::Range;

use crate::extent::Extent;
use crate::form::{CodedField, Forms};
use crate::layout;
use crate::record_shape::RecordShape;

/// The payload of a tensor: its forms, and the extents of its parts in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    forms: Forms,
    weights: u64,
    /// 0 if no field is coded.
    chunk_size_log2: u8,
    plain: Extent,
    block_checksums: Extent,
    palettes: Extent,
    record_ends: Extent,
    records: Extent,
}

/// One chunk of a coded tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkShape {
    /// The chunk's number in its tensor.
    pub number: u64,
    /// Number of its first weight in the tensor.
    pub first_weight: u64,
    /// Its number of weights, 1 to 65,536.
    pub weights: u32,
    /// Its bytes of the plain plane in the file.
    pub plain: Extent,
}

impl Payload {
    /// The forms of the fields.
    pub const fn forms(&self) -> Forms {
        self.forms
    }

    /// Number of weights, *n*.
    pub const fn weights(&self) -> u64 {
        self.weights
    }

    /// Offset where the payload starts. There may be padding before it.
    pub const fn start(&self) -> u64 {
        self.plain.offset
    }

    /// Offset where the payload ends.
    pub const fn end(&self) -> u64 {
        self.records.end()
    }

    /// The whole payload, from [`start`](Payload::start) to [`end`](Payload::end).
    pub const fn extent(&self) -> Extent {
        Extent {
            offset: self.start(),
            length: self.end() - self.start(),
        }
    }

    /// The plain plane: numbers of [`Forms::plain_bits`] bits, one for each weight.
    pub const fn plain(&self) -> Extent {
        self.plain
    }

    /// The bytes of the plain plane that hold the plain bits of these weights, which must not
    /// exceed the tensor's.
    pub const fn plain_of_weights(&self, weights: Range<u64>) -> Extent {
        let width = self.forms.plain_bits() as u64;
        let (start, end) = (weights.start * width / 8, (weights.end * width).div_ceil(8));
        self.plain.part(start, end - start)
    }

    /// The bytes of the plain plane of these chunks, which must not exceed the tensor's.
    pub fn plain_of_chunks(&self, chunks: Range<u64>) -> Extent {
        let end = (chunks.end << self.chunk_size_log2).min(self.weights);
        self.plain_of_weights(chunks.start << self.chunk_size_log2..end)
    }

    /// The block checksums, a u32 each. There are none if a field is coded or the plain plane has
    /// at most 65,536 bytes.
    pub const fn block_checksums(&self) -> Extent {
        self.block_checksums
    }

    /// Number of block checksums, *b*.
    pub const fn block_count(&self) -> u64 {
        self.block_checksums.length / layout::BLOCK_CHECKSUM_BYTES
    }

    /// Block `number` of the plain plane, which must be less than the block count.
    pub fn block(&self, number: u64) -> Extent {
        let skip = number * layout::BLOCK_BYTES;
        let length = (self.plain.length - skip).min(layout::BLOCK_BYTES);
        self.plain.part(skip, length)
    }

    /// The palettes, 16 bytes for each field that is not plain.
    pub const fn palettes(&self) -> Extent {
        self.palettes
    }

    /// Binary logarithm of the number of weights of every chunk but the last; 0 if no field is
    /// coded.
    pub const fn chunk_size_log2(&self) -> u8 {
        self.chunk_size_log2
    }

    /// Number of chunks, *c*; 0 if no field is coded.
    pub const fn chunk_count(&self) -> u64 {
        match self.forms.is_coded() {
            true => self.weights.div_ceil(1 << self.chunk_size_log2),
            false => 0,
        }
    }

    /// Chunk `number`, which must be less than the chunk count.
    pub fn chunk(&self, number: u64) -> ChunkShape {
        let first_weight = number << self.chunk_size_log2;
        let weights = (self.weights - first_weight).min(1 << self.chunk_size_log2);
        ChunkShape {
            number,
            first_weight,
            weights: weights as u32,
            plain: self.plain_of_weights(first_weight..first_weight + weights),
        }
    }

    /// Number of records: one for each chunk and coded field.
    pub const fn record_count(&self) -> u64 {
        self.record_ends.length / layout::RECORD_END_BYTES
    }

    /// Number of the record of a chunk and a coded field, both given by their numbers.
    pub const fn record_index(&self, chunk: u64, coded_field: usize) -> u64 {
        chunk * self.forms.coded_count() as u64 + coded_field as u64
    }

    /// The shape of the record of this chunk and coded field.
    pub const fn record_shape(&self, chunk: &ChunkShape, coded: &CodedField) -> RecordShape {
        let (width, is_first) = (coded.field.width(), coded.number == 0);
        RecordShape::new(chunk.weights, width, coded.encoding, is_first)
    }

    /// The record ends, a u32 each.
    pub const fn record_ends(&self) -> Extent {
        self.record_ends
    }

    /// The record ends that locate the records of these chunks: their own, and the one before. The
    /// chunks must not exceed the tensor's.
    pub const fn record_ends_of(&self, chunks: Range<u64>) -> Extent {
        let start = self.record_index(chunks.start, 0).saturating_sub(1);
        let end = self.record_index(chunks.end, 0);
        let bytes = layout::RECORD_END_BYTES;
        self.record_ends.part(bytes * start, bytes * (end - start))
    }

    /// The records together.
    pub const fn records(&self) -> Extent {
        self.records
    }

    /// Padding between the parts, from the plain plane on. An extent may be empty.
    pub const fn padding(&self) -> [Extent; 3] {
        [
            between(self.plain, self.block_checksums),
            between(self.block_checksums, self.palettes),
            between(self.record_ends, self.records),
        ]
    }
}

/// The bytes between two extents.
const fn between(left: Extent, right: Extent) -> Extent {
    Extent {
        offset: left.end(),
        length: right.offset - left.end(),
    }
}
