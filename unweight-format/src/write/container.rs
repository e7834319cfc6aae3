//! A container, tensor by tensor (sections 3 and 4).

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::dtype::Dtype;
use crate::encoding::{Encoding, SourceKind};
use crate::error::Rule;
use crate::layout::{self, PALETTE_ENTRIES};
use crate::limits;
use crate::palette::Palette;
use crate::write::Sink;
use crate::write::directory::{Outcome, by_name, directory_bytes, write_directory};
use crate::write::file_header::FileHeaderFields;

/// A tensor that a container is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Declaration<'a> {
    /// The name, unique in the container.
    pub name: &'a str,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: &'a [u64],
}

impl Declaration<'_> {
    /// The product of the dimensions, or `None` above the limit.
    pub fn element_count(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .filter(|&count| count <= limits::ELEMENTS)
    }
}

/// How a tensor is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedParameters {
    /// Huffman or palette.
    pub encoding: Encoding,
    /// Binary logarithm of the number of weights of a chunk, 12 to 16.
    pub chunk_size_log2: u8,
    /// The palette.
    pub palette: Palette,
}

/// Why a container could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError<E> {
    /// The sink failed.
    Sink(E),
    /// What was to be written would break this rule; the tensor's number, where it is one tensor's.
    Rule(Rule, Option<u32>),
    /// The calls do not fit together: what was asked for, and what is wrong with it.
    Misuse(&'static str),
}

impl<E: fmt::Display> fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Sink(error) => error.fmt(f),
            WriteError::Rule(rule, None) => write!(f, "{}: {}", rule.id(), rule.broken_when()),
            WriteError::Rule(rule, Some(tensor)) => {
                write!(
                    f,
                    "{} in tensor {tensor}: {}",
                    rule.id(),
                    rule.broken_when()
                )
            }
            WriteError::Misuse(what) => f.write_str(what),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for WriteError<E> {}

/// Writes a container: [`new`](ContainerWriter::new), then [`coded`](ContainerWriter::coded) or
/// [`raw`](ContainerWriter::raw) for each tensor in the order of the declarations, then [`finish`](ContainerWriter::finish).
///
/// The header is written last, so what is left behind before that is not a container.
/// A [`CodedWriter`] or [`RawWriter`] that is dropped before its `finish` leaves its tensor unwritten: it can be begun again, in another way.
#[derive(Debug)]
pub struct ContainerWriter<'a, S> {
    sink: S,
    declarations: Vec<Declaration<'a>>,
    by_name: Vec<u32>,
    outcomes: Vec<Outcome>,
    source_kind: SourceKind,
    source_length: u64,
    source_checksum: u32,
    directory_length: u64,
    payload_end: u64,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} up to byte {}", self.encoding, self.payload_end)
    }
}

impl<'a, S: Sink> ContainerWriter<'a, S> {
    /// Begins a container of these tensors, with these bytes as its source section.
    ///
    /// # Errors
    /// The rules on names, shapes, types and limits that the declarations break; `source-length`.
    pub fn new(
        mut sink: S,
        source_kind: SourceKind,
        source: &[u8],
        declarations: Vec<Declaration<'a>>,
    ) -> Result<Self, WriteError<S::Error>> {
        let broken = |rule| Err(WriteError::Rule(rule, None));
        if declarations.len() > limits::TENSORS as usize {
            return broken(Rule::LimitTensors);
        }
        for (number, declaration) in (0..).zip(&declarations) {
            if let Some(rule) = broken_rule(declaration) {
                return Err(WriteError::Rule(rule, Some(number)));
            }
        }
        let directory_length = match directory_bytes(&declarations) {
            Some(length) if length <= limits::DIRECTORY_BYTES => length,
            _ => return broken(Rule::LimitDirectory),
        };
        let source_length = source.len() as u64;
        if source_length > limits::SOURCE_BYTES {
            return broken(Rule::LimitSource);
        }
        let fits = match source_kind {
            SourceKind::None => source_length == 0,
            SourceKind::Safetensors => source_length >= layout::SAFETENSORS_LENGTH_BYTES,
        };
        if !fits {
            return broken(Rule::SourceLength);
        }
        let by_name = by_name(&declarations);
        for pair in by_name.windows(2) {
            if declarations[pair[0] as usize].name == declarations[pair[1] as usize].name {
                return Err(WriteError::Rule(Rule::NameDuplicate, Some(pair[1])));
            }
        }

        let source_offset = layout::FILE_HEADER_BYTES + directory_length;
        sink.write_at(source_offset, source)
            .map_err(WriteError::Sink)?;
        let source_end = source_offset + source_length;
        let payload_start = source_end.next_multiple_of(layout::PLANE_ALIGNMENT);
        write_zeros(&mut sink, source_end, payload_start)?;
        Ok(ContainerWriter {
            sink,
            by_name,
            outcomes: Vec::with_capacity(declarations.len()),
            declarations,
            source_kind,
            source_length,
            source_checksum: crate::crc32(source),
            directory_length,
            payload_end: payload_start,
        })
    }

    /// The next tensor to be written.
    pub fn next_tensor(&self) -> Option<&Declaration<'a>> {
        self.declarations.get(self.outcomes.len())
    }

    /// Begins the next tensor, coded.
    ///
    /// # Errors
    /// `encoding-dtype`, `encoding-empty`, `limit-coded`, `chunk-size`; `Misuse` if no tensor is left, or for the encoding raw.
    pub fn coded(
        &mut self,
        parameters: CodedParameters,
    ) -> Result<CodedWriter<'_, 'a, S>, WriteError<S::Error>> {
        let number = self.outcomes.len() as u32;
        let declaration = self.next_tensor().ok_or(NO_TENSOR_LEFT)?;
        let broken = |rule| Err(WriteError::Rule(rule, Some(number)));
        // Checked by `new`.
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
            return Err(WriteError::Misuse("raw tensors are written with `raw`"));
        }
        let chunks = weights.div_ceil(1 << parameters.chunk_size_log2);
        let end = self.payload_end;
        let sign_mantissa = layout::align(end, layout::PLANE_ALIGNMENT).ok_or(PAST_64_BITS)?;
        let record_ends = sign_mantissa
            .checked_add(weights)
            .and_then(|end| layout::align(end, layout::PLANE_ALIGNMENT))
            .filter(|&start| start < u64::MAX / 2)
            .ok_or(PAST_64_BITS)?;
        let index_bytes = layout::RECORD_END_BYTES * chunks;
        Ok(CodedWriter {
            parameters,
            weights,
            sign_mantissa,
            weights_written: 0,
            record_ends_offset: record_ends,
            records: (record_ends + index_bytes).next_multiple_of(layout::RECORD_ALIGNMENT),
            record_ends: Vec::new(),
            chunks,
            container: self,
        })
    }

    /// Begins the next tensor, raw.
    ///
    /// # Errors
    /// `Misuse` if no tensor is left.
    pub fn raw(&mut self) -> Result<RawWriter<'_, 'a, S>, WriteError<S::Error>> {
        let declaration = self.next_tensor().ok_or(NO_TENSOR_LEFT)?;
        let elements = declaration.element_count().unwrap_or(0);
        let data_bytes = elements * declaration.dtype.bits() / 8;
        let start = layout::align(self.payload_end, layout::PLANE_ALIGNMENT)
            .filter(|&start| start < u64::MAX / 2)
            .ok_or(PAST_64_BITS)?;
        Ok(RawWriter {
            start,
            data_bytes,
            written: 0,
            block: crc32fast::Hasher::new(),
            tensor: crc32fast::Hasher::new(),
            checksums: Vec::new(),
            container: self,
        })
    }

    /// Writes guard, directory and header, and gives back the sink.
    ///
    /// # Errors
    /// `Misuse` if a tensor is missing.
    pub fn finish(mut self) -> Result<S, WriteError<S::Error>> {
        if self.next_tensor().is_some() {
            return Err(WriteError::Misuse("not all declared tensors were written"));
        }
        let file_length = self.payload_end + layout::GUARD_BYTES;
        write_zeros(&mut self.sink, self.payload_end, file_length)?;
        // A tensor that was begun and given up may have left bytes behind.
        self.sink.truncate(file_length).map_err(WriteError::Sink)?;
        let directory = write_directory(&self.declarations, &self.by_name, &self.outcomes);
        self.sink
            .write_at(layout::FILE_HEADER_BYTES, &directory)
            .map_err(WriteError::Sink)?;
        let header = FileHeaderFields {
            tensor_count: self.declarations.len() as u32,
            file_length,
            directory_length: self.directory_length,
            source_length: self.source_length,
            directory_checksum: crate::crc32(&directory),
            source_checksum: self.source_checksum,
            source_kind: self.source_kind,
        };
        self.sink
            .write_at(0, &header.to_bytes())
            .map_err(WriteError::Sink)?;
        Ok(self.sink)
    }
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
    weights_written: u64,
    /// File offset of the record ends.
    record_ends_offset: u64,
    /// File offset of the records.
    records: u64,
    /// In units of 16 bytes. A chunk's limits keep them in 32 bits.
    record_ends: Vec<u32>,
}

impl<S: Sink> CodedWriter<'_, '_, S> {
    /// Appends the next chunk: its sign-mantissa bytes and its record.
    ///
    /// # Errors
    /// `Misuse` if the chunk has not as many weights as it should; `record-length` if the record is not a multiple of 16 bytes, `record-too-long` if it is too long.
    pub fn chunk(
        &mut self,
        sign_mantissa: &[u8],
        record: &[u8],
    ) -> Result<(), WriteError<S::Error>> {
        let left = self.weights - self.weights_written;
        let whole = 1 << self.parameters.chunk_size_log2;
        if sign_mantissa.is_empty() || sign_mantissa.len() as u64 != left.min(whole) {
            return Err(WriteError::Misuse("a chunk of the wrong number of weights"));
        }
        let length = record.len() as u64;
        let number = self.container.outcomes.len() as u32;
        if length == 0 || !length.is_multiple_of(layout::RECORD_ALIGNMENT) {
            return Err(WriteError::Rule(Rule::RecordLength, Some(number)));
        }
        if length > layout::longest_record_bytes(sign_mantissa.len() as u32) {
            return Err(WriteError::Rule(Rule::RecordTooLong, Some(number)));
        }
        let before = self.record_ends.last().copied().unwrap_or(0);
        let record_offset = self.records + u64::from(before) * layout::RECORD_ALIGNMENT;
        let sink = &mut self.container.sink;
        sink.write_at(self.sign_mantissa + self.weights_written, sign_mantissa)
            .map_err(WriteError::Sink)?;
        sink.write_at(record_offset, record)
            .map_err(WriteError::Sink)?;
        self.weights_written += sign_mantissa.len() as u64;
        self.record_ends
            .push(before + (length / layout::RECORD_ALIGNMENT) as u32);
        Ok(())
    }

    /// Whether the chunks written so far leave the tensor smaller than it would be raw (section 11.7).
    /// Once false, it stays so.
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

    /// Ends the tensor, whose original bytes have this CRC-32.
    ///
    /// # Errors
    /// `Misuse` if a chunk is missing.
    pub fn finish(self, tensor_checksum: u32) -> Result<(), WriteError<S::Error>> {
        if self.weights_written != self.weights {
            return Err(WriteError::Misuse(
                "not all chunks of the tensor were written",
            ));
        }
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

/// Writes one raw tensor.
#[derive(Debug)]
pub struct RawWriter<'w, 'a, S> {
    container: &'w mut ContainerWriter<'a, S>,
    start: u64,
    data_bytes: u64,
    written: u64,
    block: crc32fast::Hasher,
    tensor: crc32fast::Hasher,
    checksums: Vec<u8>,
}

impl<S: Sink> RawWriter<'_, '_, S> {
    /// Appends original bytes; any number at a time.
    ///
    /// # Errors
    /// `Misuse` if they are more than the tensor has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError<S::Error>> {
        if bytes.len() as u64 > self.data_bytes - self.written {
            return Err(WriteError::Misuse("more bytes than the raw tensor has"));
        }
        self.container
            .sink
            .write_at(self.start + self.written, bytes)
            .map_err(WriteError::Sink)?;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let left_in_block = layout::BLOCK_BYTES - self.written % layout::BLOCK_BYTES;
            let take = bytes.len().min(left_in_block as usize);
            let (now, later) = bytes.split_at(take);
            self.block.update(now);
            self.written += take as u64;
            bytes = later;
            if self.written.is_multiple_of(layout::BLOCK_BYTES) || self.written == self.data_bytes {
                let block = core::mem::take(&mut self.block);
                self.tensor.combine(&block);
                self.checksums.extend(block.finalize().to_le_bytes());
            }
        }
        Ok(())
    }

    /// Ends the tensor.
    ///
    /// # Errors
    /// `Misuse` if bytes are missing.
    pub fn finish(self) -> Result<(), WriteError<S::Error>> {
        if self.written != self.data_bytes {
            return Err(WriteError::Misuse(
                "not all bytes of the raw tensor were written",
            ));
        }
        let container = self.container;
        if self.data_bytes > 0 {
            let sink = &mut container.sink;
            write_zeros(sink, container.payload_end, self.start)?;
            let data_end = self.start + self.data_bytes;
            let checksums = data_end.next_multiple_of(layout::BLOCK_CHECKSUM_BYTES);
            write_zeros(sink, data_end, checksums)?;
            sink.write_at(checksums, &self.checksums)
                .map_err(WriteError::Sink)?;
            container.payload_end = checksums + self.checksums.len() as u64;
        }
        container.outcomes.push(Outcome {
            encoding: Encoding::Raw,
            chunk_size_log2: 0,
            palette: [0; PALETTE_ENTRIES],
            tensor_checksum: self.tensor.finalize(),
            payload_end: container.payload_end,
        });
        Ok(())
    }
}

const NO_TENSOR_LEFT: Misuse = Misuse("all declared tensors are written already");
const PAST_64_BITS: Misuse = Misuse("the container would leave 64 bits");

/// A misuse, before it is known what the sink's errors are.
struct Misuse(&'static str);

impl<E> From<Misuse> for WriteError<E> {
    fn from(misuse: Misuse) -> WriteError<E> {
        WriteError::Misuse(misuse.0)
    }
}

/// The rule that a declaration breaks by itself.
fn broken_rule(declaration: &Declaration<'_>) -> Option<Rule> {
    if declaration.name.len() > limits::NAME_BYTES as usize {
        return Some(Rule::LimitName);
    }
    if declaration.shape.len() > limits::RANK as usize {
        return Some(Rule::LimitRank);
    }
    let Some(elements) = declaration.element_count() else {
        return Some(Rule::LimitElements);
    };
    (!(elements * declaration.dtype.bits()).is_multiple_of(8)).then_some(Rule::TensorBits)
}

/// Writes zeros from `start` to `end`: what a tensor that was given up left there must not show.
fn write_zeros<S: Sink>(sink: &mut S, start: u64, end: u64) -> Result<(), WriteError<S::Error>> {
    let zeros = vec![0; (end - start) as usize];
    match zeros.is_empty() {
        true => Ok(()),
        false => sink.write_at(start, &zeros).map_err(WriteError::Sink),
    }
}
