//! How much memory the caller allows for one container, and how much each step of reading it needs.
//!
//! Every need is a function of sizes that the header and the directory state, and that have been compared with the file's true length.
//! So a container is refused before anything is allocated for the step that would be too much, and the verdict depends
//! neither on the number of threads nor on what was done before. `fuzz/properties/tests/budget.rs` holds the figures to a counting allocator.

use std::fmt;

use unweight_format::{Payload, Tensor, layout, limits};

/// The most bytes that may be allocated at a time for an open container and one operation on it. Who runs several operations
/// at a time gives each a part. Not counted are what the caller itself holds, and what it asked to have filled or returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    bytes: u64,
}

/// What every file may take, however short.
const FLOOR_BYTES: u64 = 16 << 20;
/// What a file may take for each of its bytes. The greatest need is that of a source section: see [`SOURCE_BYTES_PER_BYTE`].
const PER_BYTE: u64 = 24;
/// Directory and source section do not grow past this with the file.
const COUNTED_BYTES: u64 = limits::DIRECTORY_BYTES;

/// A source section is compared with the directory as lists of names and dimensions: a dimension takes two bytes of JSON and eight
/// of memory, and vectors grow by doubling.
const SOURCE_BYTES_PER_BYTE: u64 = 16;
/// What the shortest source section takes.
const SOURCE_FLOOR_BYTES: u64 = 4 << 10;
/// A chunk in work: its bytes as they stand in the file and as they are restored, exponents, and what is made of them by transcoding.
const CHUNK_BYTES_PER_WEIGHT: u64 = 16;
/// The tables and buffers that a thread keeps, of one size whatever the chunk's.
const THREAD_BYTES: u64 = 512 << 10;
/// A writer keeps for each tensor its declaration, its place by name and what became of it; and it makes the directory.
const WRITER_BYTES_PER_TENSOR: u64 = 128;
/// Where a tensor is decoded in place, each chunk's part of the output is kept behind a lock.
const PIECE_BYTES: u64 = 64;

impl MemoryBudget {
    /// This many bytes.
    pub const fn of_bytes(bytes: u64) -> MemoryBudget {
        MemoryBudget { bytes }
    }

    /// The default for a file of this true length: enough for every valid file. It grows with the file up to 2^28 bytes, the limit on
    /// directory and source section.
    pub const fn for_length(true_length: u64) -> MemoryBudget {
        let counted = match true_length < COUNTED_BYTES {
            true => true_length,
            false => COUNTED_BYTES,
        };
        MemoryBudget {
            bytes: FLOOR_BYTES + PER_BYTE * counted,
        }
    }

    /// So much more that each of these threads has room for a chunk of the greatest size.
    pub const fn with_threads(self, threads: u64) -> MemoryBudget {
        MemoryBudget {
            bytes: self.bytes.saturating_add(
                threads.saturating_mul(chunk_bytes(1 << *limits::CHUNK_SIZE_LOG2.end())),
            ),
        }
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

    /// How many chunks of this many weights may be in work at a time, where `held_bytes` are allocated already: at least one.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no room for one.
    pub fn chunks_beside(
        self,
        purpose: Purpose,
        held_bytes: u64,
        chunk_weights: u64,
    ) -> Result<u64, OverBudget> {
        let chunk = chunk_bytes(chunk_weights);
        self.require(purpose, held_bytes + chunk)?;
        Ok((self.bytes - held_bytes) / chunk)
    }
}

/// What one chunk of this many weights takes while it is in work, with the thread that works on it.
pub(crate) const fn chunk_bytes(weights: u64) -> u64 {
    THREAD_BYTES + CHUNK_BYTES_PER_WEIGHT * weights
}

/// What a source section of this many bytes takes while it is read and compared with the directory.
pub(crate) const fn source_bytes(length: u64) -> u64 {
    SOURCE_FLOOR_BYTES + length + SOURCE_BYTES_PER_BYTE * length
}

/// What a [`ContainerWriter`](unweight_format::write::ContainerWriter) of this many tensors, whose directory has this many bytes,
/// holds besides the record ends of one tensor.
pub(crate) const fn writer_bytes(tensors: u64, directory_bytes: u64) -> u64 {
    WRITER_BYTES_PER_TENSOR * tensors + directory_bytes
}

/// What the record ends of so many chunks take: as they stand in a file, and as they are kept.
pub(crate) const fn record_ends_bytes(chunks: u64) -> u64 {
    2 * layout::RECORD_END_BYTES * chunks
}

/// The weights of a tensor's largest chunk. A block of a raw tensor counts as the weights that would fill it.
pub(crate) fn largest_chunk(tensor: &Tensor<'_>) -> u64 {
    match tensor.payload() {
        Payload::Raw(_) => tensor.data_bytes().min(layout::BLOCK_BYTES).div_ceil(2),
        Payload::Coded(planes) => planes.weights().min(1 << planes.chunk_size_log2()),
    }
}

/// What the record ends of a tensor take.
pub(crate) fn index_bytes(tensor: &Tensor<'_>) -> u64 {
    match tensor.payload() {
        Payload::Raw(_) => 0,
        Payload::Coded(planes) => record_ends_bytes(planes.chunk_count()),
    }
}

/// What the parts of the output take where a tensor is decoded in place.
pub(crate) fn pieces_bytes(tensor: &Tensor<'_>) -> u64 {
    PIECE_BYTES
        * match tensor.payload() {
            Payload::Raw(plane) => plane.block_count(),
            Payload::Coded(planes) => planes.chunk_count(),
        }
}

/// What memory is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading header and directory.
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
    /// Telling what a file holds.
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

/// A file needs more memory than it was given. It may be valid: this is no rule of the specification (section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// What for.
    pub purpose: Purpose,
    /// The least budget with which this step is not refused.
    pub needed_bytes: u64,
    /// The budget.
    pub allowed_bytes: u64,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} needs {} bytes of memory, allowed are {}",
            self.purpose, self.needed_bytes, self.allowed_bytes
        )
    }
}

impl std::error::Error for OverBudget {}
