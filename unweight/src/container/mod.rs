//! A container that is open for reading: tensors, chunks and ranges of weights out of a [`Storage`].
//!
//! This is the layer below [`Model`](crate::Model), for programs that bring threads or devices of their own.

mod decode;
mod encode;
mod ranges;
mod restore;
mod transcode;

use std::io;
use std::mem::MaybeUninit;

use half::bf16;
use unweight_format::{
    ChunkShape, CodedPlanes, Directory, DirectoryBuf, Extent, FileHeader, Payload, RawPlane,
    Record, Rule, Tensor, UncheckedRecord, layout, require_zero,
};

use unweight_cpu::fast::{Codec, Output, Scratch};

use crate::memory::{chunk_bytes, index_bytes, largest_chunk, record_ends_bytes};
use crate::storage::limit_capacity;
use crate::storage::pool::Pool;
use crate::{MemoryBudget, OverBudget, Purpose, ReadError, Storage, read_extent};
pub use decode::{decode_tensor, decode_tensor_into};
pub use encode::{Encoder, TransferError, copy_raw_tensor, encode_tensor};
pub use restore::restore;
pub use transcode::{transcode, transcode_tensor};

/// A storage whose header and directory have been read and checked.
#[derive(Debug)]
pub struct OpenFile<'s, S: ?Sized> {
    storage: &'s S,
    opened: Opened,
}

/// What is kept of a file while it is open.
#[derive(Debug)]
pub(crate) struct Opened {
    header: FileHeader,
    directory: DirectoryBuf,
    budget: MemoryBudget,
    workers: Pool<Worker>,
    codec: Codec,
}

/// The buffers and tables of one worker on the chunks of a container.
#[derive(Debug, Default)]
struct Worker {
    /// For a record, where the storage does not lend it.
    record: Vec<u8>,
    /// For a chunk's sign-mantissa bytes, where the storage does not lend them.
    sign_mantissa: Vec<u8>,
    scratch: Scratch,
}

/// A view of an open file: tensors, chunks and ranges. It costs nothing to copy.
#[derive(Debug)]
pub struct Container<'a, S: ?Sized> {
    storage: &'a S,
    header: FileHeader,
    directory: Directory<'a>,
    budget: MemoryBudget,
    workers: &'a Pool<Worker>,
    codec: Codec,
}

impl<S: ?Sized> Clone for Container<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for Container<'_, S> {}

impl<'s, S: Storage + ?Sized> OpenFile<'s, S> {
    /// Reads header and directory, within the [default budget](MemoryBudget::for_length) for the storage's true length.
    ///
    /// # Errors
    /// The rules of section 3.1, and those that [`Directory::parse`] checks.
    pub fn read(storage: &'s S) -> Result<Self, ReadError> {
        let true_length = storage.byte_length()?;
        Self::read_file(storage, true_length, MemoryBudget::for_length(true_length))
    }

    /// Reads header and directory within this budget. It holds for everything that is done with the container too.
    ///
    /// # Errors
    /// As [`OpenFile::read`]; [`ReadError::OverBudget`].
    pub fn read_within(storage: &'s S, budget: MemoryBudget) -> Result<Self, ReadError> {
        Self::read_file(storage, storage.byte_length()?, budget)
    }

    /// Reads header and directory, within the budget that `budget` gives for the storage's true length. The length is asked for once:
    /// a file that grows meanwhile is not held to the budget of a shorter one.
    ///
    /// # Errors
    /// The rules of section 3.1; [`ReadError::OverBudget`].
    pub fn read_with(
        storage: &'s S,
        budget: impl FnOnce(u64) -> MemoryBudget,
    ) -> Result<Self, ReadError> {
        let true_length = storage.byte_length()?;
        Self::read_file(storage, true_length, budget(true_length))
    }

    fn read_file(
        storage: &'s S,
        true_length: u64,
        budget: MemoryBudget,
    ) -> Result<Self, ReadError> {
        let opened = Opened::read(storage, true_length, budget)?;
        Ok(OpenFile { storage, opened })
    }

    /// The container in it.
    pub fn container(&self) -> Container<'_, S> {
        self.opened.container(self.storage)
    }
}

impl Opened {
    /// Reads header and directory of a storage of this true length.
    pub(crate) fn read<S: Storage + ?Sized>(
        storage: &S,
        true_length: u64,
        budget: MemoryBudget,
    ) -> Result<Opened, ReadError> {
        budget.require(Purpose::Open, layout::FILE_HEADER_BYTES)?;
        let begin = Extent {
            offset: 0,
            length: true_length.min(layout::FILE_HEADER_BYTES),
        };
        let header = FileHeader::parse(read(storage, begin, &mut Vec::new())?)?;
        if true_length > header.file_length() {
            // Trailing bytes are there, or the storage told a wrong length.
            let trailing = Extent {
                offset: header.file_length(),
                length: 1,
            };
            read_extent(storage, trailing, &mut Vec::new()).map_err(io::Error::from)?;
        }
        header.require_file_length(true_length)?;
        // Once as it is read, once as it is kept.
        let needed = layout::FILE_HEADER_BYTES + 2 * header.directory().length;
        budget.require(Purpose::Open, needed)?;
        let mut buffer = Vec::new();
        let directory = read(storage, header.directory(), &mut buffer)?;
        Ok(Opened {
            header,
            directory: DirectoryBuf::parse(&header, directory.into())?,
            budget,
            workers: Pool::default(),
            codec: Codec::current(),
        })
    }

    /// The container in `storage`, which this was read from.
    pub(crate) fn container<'a, S: ?Sized>(&'a self, storage: &'a S) -> Container<'a, S> {
        Container {
            storage,
            header: self.header,
            directory: self.directory.as_directory(),
            budget: self.budget,
            workers: &self.workers,
            codec: self.codec,
        }
    }

    pub(crate) const fn header(&self) -> &FileHeader {
        &self.header
    }

    pub(crate) fn directory(&self) -> Directory<'_> {
        self.directory.as_directory()
    }

    /// The same file, decoded by this codec.
    pub(crate) fn with_codec(self, codec: Codec) -> Opened {
        Opened { codec, ..self }
    }
}

impl<'a, S: Storage + ?Sized> Container<'a, S> {
    /// The same container, decoded by this codec instead of the [current](Codec::current) one.
    pub fn with_codec(self, codec: Codec) -> Self {
        Container { codec, ..self }
    }

    /// The codec that decodes it.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// What may be allocated for it.
    pub const fn budget(&self) -> MemoryBudget {
        self.budget
    }

    /// What is allocated for it as long as it is open.
    pub(crate) const fn held_bytes(&self) -> u64 {
        self.header.directory().length
    }

    /// How many chunks, or blocks, of this tensor may be in work at a time, beside its record ends. Buffers of more workers than
    /// that are freed.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no room for one.
    pub fn chunks_in_work(&self, tensor: &Tensor<'_>) -> Result<u64, OverBudget> {
        let held = self.held_bytes() + index_bytes(tensor);
        self.workers_beside(Purpose::Tensor, held, largest_chunk(tensor))
    }

    /// As [`MemoryBudget::chunks_beside`]. Buffers of more workers than that are freed.
    fn workers_beside(
        &self,
        purpose: Purpose,
        held_bytes: u64,
        chunk_weights: u64,
    ) -> Result<u64, OverBudget> {
        let in_work = self
            .budget
            .chunks_beside(purpose, held_bytes, chunk_weights)?;
        self.workers.keep_at_most(in_work);
        Ok(in_work)
    }

    /// Checks that one chunk of this many weights has room.
    fn require_chunk(&self, weights: u64) -> Result<(), OverBudget> {
        let needed = self.held_bytes() + chunk_bytes(weights);
        self.budget.require(Purpose::Chunk, needed)
    }

    /// The file header.
    pub const fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The directory.
    pub const fn directory(&self) -> &Directory<'a> {
        &self.directory
    }

    /// The source section.
    ///
    /// # Errors
    /// `source-crc`; [`checked_source`](Container::checked_source) checks `source-header` too. [`ReadError::OverBudget`].
    pub fn source(&self) -> Result<Vec<u8>, ReadError> {
        // Once as it is read, once as it is given.
        let needed = self.held_bytes() + 2 * self.header.source().length;
        self.budget.require(Purpose::Source, needed)?;
        let mut buffer = Vec::new();
        let source = read(self.storage, self.header.source(), &mut buffer)?.to_vec();
        self.header.require_source_checksum(&source)?;
        Ok(source)
    }

    /// Checks all padding outside of planes, and the guard (section 3.4).
    ///
    /// # Errors
    /// `padding`.
    pub fn require_zero_padding(&self) -> Result<(), ReadError> {
        let mut end = self.header.source().end();
        // The payload begins on a multiple of 256 even if no tensor has a byte.
        self.require_zero(end, self.directory.payload_start())?;
        end = self.directory.payload_start();
        for tensor in self.directory.tensors() {
            let payload = tensor.payload();
            let within = || match payload {
                Payload::Raw(plane) => self.require_zero_in(&[plane.padding()]),
                Payload::Coded(planes) => self.require_zero_in(&planes.padding()),
            };
            self.require_zero(end, payload.start())
                .and_then(|()| within())
                .map_err(|error| error.of_tensor(tensor.name()))?;
            end = payload.end();
        }
        self.require_zero(end, end + layout::GUARD_BYTES)
    }

    /// The record ends of a coded tensor, read whole: 4 bytes a chunk.
    ///
    /// # Errors
    /// The storage's; [`ReadError::OverBudget`].
    pub fn record_ends(&self, planes: &CodedPlanes) -> Result<Vec<u8>, ReadError> {
        let needed = self.held_bytes() + record_ends_bytes(planes.chunk_count());
        self.budget.require(Purpose::Tensor, needed)?;
        let mut buffer = Vec::new();
        Ok(read(self.storage, planes.record_ends(), &mut buffer)?.to_vec())
    }

    /// The bytes of an extent that header or directory state: borrowed, or read into `buffer`, which is the caller's memory and not
    /// the budget's.
    ///
    /// # Errors
    /// The storage's; `file-truncated` if it has been cut short since it was opened.
    pub fn read_extent<'b>(
        &'b self,
        extent: Extent,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ReadError> {
        read(self.storage, extent, buffer)
    }

    /// Decodes chunk `shape` of these planes, whose record stands at `record`, into `weights`, one for each of its weights.
    ///
    /// # Errors
    /// The rules of sections 5 and 6.
    pub fn decode_chunk(
        &self,
        planes: &CodedPlanes,
        shape: &ChunkShape,
        record: Extent,
        weights: &mut [bf16],
    ) -> Result<(), ReadError> {
        self.with_record(planes, shape, record, |record, sign_mantissa, scratch| {
            self.codec
                .decode_record(scratch, record, planes.palette(), sign_mantissa, weights)
        })
    }

    /// Decodes chunk `shape` of these planes, whose record stands at `record`, into the little-endian bytes of its weights.
    /// Where that succeeds, all of `bytes` are initialised; otherwise they hold anything.
    ///
    /// # Errors
    /// The rules of sections 5 and 6.
    pub fn decode_chunk_bytes(
        &self,
        planes: &CodedPlanes,
        shape: &ChunkShape,
        record: Extent,
        bytes: &mut [MaybeUninit<u8>],
    ) -> Result<(), ReadError> {
        self.decode_chunk_into(planes, shape, record, &mut Output::from(bytes))?;
        Ok(())
    }

    /// As [`Container::decode_chunk_bytes`]; gives the CRC-32 of what it wrote.
    ///
    /// A record is decoded before its checksum is known, which is computed on the way. That changes no verdict: kernels take
    /// any record, and where anything is wrong, the rules are applied once more in their order.
    pub(crate) fn decode_chunk_into(
        &self,
        planes: &CodedPlanes,
        shape: &ChunkShape,
        record: Extent,
        output: &mut Output<'_>,
    ) -> Result<u32, ReadError> {
        self.with_bytes(shape, record, |bytes, sign_mantissa, scratch| {
            let (encoding, offset) = (planes.encoding(), record.offset);
            let mut decode = || {
                let unchecked = UncheckedRecord::parse(shape, encoding, offset, bytes)?;
                let checksums = self.codec.decode_checked(
                    scratch,
                    unchecked.contents(),
                    planes.palette(),
                    sign_mantissa,
                    unchecked.checksum_so_far(),
                    output,
                )?;
                unchecked.require_checksum(checksums.chunk)?;
                Ok(checksums.weights)
            };
            decode().map_err(|error| {
                let in_order = Record::parse(shape, encoding, offset, bytes, sign_mantissa);
                ReadError::from(in_order.err().unwrap_or(error))
            })
        })
    }

    /// Reads and checks the record of chunk `shape`, and gives it, the chunk's sign-mantissa bytes and a codec's buffers to `then`.
    ///
    /// # Errors
    /// The rules of sections 5 and 6, and what `then` returns.
    pub fn with_record<T, E>(
        &self,
        planes: &CodedPlanes,
        shape: &ChunkShape,
        record: Extent,
        then: impl FnOnce(&Record<'_>, &[u8], &mut Scratch) -> Result<T, E>,
    ) -> Result<T, ReadError>
    where
        ReadError: From<E>,
    {
        self.with_bytes(shape, record, |bytes, sign_mantissa, scratch| {
            let encoding = planes.encoding();
            let record = Record::parse(shape, encoding, record.offset, bytes, sign_mantissa)?;
            Ok(then(&record, sign_mantissa, scratch)?)
        })
    }

    /// Reads a record and its chunk's sign-mantissa bytes, and gives both to `then`.
    fn with_bytes<T>(
        &self,
        shape: &ChunkShape,
        record: Extent,
        then: impl FnOnce(&[u8], &[u8], &mut Scratch) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.require_chunk(shape.weights.into())?;
        let mut worker = self.workers.take();
        let done = (|| {
            let bytes = read(self.storage, record, &mut worker.record)?;
            let sign_mantissa = read(self.storage, shape.sign_mantissa, &mut worker.sign_mantissa)?;
            then(bytes, sign_mantissa, &mut worker.scratch)
        })();
        limit_capacity(&mut worker.record);
        limit_capacity(&mut worker.sign_mantissa);
        self.workers.put(worker);
        done
    }

    /// Reads block `number` of a raw tensor, and checks it.
    ///
    /// # Errors
    /// `raw-crc`; [`ReadError::OverBudget`].
    pub fn read_block<'b>(
        &'b self,
        plane: &RawPlane,
        number: u64,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ReadError> {
        self.require_chunk(plane.block(number).length.div_ceil(2))?;
        let checksums = plane.checksums();
        let checksum = Extent {
            offset: checksums.offset + number * layout::BLOCK_CHECKSUM_BYTES,
            length: layout::BLOCK_CHECKSUM_BYTES,
        };
        let mut checksum_buffer = Vec::new();
        let mut stated = [0; layout::BLOCK_CHECKSUM_BYTES as usize];
        stated.copy_from_slice(read(self.storage, checksum, &mut checksum_buffer)?);
        let block = read(self.storage, plane.block(number), buffer)?;
        plane.require_block_checksum(number, block, stated)?;
        Ok(block)
    }

    /// Where record `number` stands, from its two neighbouring record ends alone.
    pub(crate) fn record_extent(
        &self,
        planes: &CodedPlanes,
        number: u64,
    ) -> Result<Extent, ReadError> {
        let has_before = u64::from(number > 0);
        let extent = Extent {
            offset: planes.record_ends().offset + (number - has_before) * layout::RECORD_END_BYTES,
            length: (1 + has_before) * layout::RECORD_END_BYTES,
        };
        let mut buffer = Vec::new();
        let ends = read(self.storage, extent, &mut buffer)?.as_chunks().0;
        let (before, end) = match *ends {
            [end] => (0, u32::from_le_bytes(end)),
            [before, end] => (u32::from_le_bytes(before), u32::from_le_bytes(end)),
            _ => unreachable!("one or two ends were read"),
        };
        Ok(planes.record_between(number, before, end)?)
    }

    fn require_zero_in(&self, extents: &[Extent]) -> Result<(), ReadError> {
        extents
            .iter()
            .try_for_each(|extent| self.require_zero(extent.offset, extent.end()))
    }

    fn require_zero(&self, start: u64, end: u64) -> Result<(), ReadError> {
        let extent = Extent {
            offset: start,
            length: end - start,
        };
        let mut buffer = Vec::new();
        let bytes = read(self.storage, extent, &mut buffer)?;
        Ok(require_zero(Rule::Padding, bytes, start)?)
    }
}

/// Reads an extent that the header's checked file length covers.
fn read<'a, S: Storage + ?Sized>(
    storage: &'a S,
    extent: Extent,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], ReadError> {
    read_extent(storage, extent, buffer)
        .map_err(|error| ReadError::from_storage(error, || storage.byte_length()))
}
