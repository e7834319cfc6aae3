//! Read access to an open container: tensors, chunks and ranges of weights of a [`Storage`].
//!
//! This is the API below [`Model`](crate::Model), for programs that keep the storage themselves, place
//! chunks on their own device, measure single steps or test them. It borrows the storage, and its
//! functions are generic over it. Everything else is easier with `Model` and
//! [`Writer`](crate::Writer).
//!
//! - [`OpenFile`] reads header, directory and extensions, and [`Container`] is the view that all
//!   functions take.
//! - [`decode_tensor`], [`decode_tensor_into`], [`restore`] and [`transcode`] read whole tensors and
//!   files; the methods of `Container` read ranges, and, with a [`TensorIndex`], chunks and records.
//! - [`Encoder`] and [`copy_raw_tensor`] write tensors, and a [`breakdown`](crate::breakdown) says
//!   what they take.
//! - [`in_order`] runs the caller's own work on chunks.

mod breakdown;
mod chunk;
mod coalesce;
mod decode;
mod encode;
mod index;
mod padding;
mod ranges;
mod restore;
mod slices;
mod source_chunks;
mod transcode;
mod write_chunks;

use std::{io, iter, slice};

use unweight_cpu::fast::Codec;
use unweight_format::{Directory, DirectoryBuf, Extensions, Extent, FileHeader, Tensor, layout};

use crate::memory::{index_bytes, largest_chunk_bytes};
#[cfg(feature = "cuda")]
use crate::read_extent_into;
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
pub use crate::threads::{Items, in_order};
use crate::{Coalesce, MemoryBudget, OverBudget, Purpose, ReadError, Storage, read_extent};
use chunk::Worker;
pub use decode::{decode_tensor, decode_tensor_into};
pub use encode::{Encoder, TransferError, copy_raw_tensor};
pub use index::TensorIndex;
pub(crate) use ranges::from_little_endian;
pub use restore::restore;
pub use transcode::{transcode, transcode_tensor};

/// A storage whose header, directory and extensions have been read and checked.
#[derive(Debug)]
pub struct OpenFile<'s, S: ?Sized> {
    storage: &'s S,
    opened: Opened,
}

/// State of an open file.
#[derive(Debug)]
pub(crate) struct Opened {
    header: FileHeader,
    directory: DirectoryBuf,
    budget: MemoryBudget,
    coalesce: Option<Coalesce>,
    workers: Pool<Worker>,
    codec: Codec,
}

/// A view of an open file, with access to tensors, chunks and ranges. Copies are cheap.
#[derive(Debug)]
pub struct Container<'a, S: ?Sized> {
    storage: &'a S,
    header: FileHeader,
    directory: Directory<'a>,
    budget: MemoryBudget,
    coalesce: Option<Coalesce>,
    /// Bytes that were read ahead.
    windows: &'a [Window],
    /// Memory of the budget that the caller uses.
    beside_bytes: u64,
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
    /// Reads header, directory and extensions, within the [default
    /// budget](MemoryBudget::for_length) for the storage's true length.
    ///
    /// # Errors
    /// The rules of sections 3.1 and 3.4, and those of [`Directory::parse`].
    pub fn read(storage: &'s S) -> Result<Self, ReadError> {
        let true_length = storage.byte_length()?;
        Self::read_file(storage, true_length, MemoryBudget::for_length(true_length))
    }

    /// Reads header, directory and extensions within the budget that `budget` returns for the
    /// storage's true length. The length is read only once, so a file that grows meanwhile does not
    /// get the budget of a shorter file. The budget also applies to every later operation on the
    /// container.
    ///
    /// # Errors
    /// The errors of [`OpenFile::read`]; [`ReadError::OverBudget`].
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
        let opened = Opened::read(storage, true_length, budget, None)?;
        Ok(OpenFile { storage, opened })
    }

    /// The container of this file.
    pub fn container(&self) -> Container<'_, S> {
        self.opened.container(self.storage)
    }
}

impl Opened {
    /// Reads header, directory and extensions of a storage of this true length.
    pub(crate) fn read<S: Storage + ?Sized>(
        storage: &S,
        true_length: u64,
        budget: MemoryBudget,
        coalesce: Option<Coalesce>,
    ) -> Result<Opened, ReadError> {
        budget.require(Purpose::Open, layout::FILE_HEADER_BYTES)?;
        let mut window = Window::default();
        if let Some(coalesce) = coalesce {
            let longest = coalesce.gap().min(coalesce.longest());
            let begin = Extent {
                offset: 0,
                length: true_length.min(longest).min(budget.bytes() / 8),
            };
            window.load(storage, begin);
        }
        let begin = Extent {
            offset: 0,
            length: true_length.min(layout::FILE_HEADER_BYTES),
        };
        let header = FileHeader::parse(read(
            storage,
            slice::from_ref(&window),
            begin,
            &mut Vec::new(),
        )?)?;
        if true_length > header.file_length() {
            // Either the file has trailing bytes or the storage reported a wrong length. Reading
            // one byte decides which.
            let trailing = Extent {
                offset: header.file_length(),
                length: 1,
            };
            read_extent(storage, trailing, &mut Vec::new()).map_err(io::Error::from)?;
        }
        header.require_file_length(true_length)?;
        // The directory is held twice, in the read buffer and in the kept copy, and the extensions
        // once, when the directory has been copied.
        let (directory, extensions) = (header.directory(), header.extensions());
        let beside_copy = directory.length.max(extensions.length);
        let needed = layout::FILE_HEADER_BYTES + directory.length + beside_copy;
        budget.require(Purpose::Open, needed)?;
        if window.get(directory).is_none() {
            window = Window::default();
            if let Some(coalesce) = coalesce
                && extensions.length > 0
            {
                // The source section between them may be short.
                let longest = coalesce.longest().min((budget.bytes() - needed) / 2);
                let merged = coalesce.merged(directory, iter::once(extensions), longest);
                if merged != directory {
                    window.load(storage, merged);
                }
            }
        }
        let (windows, mut buffer) = (slice::from_ref(&window), Vec::new());
        let bytes = read(storage, windows, directory, &mut buffer)?;
        let directory = DirectoryBuf::parse(&header, bytes.into())?;
        drop(buffer);
        let mut buffer = Vec::new();
        let bytes = read(storage, windows, extensions, &mut buffer)?;
        Extensions::parse(&header, bytes, &[])?;
        Ok(Opened {
            header,
            directory,
            budget,
            coalesce,
            workers: Pool::default(),
            codec: Codec::current(),
        })
    }

    /// The container in `storage`, which must be the storage that this file was read from.
    pub(crate) fn container<'a, S: ?Sized>(&'a self, storage: &'a S) -> Container<'a, S> {
        Container {
            storage,
            header: self.header,
            directory: self.directory.as_directory(),
            budget: self.budget,
            coalesce: self.coalesce,
            windows: &[],
            beside_bytes: 0,
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

    /// The same file with this codec.
    pub(crate) fn with_codec(self, codec: Codec) -> Opened {
        Opened { codec, ..self }
    }
}

impl<'a, S: Storage + ?Sized> Container<'a, S> {
    /// The same container with this codec instead of the [current](Codec::current) one.
    pub fn with_codec(self, codec: Codec) -> Self {
        Container { codec, ..self }
    }

    /// The same container, with [merged reads](crate::OpenOptions::coalesce).
    pub fn with_coalesce(self, coalesce: Coalesce) -> Self {
        Container {
            coalesce: Some(coalesce),
            ..self
        }
    }

    /// The same container, whose operations leave this much of the budget to the caller.
    pub fn beside(self, bytes: u64) -> Self {
        // Sums with sizes of files stay below 2^64.
        const MOST: u64 = u64::MAX / 2;
        Container {
            beside_bytes: self.beside_bytes.saturating_add(bytes).min(MOST),
            ..self
        }
    }

    /// The codec that decodes the container.
    pub(crate) const fn codec(&self) -> Codec {
        self.codec
    }

    /// The memory budget of the container.
    pub const fn budget(&self) -> MemoryBudget {
        self.budget
    }

    /// The memory that is held as long as the container is open, that of bytes read ahead, and that
    /// of the caller.
    pub(crate) fn held_bytes(&self) -> u64 {
        let windows = self.windows.iter().map(Window::held_bytes);
        self.header.directory().length + windows.sum::<u64>() + self.beside_bytes
    }

    /// The number of chunks, or blocks, of this tensor that may be in work at a time beside its
    /// record ends. Frees the buffers of more workers than that.
    ///
    /// # Errors
    /// [`OverBudget`] if not even one fits.
    pub fn chunks_in_work(&self, tensor: &Tensor<'_>) -> Result<u64, OverBudget> {
        let held = self.held_bytes() + index_bytes(tensor);
        self.workers_beside(Purpose::Tensor, held, largest_chunk_bytes(tensor))
    }

    /// Same as [`MemoryBudget::chunks_beside`]. Frees the buffers of more workers than that.
    fn workers_beside(
        &self,
        purpose: Purpose,
        held_bytes: u64,
        chunk_bytes: u64,
    ) -> Result<u64, OverBudget> {
        let in_work = self
            .budget
            .chunks_beside(purpose, held_bytes, chunk_bytes)?;
        self.workers.keep_at_most(in_work);
        Ok(in_work)
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
    /// `source-crc`; [`checked_source`](Container::checked_source) checks `source-header` too.
    /// [`ReadError::OverBudget`].
    pub fn source(&self) -> Result<Vec<u8>, ReadError> {
        // The section is held twice: in the read buffer and in the returned copy.
        let needed = self.held_bytes() + 2 * self.header.source().length;
        self.budget.require(Purpose::Source, needed)?;
        let mut buffer = Vec::new();
        let source = self.read(self.header.source(), &mut buffer)?.to_vec();
        self.header.require_source_checksum(&source)?;
        Ok(source)
    }

    /// Reads the bytes of an extent that the header or the directory states. They are borrowed or
    /// read into `buffer`, whose memory does not count towards the budget.
    ///
    /// # Errors
    /// The errors of the storage; `file-truncated` if the file has been truncated since it was
    /// opened.
    pub fn read_extent<'b>(
        &'b self,
        extent: Extent,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ReadError> {
        self.read(extent, buffer)
    }

    /// Same as [`Container::read_extent`], but into `output`, which is as long.
    ///
    /// # Errors
    /// The errors of [`Container::read_extent`].
    ///
    /// # Panics
    /// If `output` is not as long as the extent.
    #[cfg(feature = "cuda")]
    pub(crate) fn read_extent_into(
        &self,
        extent: Extent,
        output: &mut [u8],
    ) -> Result<(), ReadError> {
        read_extent_into(self.storage, extent, output)
            .map_err(|error| ReadError::from_storage(error, || self.storage.byte_length()))
    }

    /// Reads an extent within the file length that the header states and that has been checked.
    fn read<'b>(&'b self, extent: Extent, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], ReadError> {
        read(self.storage, self.windows, extent, buffer)
    }
}

/// Reads an extent within the file length that the header states and that has been checked.
fn read<'a, S: Storage + ?Sized>(
    storage: &'a S,
    windows: &'a [Window],
    extent: Extent,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], ReadError> {
    if extent.length == 0 {
        return Ok(&[]);
    }
    match windows.iter().find_map(|window| window.get(extent)) {
        Some(bytes) => Ok(bytes),
        None => read_extent(storage, extent, buffer)
            .map_err(|error| ReadError::from_storage(error, || storage.byte_length())),
    }
}
