//! Where a tensor's planes stand (sections 3.4, 4.2 and 4.3).

use crate::dtype::Dtype;
use crate::encoding::Encoding;
use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::{self, entry as field};
use crate::limits;
use crate::palette::Palette;
use crate::parse::RawEntry;
use crate::validate::require_zero;
use crate::validate::tensor::Located;

/// A tensor's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The original bytes and their block checksums.
    Raw(RawPlane),
    /// Sign-mantissa bytes and records.
    Coded(CodedPlanes),
}

/// The payload of a raw tensor (section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPlane {
    data: Extent,
    checksums: Extent,
}

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

/// One chunk of a coded tensor: which weights it has, and where their sign-mantissa bytes stand.
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

impl Payload {
    /// The payload of a raw tensor of `data_bytes` bytes.
    pub(crate) fn raw(
        raw: &RawEntry,
        data_bytes: u64,
        located: &Located<'_>,
    ) -> Result<Payload, Error> {
        let at = |offset: u64| located.entry_offset + offset;
        require_zero(
            Rule::RawFields,
            &[raw.chunk_size_log2],
            at(field::CHUNK_SIZE),
        )?;
        require_zero(Rule::RawFields, &raw.palette, at(field::PALETTE))?;
        let (plane, end) = RawPlane::place(located.payload_before, data_bytes)
            .ok_or(past_64_bits(located, raw.payload_end))?;
        if end != raw.payload_end {
            return Err(misplaced_end(
                located,
                raw.payload_end,
                Expected::Exactly(end),
            ));
        }
        Ok(Payload::Raw(plane))
    }

    /// The payload of a coded tensor of `weights` weights.
    pub(crate) fn coded(
        raw: &RawEntry,
        encoding: Encoding,
        dtype: Dtype,
        weights: u64,
        located: &Located<'_>,
    ) -> Result<Payload, Error> {
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
        let planes = CodedPlanes::place(
            located.payload_before,
            weights,
            CodedPlanes {
                encoding,
                chunk_size_log2,
                palette,
                sign_mantissa: Extent {
                    offset: 0,
                    length: weights,
                },
                record_ends: Extent {
                    offset: 0,
                    length: 0,
                },
                records: Extent {
                    offset: 0,
                    length: 0,
                },
            },
        )
        .ok_or(past_64_bits(located, raw.payload_end))?;
        planes
            .with_payload_end(raw.payload_end, located)
            .map(Payload::Coded)
    }
}

impl RawPlane {
    /// Where the plane stands behind a payload that ends at `before`, and where it ends.
    pub(crate) fn place(before: u64, data_bytes: u64) -> Option<(RawPlane, u64)> {
        let nothing = Extent {
            offset: before,
            length: 0,
        };
        if data_bytes == 0 {
            return Some((
                RawPlane {
                    data: nothing,
                    checksums: nothing,
                },
                before,
            ));
        }
        let data = Extent {
            offset: layout::align(before, layout::PLANE_ALIGNMENT)?,
            length: data_bytes,
        };
        let checksums = Extent {
            offset: layout::align(
                data.offset.checked_add(data.length)?,
                layout::BLOCK_CHECKSUM_BYTES,
            )?,
            length: layout::BLOCK_CHECKSUM_BYTES * data_bytes.div_ceil(layout::BLOCK_BYTES),
        };
        let end = checksums.offset.checked_add(checksums.length)?;
        Some((RawPlane { data, checksums }, end))
    }

    /// The original bytes.
    pub const fn data(&self) -> Extent {
        self.data
    }

    /// The block checksums, a u32 each.
    pub const fn checksums(&self) -> Extent {
        self.checksums
    }

    /// Number of blocks.
    pub const fn block_count(&self) -> u64 {
        self.checksums.length / layout::BLOCK_CHECKSUM_BYTES
    }

    /// Where block `number` stands. It must be less than the block count.
    pub const fn block(&self, number: u64) -> Extent {
        let skip = number * layout::BLOCK_BYTES;
        let left = self.data.length - skip;
        self.data.part(
            skip,
            if left < layout::BLOCK_BYTES {
                left
            } else {
                layout::BLOCK_BYTES
            },
        )
    }

    /// Compares block `number`, whose bytes these are, with its stated checksum, the four bytes that stand for it in the file.
    ///
    /// # Errors
    /// `raw-crc`.
    pub fn require_block_checksum(
        &self,
        number: u64,
        block: &[u8],
        stated: [u8; 4],
    ) -> Result<(), Error> {
        Error::unless_checksum(
            Rule::RawCrc,
            self.block(number).offset,
            crate::crc32(block),
            u32::from_le_bytes(stated),
        )
    }

    /// Padding between the data and the checksums.
    pub const fn padding(&self) -> Extent {
        between(self.data, self.checksums)
    }
}

impl CodedPlanes {
    /// Where the planes of `weights` weights stand behind a payload that ends at `before`; the records are still empty.
    fn place(before: u64, weights: u64, planes: CodedPlanes) -> Option<CodedPlanes> {
        let chunks = weights.div_ceil(1 << planes.chunk_size_log2);
        let sign_mantissa = Extent {
            offset: layout::align(before, layout::PLANE_ALIGNMENT)?,
            length: weights,
        };
        let record_ends = Extent {
            offset: layout::align(
                sign_mantissa.offset.checked_add(weights)?,
                layout::PLANE_ALIGNMENT,
            )?,
            length: layout::RECORD_END_BYTES * chunks,
        };
        let records = Extent {
            offset: layout::align(
                record_ends.offset.checked_add(record_ends.length)?,
                layout::RECORD_ALIGNMENT,
            )?,
            length: 0,
        };
        Some(CodedPlanes {
            sign_mantissa,
            record_ends,
            records,
            ..planes
        })
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

    /// Padding between the sign-mantissa plane and the exponent plane, and between record ends and records.
    pub const fn padding(&self) -> [Extent; 2] {
        [
            between(self.sign_mantissa, self.record_ends),
            between(self.record_ends, self.records),
        ]
    }
}

impl Payload {
    /// Where the payload starts; padding may stand between this and the payload before.
    pub const fn start(&self) -> u64 {
        match self {
            Payload::Raw(plane) => plane.data.offset,
            Payload::Coded(planes) => planes.sign_mantissa.offset,
        }
    }

    /// Where the payload ends.
    pub const fn end(&self) -> u64 {
        match self {
            Payload::Raw(plane) => plane.checksums.end(),
            Payload::Coded(planes) => planes.records.end(),
        }
    }
}

const fn between(left: Extent, right: Extent) -> Extent {
    Extent {
        offset: left.end(),
        length: right.offset - left.end(),
    }
}

fn misplaced_end(located: &Located<'_>, stated: u64, expected: Expected) -> Error {
    let at = located.entry_offset + field::PAYLOAD_END;
    Error::new(Rule::PayloadEnd, at, stated, expected)
}

fn past_64_bits(located: &Located<'_>, stated: u64) -> Error {
    misplaced_end(
        located,
        stated,
        Expected::Words("a payload that ends below 2^64"),
    )
}
