//! Memory budget of a container, and the memory needs of each step of reading it.
//!
//! Every need is a function of sizes that the header and the directory state, and that have been
//! compared with the file's true length. A container is therefore refused before any allocation of
//! the step that would exceed the budget. The result depends neither on the number of threads nor
//! on earlier operations. `fuzz/properties/tests/budget.rs` compares the figures with a counting
//! allocator.

use std::fmt;

use unweight_cpu::fast::Scratch;
use unweight_format::layout::{self, FIELDS};
use unweight_format::{Tensor, limits};

use crate::Threads;

/// The most bytes that may be allocated at a time for an open container and one operation on it. A
/// caller that runs several operations at a time gives each a part. Memory that the caller holds,
/// passes in as an output buffer or receives as a result is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    bytes: u64,
}

/// Budget of every file, however short.
const FLOOR_BYTES: u64 = 16 << 20;
/// Budget for each byte of a file. The source section has the greatest need: see
/// [`SOURCE_BYTES_PER_BYTE`].
const PER_BYTE: u64 = 24;
/// The budget does not grow past this file length: it is the limit on directory and source section.
const COUNTED_BYTES: u64 = limits::DIRECTORY_BYTES;

/// Need for each byte of a source section, which is compared with the directory as lists of names
/// and dimensions. A dimension takes two bytes of JSON and eight of memory, and vectors grow by
/// doubling.
const SOURCE_BYTES_PER_BYTE: u64 = 16;
/// Need of the shortest source section.
const SOURCE_FLOOR_BYTES: u64 = 4 << 10;
/// Need for each original byte of a chunk in work: its stored bytes, its restored bytes, its values,
/// and the output of transcoding.
const CHUNK_BYTES_PER_BYTE: u64 = 8;
/// Original bytes of the largest chunk.
const LARGEST_CHUNK_BYTES: u64 = 8 << *limits::CHUNK_SIZE_LOG2.end();
/// A writer keeps for each tensor its declaration, an index entry by name and its result. It also
/// builds the directory.
const WRITER_BYTES_PER_TENSOR: u64 = 128;
/// A tensor that is decoded in place needs a lock for each chunk's part of the output.
const PIECE_BYTES: u64 = 64;

impl MemoryBudget {
    /// A budget of this many bytes.
    pub const fn of_bytes(bytes: u64) -> MemoryBudget {
        MemoryBudget { bytes }
    }

    /// The default budget for a file of this true length: enough for every valid file. It grows
    /// with the file up to a length of 2^28 bytes, the limit on directory and source section.
    pub const fn for_length(true_length: u64) -> MemoryBudget {
        let counted = match true_length < COUNTED_BYTES {
            true => true_length,
            false => COUNTED_BYTES,
        };
        MemoryBudget {
            bytes: FLOOR_BYTES + PER_BYTE * counted,
        }
    }

    /// Adds memory for one chunk of the greatest size for each of these threads.
    pub const fn with_threads(self, threads: u64) -> MemoryBudget {
        MemoryBudget {
            bytes: self
                .bytes
                .saturating_add(threads.saturating_mul(chunk_bytes(LARGEST_CHUNK_BYTES, FIELDS))),
        }
    }

    /// The default for a file of this true length that these threads work on. No thread waits for
    /// memory.
    pub fn for_file(true_length: u64, threads: &Threads) -> MemoryBudget {
        MemoryBudget::for_length(true_length).with_threads(threads.count() as u64)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// Checks that this many bytes are within the budget.
    ///
    /// # Errors
    /// [`OverBudget`], for this purpose.
    pub const fn require(self, purpose: Purpose, needed_bytes: u64) -> Result<(), OverBudget> {
        if needed_bytes <= self.bytes {
            return Ok(());
        }
        Err(OverBudget {
            purpose,
            needed_bytes,
            allowed_bytes: self.bytes,
        })
    }

    /// The number of chunks, at least one, that may be in work at a time beside `held_bytes` of
    /// existing allocations, if each needs `chunk_bytes`.
    ///
    /// # Errors
    /// [`OverBudget`] if not even one fits.
    pub(crate) fn chunks_beside(
        self,
        purpose: Purpose,
        held_bytes: u64,
        chunk_bytes: u64,
    ) -> Result<u64, OverBudget> {
        self.require(purpose, held_bytes + chunk_bytes)?;
        Ok((self.bytes - held_bytes) / chunk_bytes)
    }
}

/// Need of one chunk of this many original bytes in work, of a tensor with so many coded fields,
/// including the buffers of the thread that works on it.
pub(crate) const fn chunk_bytes(data_bytes: u64, coded_fields: usize) -> u64 {
    Scratch::most_bytes(coded_fields) + CHUNK_BYTES_PER_BYTE * data_bytes
}

/// Need of reading a source section of this many bytes and comparing it with the directory.
pub(crate) const fn source_bytes(length: u64) -> u64 {
    SOURCE_FLOOR_BYTES + length + SOURCE_BYTES_PER_BYTE * length
}

/// Need of a [`ContainerWriter`](unweight_format::write::ContainerWriter) of this many tensors with
/// a directory of this many bytes, without the record ends of one tensor.
pub(crate) const fn writer_bytes(tensors: u64, directory_bytes: u64) -> u64 {
    WRITER_BYTES_PER_TENSOR * tensors + directory_bytes
}

/// Need of this many record ends. The writer's list of them grows by doubling.
pub(crate) const fn record_ends_bytes(records: u64) -> u64 {
    2 * layout::RECORD_END_BYTES * records
}

/// Need of a tensor's largest chunk in work. Of a tensor without records it is that of 64 KiB.
pub(crate) fn largest_chunk_bytes(tensor: &Tensor<'_>) -> u64 {
    let (forms, payload) = (tensor.forms(), tensor.payload());
    let data_bytes = match forms.is_coded() {
        true => (forms.dtype().weight_bytes() as u64) << payload.chunk_size_log2(),
        false => layout::BLOCK_BYTES,
    };
    chunk_bytes(tensor.data_bytes().min(data_bytes), forms.coded_count())
}

/// Need of the palettes and record ends of a tensor.
pub(crate) fn index_bytes(tensor: &Tensor<'_>) -> u64 {
    record_ends_bytes(tensor.payload().record_count())
}

/// Need of the locked output parts of a tensor that is decoded in place as so many pieces.
pub(crate) const fn pieces_bytes(pieces: u64) -> u64 {
    PIECE_BYTES * pieces
}

/// The step that needs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Reading header, directory and extensions.
    Open,
    /// Reading the source section, and comparing it with the directory.
    Source,
    /// Decoding a chunk, or a block of a raw tensor.
    Chunk,
    /// Decoding a tensor.
    Tensor,
    /// Restoring the whole file.
    Restore,
    /// Transcoding the whole file.
    Transcode,
    /// Compressing the whole file.
    Compress,
    /// Reporting on the contents of a file.
    Report,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Open => "opening the file",
            Purpose::Source => "reading the source section",
            Purpose::Chunk => "decoding a chunk",
            Purpose::Tensor => "decoding the tensor",
            Purpose::Restore => "restoring the file",
            Purpose::Transcode => "transcoding the file",
            Purpose::Compress => "compressing the file",
            Purpose::Report => "the report on the file",
        })
    }
}

/// A file needs more memory than its budget allows. It may be valid: no rule of the specification
/// is broken (section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverBudget {
    /// The step that needs the memory.
    pub purpose: Purpose,
    /// The smallest budget with which this step is allowed.
    pub needed_bytes: u64,
    /// The budget.
    pub allowed_bytes: u64,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} needs {} bytes of memory, but {} are allowed",
            self.purpose, self.needed_bytes, self.allowed_bytes
        )
    }
}

impl std::error::Error for OverBudget {}
