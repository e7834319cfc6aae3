//! Writes one coded tensor into a container, chunk by chunk (section 3.5).

use alloc::vec::Vec;

use crate::error::Rule;
use crate::extent::Extent;
use crate::layout::{self, RECORD_ALIGNMENT};
use crate::palettes::Palettes;
use crate::payload::Payload;
use crate::write::chunk_set::ChunkSet;
use crate::write::container::{Begun, write_palettes, write_zeros};
use crate::write::directory::Outcome;
use crate::write::{ContainerWriter, Misuse, SharedSink, Sink, WriteError};

/// Writes one tensor with coded fields, chunk by chunk.
#[derive(Debug)]
pub struct CodedWriter<'w, 'a, S> {
    container: &'w mut ContainerWriter<'a, S>,
    palettes: Palettes,
    records: PlacedRecords,
    /// Chunks whose plain bytes are written.
    written: ChunkSet,
}

impl<'w, 'a, S: Sink> CodedWriter<'w, 'a, S> {
    pub(super) fn begin(
        container: &'w mut ContainerWriter<'a, S>,
        palettes: &Palettes,
        chunk_size_log2: u8,
    ) -> Result<Self, WriteError<S::Error>> {
        if !palettes.forms().is_coded() {
            return Err(WriteError::Misuse(Misuse::PlainIsNotCoded));
        }
        let Begun { number, payload } =
            container.begin_tensor(palettes.forms(), chunk_size_log2)?;
        Ok(CodedWriter {
            container,
            palettes: *palettes,
            written: ChunkSet::of_none(payload.chunk_count()),
            records: PlacedRecords::none(payload, number),
        })
    }
}

impl<S: Sink> CodedWriter<'_, '_, S> {
    /// Extents of the payload. The records have their greatest length there, because their own is
    /// not known yet.
    pub const fn payload(&self) -> &Payload {
        &self.records.payload
    }

    /// Lends the sink for all chunks, so that several threads can write them at the same time. No
    /// chunk may have been written before. [`Places`] tells which bytes belong to a chunk, and
    /// counts it as written.
    pub fn lend(&mut self) -> (Places<'_>, Access<'_, S>) {
        let extent = self.records.extent_that_saves_space();
        let plain = self.payload().plain();
        let records = self.records.payload.records().offset;
        let sink = &mut self.container.sink;
        let nothing = Extent {
            length: 0,
            ..extent
        };
        // The sink is asked twice, because a borrow that is returned in one case lasts in all.
        let access = if sink.memory(nothing).is_some() {
            let memory = sink.memory(extent).expect("the sink is memory");
            let (before, records) = memory.split_at_mut((records - extent.offset) as usize);
            let plain = &mut before[..plain.length as usize];
            Access::Memory { plain, records }
        } else if (*sink).shared().is_some() {
            Access::Shared((*sink).shared().expect("the sink is shared"))
        } else {
            Access::Exclusive(sink)
        };
        let places = Places {
            records: &mut self.records,
            written: &mut self.written,
        };
        (places, access)
    }

    /// Appends the next chunk: its bytes of the plain plane and its records, one for each coded
    /// field.
    ///
    /// # Errors
    /// The errors of [`plain`](CodedWriter::plain) and [`record`](CodedWriter::record);
    /// [`Misuse::RecordCount`] if the number of records differs from that of the coded fields, or
    /// if a record of the chunk was written before. In both cases, nothing is written.
    pub fn chunk(&mut self, plain: &[u8], records: &[&[u8]]) -> Result<(), WriteError<S::Error>> {
        let fields = self.payload().forms().coded_count();
        let (chunk, in_chunk) = self.records.next();
        if records.len() != fields || in_chunk != 0 {
            return Err(WriteError::Misuse(Misuse::RecordCount {
                chunk,
                found: in_chunk + records.len(),
                expected: fields,
            }));
        }
        for (coded_field, record) in records.iter().enumerate() {
            self.records.require(chunk, coded_field, record.len())?;
        }
        self.require_chunk(chunk, plain)?;
        // The chunk is noted last. If the sink fails at a record, the whole chunk can be written
        // again.
        self.put_plain(chunk, plain)?;
        let before = self.records.ends.len();
        for record in records {
            if let Err(error) = self.record(record) {
                self.records.ends.truncate(before);
                return Err(error);
            }
        }
        self.written.add(chunk);
        Ok(())
    }

    /// Writes the bytes of the plain plane of chunk `number`. Each chunk is written once, in any
    /// order, before or after its records.
    ///
    /// # Errors
    /// [`Misuse::NoSuchChunk`]; [`Misuse::ChunkLength`] if the chunk has another number of bytes;
    /// [`Misuse::ChunkTwice`] if they were written before; `padding` if a padding bit is not zero.
    pub fn plain(&mut self, number: u64, plain: &[u8]) -> Result<(), WriteError<S::Error>> {
        self.require_chunk(number, plain)?;
        self.put_plain(number, plain)?;
        self.written.add(number);
        Ok(())
    }

    /// Appends the next record. The records of chunk 0 are first, in the order of fields.
    ///
    /// # Errors
    /// [`Misuse::NoRecordLeft`] if all chunks have their records; `record-length` if its length is
    /// not a multiple of 16 bytes; `record-too-long`; `record-ends` if the end would not fit a u32.
    pub fn record(&mut self, record: &[u8]) -> Result<(), WriteError<S::Error>> {
        let (chunk, coded_field) = self.records.next();
        let end = self.records.require(chunk, coded_field, record.len())?;
        let at = self.records.offset();
        let sink = &mut self.container.sink;
        sink.write_at(at, record).map_err(WriteError::Sink)?;
        self.records.ends.push(end);
        Ok(())
    }

    /// Whether the records written so far leave the tensor smaller than a raw one (section 11.8).
    /// After the first `false`, the result stays `false`.
    pub fn saves_space(&self) -> bool {
        self.records.save_space()
    }

    /// Ends the tensor. `tensor_checksum` is the CRC-32 of its original bytes.
    ///
    /// # Errors
    /// [`Misuse::ChunkMissing`], [`Misuse::RecordMissing`].
    pub fn finish(self, tensor_checksum: u32) -> Result<(), WriteError<S::Error>> {
        if let Some(chunk) = self.written.first_missing() {
            return Err(WriteError::Misuse(Misuse::ChunkMissing { chunk }));
        }
        let (chunk, coded_field) = self.records.next();
        let records_bytes = self.records.bytes();
        let complete = self.payload().with_records_bytes(records_bytes);
        let Some(payload) = complete.filter(|_| chunk == self.payload().chunk_count()) else {
            return Err(WriteError::Misuse(Misuse::RecordMissing {
                chunk,
                coded_field,
            }));
        };
        // Frees memory first, because the record ends are held twice below.
        drop(self.written);
        let index: Vec<u8> = self
            .records
            .ends
            .iter()
            .flat_map(|end| end.to_le_bytes())
            .collect();
        let container = self.container;
        let sink = &mut container.sink;
        write_zeros(sink, container.payload_end, payload.start())?;
        let palette_checksum = write_palettes(sink, &payload, &self.palettes)?;
        sink.write_at(payload.record_ends().offset, &index)
            .map_err(WriteError::Sink)?;
        write_zeros(sink, payload.record_ends().end(), payload.records().offset)?;
        container.payload_end = payload.end();
        container.outcomes.push(Outcome {
            forms: payload.forms(),
            chunk_size_log2: payload.chunk_size_log2(),
            payload_end: payload.end(),
            tensor_checksum,
            palette_checksum,
        });
        Ok(())
    }

    fn require_chunk(&self, chunk: u64, plain: &[u8]) -> Result<(), WriteError<S::Error>> {
        let payload = self.payload();
        let chunks = payload.chunk_count();
        if chunk >= chunks {
            return Err(WriteError::Misuse(Misuse::NoSuchChunk { chunk, chunks }));
        }
        let expected = payload.chunk(chunk).plain.length;
        let found = plain.len() as u64;
        if found != expected {
            return Err(WriteError::Misuse(Misuse::ChunkLength {
                chunk,
                found,
                expected,
            }));
        }
        let padding = match chunk + 1 == chunks {
            true => payload.plain_padding_mask(),
            false => 0,
        };
        if plain.last().is_some_and(|last| last & padding != 0) {
            let number = self.records.tensor;
            return Err(WriteError::Rule(Rule::Padding, Some(number)));
        }
        match self.written.has(chunk) {
            true => Err(WriteError::Misuse(Misuse::ChunkTwice { chunk })),
            false => Ok(()),
        }
    }

    fn put_plain(&mut self, number: u64, plain: &[u8]) -> Result<(), WriteError<S::Error>> {
        let at = self.payload().chunk(number).plain.offset;
        let sink = &mut self.container.sink;
        sink.write_at(at, plain).map_err(WriteError::Sink)
    }
}

/// A sink that is lent for the chunks of a coded tensor.
pub enum Access<'p, S: Sink> {
    /// Memory of the sink. The records may be shorter, but not longer: the tensor would not save
    /// space.
    Memory {
        /// The plain plane.
        plain: &'p mut [u8],
        /// Memory for the records.
        records: &'p mut [u8],
    },
    /// A sink for several threads at the same time.
    Shared(&'p dyn SharedSink<Error = S::Error>),
    /// A sink for one thread at a time.
    Exclusive(&'p mut S),
}

/// The places of a coded tensor's chunks in a sink that is lent.
#[derive(Debug)]
pub struct Places<'p> {
    records: &'p mut PlacedRecords,
    written: &'p mut ChunkSet,
}

impl Places<'_> {
    /// The extents of the payload, with records of their greatest length.
    pub const fn payload(&self) -> &Payload {
        &self.records.payload
    }

    /// The place of the records of the next chunk, one behind the other, which have these lengths.
    /// None if the tensor would not save space with them (section 11.8).
    ///
    /// The chunk counts as written. The caller must write the records there, and the chunk's bytes
    /// of the plain plane, whose padding bits are zero.
    ///
    /// # Errors
    /// The errors of [`CodedWriter::record`]; [`Misuse::RecordCount`] if the number of records
    /// differs from that of the coded fields.
    pub fn next_chunk<E>(
        &mut self,
        lengths: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Option<Extent>, WriteError<E>> {
        let (chunk, in_chunk) = self.records.next();
        let expected = self.payload().forms().coded_count();
        if lengths.len() != expected || in_chunk != 0 {
            return Err(WriteError::Misuse(Misuse::RecordCount {
                chunk,
                found: in_chunk + lengths.len(),
                expected,
            }));
        }
        let offset = self.records.offset();
        for (coded_field, length) in lengths.enumerate() {
            let end = self.records.require(chunk, coded_field, length)?;
            self.records.ends.push(end);
        }
        self.written.add(chunk);
        let length = self.records.offset() - offset;
        let saves_space = self.records.save_space();
        Ok(saves_space.then_some(Extent { offset, length }))
    }
}

/// The places of the records that are written, or will be.
#[derive(Debug)]
struct PlacedRecords {
    /// The payload with records of their greatest length.
    payload: Payload,
    /// Number of the tensor.
    tensor: u32,
    /// Record ends in units of 16 bytes.
    ends: Vec<u32>,
}

impl PlacedRecords {
    fn none(payload: Payload, tensor: u32) -> PlacedRecords {
        PlacedRecords {
            payload,
            tensor,
            ends: Vec::with_capacity(payload.record_count() as usize),
        }
    }

    /// Chunk and coded field of the next record. The chunk is the chunk count if none is left.
    fn next(&self) -> (u64, usize) {
        let (next, fields) = (self.ends.len(), self.payload.forms().coded_count());
        ((next / fields) as u64, next % fields)
    }

    /// Bytes of the records.
    fn bytes(&self) -> u64 {
        u64::from(self.ends.last().copied().unwrap_or(0)) * RECORD_ALIGNMENT
    }

    /// Offset of the next record.
    fn offset(&self) -> u64 {
        self.payload.records().offset + self.bytes()
    }

    fn save_space(&self) -> bool {
        self.payload.saves_space_with(self.bytes())
    }

    /// The extent of the payload with the longest records that save space.
    fn extent_that_saves_space(&self) -> Extent {
        let payload = &self.payload;
        let data_bytes = payload.weights() * payload.forms().dtype().weight_bytes() as u64;
        let blocks = data_bytes.div_ceil(layout::BLOCK_BYTES);
        // A raw payload is no longer than this, and one with records must be shorter.
        let raw = data_bytes + layout::BLOCK_CHECKSUM_BYTES * (blocks + 1);
        let least = payload.records().offset - payload.start();
        Extent {
            offset: payload.start(),
            length: payload.extent().length.min(raw.max(least)),
        }
    }

    /// Checks a record of this chunk and coded field. Returns its record end if it is the next one.
    fn require<E>(
        &self,
        chunk: u64,
        coded_field: usize,
        length: usize,
    ) -> Result<u32, WriteError<E>> {
        let chunks = self.payload.chunk_count();
        let coded = self.payload.forms().coded_field(coded_field);
        let Some(coded) = coded.filter(|_| chunk < chunks) else {
            return Err(WriteError::Misuse(Misuse::NoRecordLeft { chunks }));
        };
        let length = length as u64;
        let broken = |rule| Err(WriteError::Rule(rule, Some(self.tensor)));
        if length == 0 || !length.is_multiple_of(RECORD_ALIGNMENT) {
            return broken(Rule::RecordLength);
        }
        let weights = self.payload.chunk(chunk).weights;
        if length > layout::longest_record_bytes(weights, coded.field.width()) {
            return broken(Rule::RecordTooLong);
        }
        let end = (self.bytes() + length) / RECORD_ALIGNMENT;
        u32::try_from(end).or(broken(Rule::RecordEnds))
    }
}
