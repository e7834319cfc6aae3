//! Writes one coded tensor into a container, chunk by chunk (sections 3.4 and 4.3).

use alloc::vec::Vec;

use crate::dtype::Dtype;
use crate::encoding::Encoding;
use crate::error::Rule;
use crate::layout;
use crate::limits;
use crate::palette::Palette;
use crate::write::chunk_set::ChunkSet;
use crate::write::container::write_zeros;
use crate::write::directory::Outcome;
use crate::write::{ContainerWriter, Misuse, Sink, WriteError};

/// Parameters of a coded tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedParameters {
    /// Huffman or palette.
    pub encoding: Encoding,
    /// Binary logarithm of the number of weights of a chunk, 12 to 16.
    pub chunk_size_log2: u8,
    /// The palette.
    pub palette: Palette,
}

/// Writes one coded tensor, chunk by chunk.
#[derive(Debug)]
pub struct CodedWriter<'w, 'a, S> {
    container: &'w mut ContainerWriter<'a, S>,
    parameters: CodedParameters,
    weights: u64,
    chunks: u64,
    /// File offset of the sign-mantissa plane.
    sign_mantissa: u64,
    /// Chunks whose sign-mantissa bytes are written.
    written: ChunkSet,
    /// File offset of the record ends.
    record_ends_offset: u64,
    /// File offset of the records.
    records: u64,
    /// Record ends in units of 16 bytes. The limits of a chunk keep them below 2^32.
    record_ends: Vec<u32>,
}

impl<'w, 'a, S: Sink> CodedWriter<'w, 'a, S> {
    pub(super) fn begin(
        container: &'w mut ContainerWriter<'a, S>,
        parameters: CodedParameters,
    ) -> Result<Self, WriteError<S::Error>> {
        let (number, declaration, start) = container.begin_tensor()?;
        let broken = |rule| Err(WriteError::Rule(rule, Some(number)));
        // The container's declarations have been checked.
        let weights = declaration.element_count().unwrap_or(0);
        if declaration.dtype != Dtype::Bf16 {
            return broken(Rule::EncodingDtype);
        }
        if weights == 0 {
            return broken(Rule::EncodingEmpty);
        }
        if weights > limits::CODED_WEIGHTS {
            return broken(Rule::LimitCoded);
        }
        if !limits::CHUNK_SIZE_LOG2.contains(&parameters.chunk_size_log2) {
            return broken(Rule::ChunkSize);
        }
        if parameters.encoding == Encoding::Raw {
            return Err(WriteError::Misuse(Misuse::RawIsNotCoded));
        }
        let chunks = weights.div_ceil(1 << parameters.chunk_size_log2);
        let record_ends_offset = (start + weights).next_multiple_of(layout::PLANE_ALIGNMENT);
        let index_bytes = layout::RECORD_END_BYTES * chunks;
        Ok(CodedWriter {
            container,
            parameters,
            weights,
            chunks,
            sign_mantissa: start,
            written: ChunkSet::of_none(chunks),
            record_ends_offset,
            records: (record_ends_offset + index_bytes).next_multiple_of(layout::RECORD_ALIGNMENT),
            record_ends: Vec::with_capacity(chunks as usize),
        })
    }
}

impl<S: Sink> CodedWriter<'_, '_, S> {
    /// Appends the next chunk: its sign-mantissa bytes and its record.
    ///
    /// # Errors
    /// [`Misuse::ChunkLength`] and [`Misuse::ChunkTwice`] under the conditions of
    /// [`sign_mantissa`](CodedWriter::sign_mantissa); [`Misuse::NoRecordLeft`], `record-length` and
    /// `record-too-long` under those of [`record`](CodedWriter::record). In both cases, nothing is
    /// written.
    pub fn chunk(
        &mut self,
        sign_mantissa: &[u8],
        record: &[u8],
    ) -> Result<(), WriteError<S::Error>> {
        let number = self.record_ends.len() as u64;
        self.require_record(record)?;
        self.require_chunk(number, sign_mantissa)?;
        // The chunk is noted last. If the sink fails at the record, the whole chunk can be written
        // again.
        self.put_sign_mantissa(number, sign_mantissa)?;
        self.record(record)?;
        self.written.add(number);
        Ok(())
    }

    /// Writes the sign-mantissa bytes of chunk `number`. Each chunk is written once, in any order,
    /// before or after its record.
    ///
    /// # Errors
    /// [`Misuse::NoSuchChunk`]; [`Misuse::ChunkLength`] if the chunk has another number of weights;
    /// [`Misuse::ChunkTwice`] if the bytes have been written before.
    pub fn sign_mantissa(
        &mut self,
        number: u64,
        sign_mantissa: &[u8],
    ) -> Result<(), WriteError<S::Error>> {
        self.require_chunk(number, sign_mantissa)?;
        self.put_sign_mantissa(number, sign_mantissa)?;
        self.written.add(number);
        Ok(())
    }

    /// Appends the record of the next chunk: chunk 0 first.
    ///
    /// # Errors
    /// [`Misuse::NoRecordLeft`] if all chunks have one; `record-length` if its length is not a
    /// multiple of 16 bytes; `record-too-long`.
    pub fn record(&mut self, record: &[u8]) -> Result<(), WriteError<S::Error>> {
        self.require_record(record)?;
        let before = self.record_ends.last().copied().unwrap_or(0);
        let record_offset = self.records + u64::from(before) * layout::RECORD_ALIGNMENT;
        let sink = &mut self.container.sink;
        sink.write_at(record_offset, record)
            .map_err(WriteError::Sink)?;
        let length = record.len() as u64;
        self.record_ends
            .push(before + (length / layout::RECORD_ALIGNMENT) as u32);
        Ok(())
    }

    /// Number of weights of chunk `number`, or `None` if there is no such chunk.
    fn chunk_weights(&self, number: u64) -> Option<u64> {
        if number >= self.chunks {
            return None;
        }
        let first = number << self.parameters.chunk_size_log2;
        Some((self.weights - first).min(1 << self.parameters.chunk_size_log2))
    }

    fn require_chunk(&self, chunk: u64, sign_mantissa: &[u8]) -> Result<(), Misuse> {
        let chunks = self.chunks;
        let no_such_chunk = Misuse::NoSuchChunk { chunk, chunks };
        let expected = self.chunk_weights(chunk).ok_or(no_such_chunk)?;
        let found = sign_mantissa.len() as u64;
        if found != expected {
            return Err(Misuse::ChunkLength {
                chunk,
                found,
                expected,
            });
        }
        match self.written.has(chunk) {
            true => Err(Misuse::ChunkTwice { chunk }),
            false => Ok(()),
        }
    }

    fn put_sign_mantissa(
        &mut self,
        number: u64,
        sign_mantissa: &[u8],
    ) -> Result<(), WriteError<S::Error>> {
        let first = number << self.parameters.chunk_size_log2;
        let sink = &mut self.container.sink;
        sink.write_at(self.sign_mantissa + first, sign_mantissa)
            .map_err(WriteError::Sink)
    }

    /// Checks the record of the next chunk.
    fn require_record(&self, record: &[u8]) -> Result<(), WriteError<S::Error>> {
        let Some(weights) = self.chunk_weights(self.record_ends.len() as u64) else {
            let chunks = self.chunks;
            return Err(WriteError::Misuse(Misuse::NoRecordLeft { chunks }));
        };
        let length = record.len() as u64;
        let broken = |rule| {
            let number = self.container.outcomes.len() as u32;
            Err(WriteError::Rule(rule, Some(number)))
        };
        if length == 0 || !length.is_multiple_of(layout::RECORD_ALIGNMENT) {
            return broken(Rule::RecordLength);
        }
        if length > layout::longest_record_bytes(weights as u32) {
            return broken(Rule::RecordTooLong);
        }
        Ok(())
    }

    /// Whether the chunks written so far leave the tensor smaller than a raw one (section 11.7).
    /// After the first `false`, the result stays `false`.
    pub fn saves_space(&self) -> bool {
        let records = self.record_ends.last().copied().unwrap_or(0);
        let records = u64::from(records) * layout::RECORD_ALIGNMENT;
        let index =
            (layout::RECORD_END_BYTES * self.chunks).next_multiple_of(layout::RECORD_ALIGNMENT);
        let coded = self.weights.next_multiple_of(layout::PLANE_ALIGNMENT)
            + (index + records).next_multiple_of(layout::PLANE_ALIGNMENT);
        let data = 2 * self.weights;
        let checksums = layout::BLOCK_CHECKSUM_BYTES * data.div_ceil(layout::BLOCK_BYTES);
        let raw = (data.next_multiple_of(layout::BLOCK_CHECKSUM_BYTES) + checksums)
            .next_multiple_of(layout::PLANE_ALIGNMENT);
        coded < raw
    }

    /// Ends the tensor. `tensor_checksum` is the CRC-32 of its original bytes.
    ///
    /// # Errors
    /// [`Misuse::ChunkMissing`], [`Misuse::RecordMissing`].
    pub fn finish(self, tensor_checksum: u32) -> Result<(), WriteError<S::Error>> {
        if let Some(chunk) = self.written.first_missing() {
            return Err(WriteError::Misuse(Misuse::ChunkMissing { chunk }));
        }
        let chunk = self.record_ends.len() as u64;
        if chunk != self.chunks {
            return Err(WriteError::Misuse(Misuse::RecordMissing { chunk }));
        }
        // Frees memory first, because the record ends are held twice below.
        drop(self.written);
        let container = self.container;
        let sink = &mut container.sink;
        write_zeros(sink, container.payload_end, self.sign_mantissa)?;
        write_zeros(
            sink,
            self.sign_mantissa + self.weights,
            self.record_ends_offset,
        )?;
        let index: Vec<u8> = self
            .record_ends
            .iter()
            .flat_map(|end| end.to_le_bytes())
            .collect();
        sink.write_at(self.record_ends_offset, &index)
            .map_err(WriteError::Sink)?;
        write_zeros(
            sink,
            self.record_ends_offset + index.len() as u64,
            self.records,
        )?;
        let records = self.record_ends.last().copied().unwrap_or(0);
        let payload_end = self.records + u64::from(records) * layout::RECORD_ALIGNMENT;
        container.payload_end = payload_end;
        container.outcomes.push(Outcome {
            encoding: self.parameters.encoding,
            chunk_size_log2: self.parameters.chunk_size_log2,
            palette: *self.parameters.palette.exponents(),
            tensor_checksum,
            payload_end,
        });
        Ok(())
    }
}
