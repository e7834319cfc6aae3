//! A record (section 5).

use crate::bits::padding_mask;
use crate::code::Code;
use crate::error::{Error, Expected, Rule};
use crate::form::Encoding;
use crate::layout::{
    self, LANE_STREAMS_OFFSET, LANES, PATCH_BYTES, RECORD_HEADER_BYTES, STEP_INDEX_BYTES,
    palette_entries, record as field,
};
use crate::parse::RawRecordHeader;
use crate::record_shape::RecordShape;
use crate::validate::{Patches, require_zero};

/// A record that keeps every rule of sections 5 and 6, except those on the contents of lane
/// streams.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    shape: RecordShape,
    bytes: &'a [u8],
    body: Body<'a>,
    patches: Patches<'a>,
}

/// Body of a record.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The values of the chunk's weights, a bit string of numbers of the field's width (section
    /// 5.4).
    Verbatim(&'a [u8]),
    /// 32 lane streams in a code of the record's own (section 5.2).
    Huffman {
        /// The code.
        code: Code,
        /// The lane streams.
        lanes: Lanes<'a>,
    },
    /// 4-bit palette indices, 128 bytes a step (section 5.3).
    Palette(&'a [u8]),
}

/// The lane streams of a huffman record (section 5.2).
#[derive(Clone, Copy, Debug)]
pub struct Lanes<'a> {
    ends: &'a [[u8; 2]],
    streams: &'a [u8],
    streams_offset: u64,
}

impl<'a> Record<'a> {
    /// Parses the record of this shape whose `bytes` are at `offset` in the file. `plain` are the
    /// chunk's bytes of the plain plane, which the checksum covers too if they
    /// [join](RecordShape::joins_plain) it; they are not used otherwise.
    ///
    /// # Errors
    /// The rules of sections 5.1, 5.5 and 6, and `lane-ends`.
    pub fn parse(
        shape: &RecordShape,
        offset: u64,
        bytes: &'a [u8],
        plain: &[u8],
    ) -> Result<Record<'a>, Error> {
        let header = parse_header(offset, bytes)?;
        let mut checksum = covered(bytes);
        if shape.joins_plain() {
            checksum.update(plain);
        }
        require_checksum(offset, checksum.finalize(), header.checksum)?;
        Record::parse_contents(shape, offset, bytes, &header)
    }

    /// Every rule except `record-crc`.
    fn parse_contents(
        shape: &RecordShape,
        offset: u64,
        bytes: &'a [u8],
        header: &RawRecordHeader,
    ) -> Result<Record<'a>, Error> {
        let wrong_length = |expected| wrong_length(offset, bytes, expected);
        let kind_encoding = match header.kind {
            layout::KIND_VERBATIM => shape.encoding(),
            layout::KIND_HUFFMAN => Encoding::Huffman,
            layout::KIND_PALETTE => Encoding::Palette,
            unknown => {
                return Err(Error::new(
                    Rule::RecordKind,
                    offset + field::KIND,
                    unknown.into(),
                    Expected::Words("a record kind of this version"),
                ));
            }
        };
        if kind_encoding != shape.encoding() {
            return Err(Error::new(
                Rule::RecordForm,
                offset + field::KIND,
                header.kind.into(),
                Expected::Words("verbatim, or the field's form"),
            ));
        }
        require_reserved(header, offset)?;

        let (body_start, body_bytes, code) = match header.kind {
            layout::KIND_HUFFMAN => {
                let code = parse_code(header, shape.width(), offset)?;
                let streams_bytes = lane_streams_bytes(bytes, offset)?
                    .ok_or(wrong_length(Expected::AtLeast(LANE_STREAMS_OFFSET as u64)))?;
                (LANE_STREAMS_OFFSET, streams_bytes, Some(code))
            }
            layout::KIND_PALETTE => {
                let index_bytes = shape.steps() as usize * STEP_INDEX_BYTES;
                (RECORD_HEADER_BYTES, index_bytes, None)
            }
            _ => {
                let verbatim_bytes = layout::verbatim_bytes(shape.weights(), shape.width());
                (RECORD_HEADER_BYTES, verbatim_bytes as usize, None)
            }
        };

        let patches_start = body_start + body_bytes;
        let contents_end = patches_start + usize::from(header.patch_count) * PATCH_BYTES;
        let whole = contents_end.next_multiple_of(layout::RECORD_ALIGNMENT as usize);
        if bytes.len() != whole {
            return Err(wrong_length(Expected::Exactly(whole as u64)));
        }
        require_zero(
            Rule::RecordPadding,
            &bytes[contents_end..],
            offset + contents_end as u64,
        )?;
        let patches = Patches::parse(
            shape,
            &bytes[patches_start..contents_end],
            offset + patches_start as u64,
        )?;

        let contents = &bytes[body_start..patches_start];
        let body = match (header.kind, code) {
            (layout::KIND_HUFFMAN, Some(code)) => Body::Huffman {
                code,
                lanes: Lanes {
                    ends: bytes[RECORD_HEADER_BYTES..LANE_STREAMS_OFFSET]
                        .as_chunks()
                        .0,
                    streams: contents,
                    streams_offset: offset + body_start as u64,
                },
            },
            (layout::KIND_PALETTE, _) => Body::Palette(contents),
            _ => {
                let last = patches_start - 1;
                let padding = padding_mask(shape.weights().into(), shape.width());
                require_zero(
                    Rule::RecordPadding,
                    &[bytes[last] & padding],
                    offset + last as u64,
                )?;
                Body::Verbatim(contents)
            }
        };
        Ok(Record {
            shape: *shape,
            bytes,
            body,
            patches,
        })
    }

    /// The shape that the record was parsed with.
    pub const fn shape(&self) -> &RecordShape {
        &self.shape
    }

    /// All bytes of the record.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The body.
    pub const fn body(&self) -> &Body<'a> {
        &self.body
    }

    /// The patches; a verbatim record has none.
    pub const fn patches(&self) -> &Patches<'a> {
        &self.patches
    }
}

/// A record whose checksum has not been compared. Decoders that compute the checksum while
/// they decode use it, so that no byte is read twice.
#[derive(Clone, Copy, Debug)]
pub struct UncheckedRecord<'a> {
    record: Record<'a>,
    offset: u64,
    stated: u32,
}

impl<'a> UncheckedRecord<'a> {
    /// Parses like [`Record::parse`], without checking `record-crc`. If a record breaks that rule
    /// and another one, `Record::parse` reports `record-crc`.
    ///
    /// # Errors
    /// The rules of sections 5.1, 5.5 and 6 except `record-crc`, and `lane-ends`.
    pub fn parse(
        shape: &RecordShape,
        offset: u64,
        bytes: &'a [u8],
    ) -> Result<UncheckedRecord<'a>, Error> {
        let header = parse_header(offset, bytes)?;
        Ok(UncheckedRecord {
            record: Record::parse_contents(shape, offset, bytes, &header)?,
            offset,
            stated: header.checksum,
        })
    }

    /// The record. Values decoded from it must not be handed out before
    /// [`require_checksum`](UncheckedRecord::require_checksum).
    pub const fn contents(&self) -> &Record<'a> {
        &self.record
    }

    /// The checksum of the record's own bytes. The chunk's bytes of the plain plane follow if they
    /// [join](RecordShape::joins_plain) it.
    pub fn checksum_so_far(&self) -> u32 {
        covered(self.record.bytes).finalize()
    }

    /// Compares the computed checksum with the stated one.
    ///
    /// # Errors
    /// `record-crc`.
    pub fn require_checksum(&self, computed: u32) -> Result<(), Error> {
        require_checksum(self.offset, computed, self.stated)
    }
}

fn wrong_length(offset: u64, bytes: &[u8], expected: Expected) -> Error {
    Error::new(Rule::RecordLength, offset, bytes.len() as u64, expected)
}

fn parse_header(offset: u64, bytes: &[u8]) -> Result<RawRecordHeader, Error> {
    let expected = Expected::AtLeast(RECORD_HEADER_BYTES as u64);
    RawRecordHeader::parse(bytes).ok_or_else(|| wrong_length(offset, bytes, expected))
}

/// The checksum of the record's own bytes.
fn covered(bytes: &[u8]) -> crc32fast::Hasher {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[layout::RECORD_CHECKED_FROM..]);
    checksum
}

fn require_checksum(offset: u64, computed: u32, stated: u32) -> Result<(), Error> {
    let at = offset + field::CHECKSUM;
    Error::unless_checksum(Rule::RecordCrc, at, computed, stated)
}

impl<'a> Lanes<'a> {
    /// The stream of lane `lane`, which must be less than 32.
    pub fn stream(&self, lane: usize) -> &'a [u8] {
        let start = lane.checked_sub(1).map_or(0, |before| self.end(before));
        &self.streams[start..self.end(lane)]
    }

    /// File offset where that stream starts, for errors.
    pub fn stream_offset(&self, lane: usize) -> u64 {
        let start = lane.checked_sub(1).map_or(0, |before| self.end(before));
        self.streams_offset + start as u64
    }

    /// All lane streams, lane 0 first.
    pub const fn streams(&self) -> &'a [u8] {
        self.streams
    }

    /// End of the stream of lane `lane` (less than 32) in [`streams`](Lanes::streams). Lane 0
    /// starts at 0, every other lane at the end of the lane before.
    pub fn end(&self, lane: usize) -> usize {
        u16::from_le_bytes(self.ends[lane]).into()
    }
}

/// Number of bytes of all lane streams, or `None` if the record is too short for lane ends. Checks
/// that the lane ends ascend.
fn lane_streams_bytes(record: &[u8], offset: u64) -> Result<Option<usize>, Error> {
    let Some(ends) = record.get(RECORD_HEADER_BYTES..LANE_STREAMS_OFFSET) else {
        return Ok(None);
    };
    let (ends, _) = ends.as_chunks();
    let mut before = 0;
    for (lane, &end) in ends.iter().enumerate() {
        let end = u16::from_le_bytes(end);
        if end < before {
            return Err(Error::new(
                Rule::LaneEnds,
                offset + field::LANE_ENDS + 2 * lane as u64,
                end.into(),
                Expected::AtLeast(before.into()),
            ));
        }
        before = end;
    }
    debug_assert_eq!(ends.len(), LANES);
    Ok(Some(before.into()))
}

/// The code of a huffman record of a field of `width` bits.
fn parse_code(header: &RawRecordHeader, width: u32, offset: u64) -> Result<Code, Error> {
    let code = Code::from_bytes(header.code_lengths, palette_entries(width));
    code.map_err(|(rule, found)| {
        let expected = match rule {
            Rule::CodeLength => Expected::Words("0 to 8, or 15, and 15 where there is no entry"),
            _ => Expected::Exactly(256),
        };
        Error::new(rule, offset + field::CODE_LENGTHS, found, expected)
    })
}

/// Checks the fields that must be zero in a record of this kind.
fn require_reserved(header: &RawRecordHeader, offset: u64) -> Result<(), Error> {
    let require = |bytes: &[u8], at| require_zero(Rule::RecordReserved, bytes, offset + at);
    require(&[header.reserved], field::RESERVED)?;
    if header.kind == layout::KIND_VERBATIM {
        require(&header.patch_count.to_le_bytes(), field::PATCH_COUNT)?;
    }
    if header.kind != layout::KIND_HUFFMAN {
        require(&header.code_lengths, field::CODE_LENGTHS)?;
    }
    Ok(())
}
