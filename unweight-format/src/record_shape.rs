//! Shapes of records (section 5).

use crate::form::Encoding;
use crate::layout::{self, STEP_WEIGHTS};
use crate::limits;

/// Properties of a record that its chunk and its field determine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordShape {
    weights: u32,
    width: u8,
    encoding: Encoding,
    joins_plain: bool,
}

impl RecordShape {
    /// A record of a chunk of `weights` weights, 1 to 65,536, and of a field of `width` bits, 1 to
    /// 8, with this encoding. If `joins_plain`, the record is that of the chunk's first coded
    /// field, and its checksum covers the chunk's bytes of the plain plane too.
    ///
    /// # Panics
    /// If `weights` or `width` is outside these ranges.
    pub const fn new(
        weights: u32,
        width: u32,
        encoding: Encoding,
        joins_plain: bool,
    ) -> RecordShape {
        assert!(weights >= 1 && weights <= 1 << *limits::CHUNK_SIZE_LOG2.end());
        assert!(width >= 1 && width <= 8);
        RecordShape {
            weights,
            width: width as u8,
            encoding,
            joins_plain,
        }
    }

    /// Weights of the chunk.
    pub const fn weights(&self) -> u32 {
        self.weights
    }

    /// Steps of the chunk; the last may be short.
    pub const fn steps(&self) -> u32 {
        self.weights.div_ceil(STEP_WEIGHTS as u32)
    }

    /// Bits of the field.
    pub const fn width(&self) -> u32 {
        self.width as u32
    }

    /// Huffman or palette.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the record's checksum covers the chunk's bytes of the plain plane too.
    pub const fn joins_plain(&self) -> bool {
        self.joins_plain
    }

    /// Bytes of the verbatim record: no record of this shape is longer (section 5.1).
    pub const fn longest_bytes(&self) -> u64 {
        layout::longest_record_bytes(self.weights, self.width())
    }
}
