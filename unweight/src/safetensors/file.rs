//! Safetensors files whose tensors are read as they are.

use std::sync::{Mutex, PoisonError};

use unweight_format::{Extent, layout};

use super::{Header, SourceTensor};
use crate::memory::{pieces_bytes, source_bytes};
use crate::slice::Runs;
use crate::storage::pool::Pool;
use crate::threads::{Items, Threads, in_order};
use crate::{Error, MemoryBudget, Purpose, Storage, StorageFault, read_extent};

/// The longest read that spans gaps, in bytes.
const LONGEST_BYTES: u64 = 256 << 10;
/// The most runs that are read at once.
const TOGETHER: usize = 4096;
/// Need of a list of them, which grows by doubling.
const TOGETHER_BYTES: u64 = 2 * 16 * TOGETHER as u64;

/// An open safetensors file: its header, and the storage that has its tensors.
///
/// [`Checkpoint`](crate::Checkpoint) opens it, and gives access to its tensors.
pub(crate) struct SafetensorsFile {
    storage: Box<dyn Storage + Send>,
    /// The bytes before the tensors' data.
    section: Vec<u8>,
    header: Header,
    /// Numbers of tensors, sorted by name.
    by_name: Vec<u32>,
    budget: MemoryBudget,
    threads: Threads,
}

impl SafetensorsFile {
    pub(crate) fn read(
        storage: Box<dyn Storage + Send>,
        length: u64,
        budget: MemoryBudget,
        threads: Threads,
    ) -> Result<SafetensorsFile, Error> {
        let (section, header) = read_header(&*storage, length, budget)?;
        let mut by_name: Vec<u32> = (0..header.tensors.len() as u32).collect();
        by_name.sort_unstable_by_key(|&number| &header.tensors[number as usize].name);
        Ok(SafetensorsFile {
            storage,
            section,
            header,
            by_name,
            budget,
            threads,
        })
    }

    /// The header.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The length field and the JSON.
    pub(crate) fn header_bytes(&self) -> &[u8] {
        &self.section
    }

    /// The tensor of this name.
    pub(crate) fn tensor(&self, name: &str) -> Option<&SourceTensor> {
        let of = |number: u32| &self.header.tensors[number as usize];
        let found = self
            .by_name
            .binary_search_by(|&number| of(number).name.as_str().cmp(name));
        found.ok().map(|place| of(self.by_name[place]))
    }

    /// Reads bytes of a tensor's data into `output`, which is as long.
    ///
    /// # Errors
    /// [`Error::SourceLength`], [`Error::Read`].
    #[cfg(feature = "cuda")]
    pub(crate) fn read_extent_into(&self, extent: Extent, output: &mut [u8]) -> Result<(), Error> {
        crate::read_extent_into(&*self.storage, extent, output).map_err(|error| {
            let begin = extent.offset.saturating_sub(self.header.header_bytes);
            let tensors = &self.header.tensors;
            let number = tensors.partition_point(|tensor| tensor.end <= begin);
            self.failed(&tensors[number.min(tensors.len() - 1)], error)
        })
    }

    /// The budget.
    #[cfg(feature = "cuda")]
    pub(crate) const fn budget(&self) -> MemoryBudget {
        self.budget
    }

    /// The memory that is held as long as the file is open.
    #[cfg(feature = "cuda")]
    pub(crate) fn held_bytes(&self) -> u64 {
        source_bytes(self.header.header_bytes)
    }

    /// The threads that read.
    #[cfg(feature = "cuda")]
    pub(crate) const fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Reads the bytes of these runs of a tensor into `output`, which is as long.
    ///
    /// # Errors
    /// [`Error::OverBudget`], [`Error::SourceLength`], [`Error::Read`].
    pub(crate) fn read_runs(
        &self,
        tensor: &SourceTensor,
        runs: &Runs,
        output: &mut [u8],
    ) -> Result<(), Error> {
        /// Bytes that are read at once. They are copied while they are in the cache.
        const PIECE_BYTES: u64 = 256 << 10;
        let all = self.header.data(tensor);
        let count = (output.len() as u64).div_ceil(PIECE_BYTES);
        let held = source_bytes(self.header.header_bytes) + pieces_bytes(count);
        let piece_bytes = LONGEST_BYTES.min(all.length) + TOGETHER_BYTES;
        let at_most = self
            .budget
            .chunks_beside(Purpose::Tensor, held, piece_bytes)?;
        let pieces: Vec<_> = (0..)
            .zip(output.chunks_mut(PIECE_BYTES as usize))
            .map(|(number, piece): (u64, _)| (number * PIECE_BYTES, piece))
            .map(|piece| Mutex::new(Some(piece)))
            .collect();
        let buffers = Pool::<Vec<u8>>::default();
        let read = |number: u64| {
            let piece = pieces[number as usize].lock();
            let piece = piece.unwrap_or_else(PoisonError::into_inner).take();
            let (position, output) = piece.expect("each piece is worked on once");
            let mut buffer = buffers.take();
            let done = self.read_piece(all, runs, position, output, &mut buffer);
            buffers.put(buffer);
            done.map_err(|error| self.failed(tensor, error))
        };
        let items = Items::new(pieces.len() as u64).at_most(at_most);
        in_order(&self.threads, items, read, |()| Ok(()))
    }

    /// Reads the bytes of a slice from `position` on. Runs that are near each other are read at
    /// once.
    fn read_piece(
        &self,
        all: Extent,
        runs: &Runs,
        position: u64,
        output: &mut [u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), crate::StorageError> {
        /// The longest gap in a read: what a read of its own costs.
        const GAP_BYTES: u64 = 16 << 10;
        let mut parts = runs
            .parts(position..position + output.len() as u64)
            .peekable();
        let mut rest = output;
        let mut together = Vec::new();
        while let Some(first) = parts.next() {
            let start = first.0;
            let mut end = start + first.1;
            together.clear();
            together.push(first);
            while together.len() < TOGETHER
                && let Some((offset, length)) = parts.next_if(|&(offset, length)| {
                    offset - end <= GAP_BYTES && offset + length - start <= LONGEST_BYTES
                })
            {
                together.push((offset, length));
                end = offset + length;
            }
            let extent = Extent {
                offset: all.offset + start,
                length: end - start,
            };
            let bytes = read_extent(&*self.storage, extent, buffer)?;
            for &(offset, length) in &together {
                let (run, others) = rest.split_at_mut(length as usize);
                let from = (offset - start) as usize;
                run.copy_from_slice(&bytes[from..from + run.len()]);
                rest = others;
            }
        }
        Ok(())
    }

    /// A file that is shorter than it was when it was opened is not what its header says.
    fn failed(&self, tensor: &SourceTensor, mut error: crate::StorageError) -> Error {
        if let StorageFault::EndsAt(found) = *error.fault() {
            return Error::SourceLength {
                found,
                header_bytes: self.header.header_bytes,
                data_bytes: Some(self.header.data_bytes()),
            };
        }
        error.note_tensor(&tensor.name);
        Error::Read(error.into())
    }
}

impl std::fmt::Debug for SafetensorsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SafetensorsFile")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Reads and checks the header of a safetensors file of this length: its bytes, and what they say.
pub(crate) fn read_header<R: Storage + ?Sized>(
    source: &R,
    length: u64,
    budget: MemoryBudget,
) -> Result<(Vec<u8>, Header), Error> {
    let section = read_begin(source, length, layout::SAFETENSORS_LENGTH_BYTES)?;
    let mut length_field = [0; layout::SAFETENSORS_LENGTH_BYTES as usize];
    length_field.copy_from_slice(&section);
    let header_bytes = Header::bytes_from_length(length_field)?;
    require_begin(length, header_bytes)?;
    Header::require_within(budget, header_bytes)?;
    let section = read_begin(source, length, header_bytes)?;
    let header = Header::parse(&section)?;
    let data_bytes = header.data_bytes();
    if header_bytes.checked_add(data_bytes) != Some(length) {
        return Err(Error::SourceLength {
            found: length,
            header_bytes,
            data_bytes: Some(data_bytes),
        });
    }
    Ok((section, header))
}

/// Checks that a file of this length has a header of this many bytes.
fn require_begin(length: u64, header_bytes: u64) -> Result<(), Error> {
    match header_bytes <= length {
        true => Ok(()),
        false => Err(Error::SourceLength {
            found: length,
            header_bytes,
            data_bytes: None,
        }),
    }
}

/// The first bytes of a file of this length.
fn read_begin<R: Storage + ?Sized>(source: &R, length: u64, bytes: u64) -> Result<Vec<u8>, Error> {
    require_begin(length, bytes)?;
    let extent = Extent {
        offset: 0,
        length: bytes,
    };
    let mut buffer = Vec::new();
    let found = read_extent(source, extent, &mut buffer);
    Ok(found.map_err(|error| Error::Read(error.into()))?.to_vec())
}
