//! The planes of a coded tensor (sections 3.4 and 4.3).

use crate::dtype::Dtype;
use crate::encoding::Encoding;
use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::{self, entry as field};
use crate::limits;
use crate::palette::Palette;
use crate::parse::RawEntry;
use crate::validate::payload::{between, misplaced_end, past_64_bits};
use crate::validate::tensor::Located;

/// The payload of a coded tensor (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedPlanes {
    encoding: Encoding,
    chunk_size_log2: u8,
    palette: Palette,
    sign_mantissa: Extent,
    record_ends: Extent,
    records: Extent,
}

/// One chunk of a coded tensor: its weights and the extent of their sign-mantissa bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkShape {
    /// The chunk's number in its tensor.
    pub number: u64,
    /// Number of its first weight in the tensor.
    pub first_weight: u64,
    /// Its number of weights, 1 to 65,536.
    pub weights: u32,
    /// Its sign-mantissa bytes in the file.
    pub sign_mantissa: Extent,
}

impl CodedPlanes {
    /// The planes of a coded tensor of `weights` weights.
    pub(super) fn resolve(
        raw: &RawEntry,
        encoding: Encoding,
        dtype: Dtype,
        weights: u64,
        located: &Located<'_>,
    ) -> Result<CodedPlanes, Error> {
        let broken = |rule, offset: u64, found: u64, expected| {
            Err(Error::new(
                rule,
                located.entry_offset + offset,
                found,
                expected,
            ))
        };
        if dtype != Dtype::Bf16 {
            let expected = Expected::Exactly(Dtype::Bf16.code().into());
            return broken(
                Rule::EncodingDtype,
                field::DTYPE,
                dtype.code().into(),
                expected,
            );
        }
        if weights == 0 {
            return broken(
                Rule::EncodingEmpty,
                field::ENCODING,
                0,
                Expected::AtLeast(1),
            );
        }
        if weights > limits::CODED_WEIGHTS {
            let expected = Expected::AtMost(limits::CODED_WEIGHTS);
            return broken(Rule::LimitCoded, field::DIMS_END, weights, expected);
        }
        let chunk_size_log2 = raw.chunk_size_log2;
        if !limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2) {
            let expected = Expected::Words("12 to 16");
            return broken(
                Rule::ChunkSize,
                field::CHUNK_SIZE,
                chunk_size_log2.into(),
                expected,
            );
        }
        let palette = match Palette::new(raw.palette) {
            Ok(palette) => palette,
            Err(index) => {
                let above = u64::from(raw.palette[index - 1]) + 1;
                return broken(
                    Rule::PaletteOrder,
                    field::PALETTE + index as u64,
                    raw.palette[index].into(),
                    Expected::AtLeast(above),
                );
            }
        };
        let (sign_mantissa, record_ends, records_offset) =
            place(located.payload_before, weights, chunk_size_log2)
                .ok_or(past_64_bits(located, raw.payload_end))?;
        CodedPlanes {
            encoding,
            chunk_size_log2,
            palette,
            sign_mantissa,
            record_ends,
            records: Extent {
                offset: records_offset,
                length: 0,
            },
        }
        .with_payload_end(raw.payload_end, located)
    }

    /// The planes with their records ending at the stated payload end.
    fn with_payload_end(self, stated: u64, located: &Located<'_>) -> Result<CodedPlanes, Error> {
        let chunks = self.chunk_count();
        let last = self.chunk(chunks - 1);
        let longest = (chunks - 1) * layout::longest_record_bytes(1 << self.chunk_size_log2)
            + layout::longest_record_bytes(last.weights);
        let shortest = chunks * layout::RECORD_ALIGNMENT;
        let start = self.records.offset;
        let least = start.saturating_add(shortest);
        let most = start.saturating_add(longest);
        let expected = if stated < least {
            Some(Expected::AtLeast(least))
        } else if stated > most {
            Some(Expected::AtMost(most))
        } else if !(stated - start).is_multiple_of(layout::RECORD_ALIGNMENT) {
            Some(Expected::Words("records that are a multiple of 16 bytes"))
        } else {
            None
        };
        match expected {
            Some(expected) => Err(misplaced_end(located, stated, expected)),
            None => Ok(CodedPlanes {
                records: Extent {
                    offset: start,
                    length: stated - start,
                },
                ..self
            }),
        }
    }

    /// Huffman or palette.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The palette.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Binary logarithm of the number of weights of every chunk but the last.
    pub const fn chunk_size_log2(&self) -> u8 {
        self.chunk_size_log2
    }

    /// Number of weights.
    pub const fn weights(&self) -> u64 {
        self.sign_mantissa.length
    }

    /// Number of chunks, at least 1.
    pub const fn chunk_count(&self) -> u64 {
        self.record_ends.length / layout::RECORD_END_BYTES
    }

    /// Chunk `number`, which must be less than the chunk count.
    pub const fn chunk(&self, number: u64) -> ChunkShape {
        let first_weight = number << self.chunk_size_log2;
        let left = self.weights() - first_weight;
        let whole = 1 << self.chunk_size_log2;
        let weights = if left < whole { left } else { whole };
        ChunkShape {
            number,
            first_weight,
            weights: weights as u32,
            sign_mantissa: self.sign_mantissa.part(first_weight, weights),
        }
    }

    /// The sign-mantissa plane.
    pub const fn sign_mantissa(&self) -> Extent {
        self.sign_mantissa
    }

    /// The record ends, a u32 each.
    pub const fn record_ends(&self) -> Extent {
        self.record_ends
    }

    /// The records together.
    pub const fn records(&self) -> Extent {
        self.records
    }

    /// Padding between the sign-mantissa plane and the exponent plane, and between record ends and
    /// records.
    pub const fn padding(&self) -> [Extent; 2] {
        [
            between(self.sign_mantissa, self.record_ends),
            between(self.record_ends, self.records),
        ]
    }
}

/// Sign-mantissa plane, record ends, and the offset of the records, after a payload that ends at
/// `before`; `None` above 64 bits.
fn place(before: u64, weights: u64, chunk_size_log2: u8) -> Option<(Extent, Extent, u64)> {
    let sign_mantissa = Extent {
        offset: layout::align(before, layout::PLANE_ALIGNMENT)?,
        length: weights,
    };
    let record_ends = Extent {
        offset: layout::align(
            sign_mantissa.offset.checked_add(weights)?,
            layout::PLANE_ALIGNMENT,
        )?,
        length: layout::RECORD_END_BYTES * weights.div_ceil(1 << chunk_size_log2),
    };
    let records = layout::align(
        record_ends.offset.checked_add(record_ends.length)?,
        layout::RECORD_ALIGNMENT,
    )?;
    Some((sign_mantissa, record_ends, records))
}
