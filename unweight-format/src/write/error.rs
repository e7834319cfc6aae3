//! Errors of writing a container.

use core::fmt;

use crate::dtype::Dtype;
use crate::error::Rule;

/// The error of a container that could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError<E> {
    /// The sink failed.
    Sink(E),
    /// The container would break this rule. The number is that of the tensor, if the rule concerns
    /// a single tensor.
    Rule(Rule, Option<u32>),
    /// The calls do not match the declarations or each other.
    Misuse(Misuse),
}

/// Calls of a writer that do not match the declarations or each other. Chunks and tensors are
/// numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// A tensor was begun after all declared tensors were written.
    NoTensorLeft {
        /// The number of declared tensors.
        declared: u32,
    },
    /// The container was finished before this tensor.
    TensorMissing {
        /// The first tensor that was not finished.
        tensor: u32,
        /// The number of declared tensors.
        declared: u32,
    },
    /// The container would have 2^64 bytes or more.
    ContainerTooLong,
    /// The palettes belong to another type than that of the tensor.
    OtherDtype {
        /// The type of the palettes.
        found: Dtype,
        /// The type that was declared.
        declared: Dtype,
    },
    /// [`coded`](super::ContainerWriter::coded) was called for a tensor without coded fields.
    PlainIsNotCoded,
    /// [`plain`](super::ContainerWriter::plain) was called for a tensor with a coded field.
    CodedIsNotPlain,
    /// The tensor has no chunk of this number.
    NoSuchChunk {
        /// The number.
        chunk: u64,
        /// The number of chunks of the tensor.
        chunks: u64,
    },
    /// The number of plain bytes given for a chunk differs from that of the chunk.
    ChunkLength {
        /// The chunk.
        chunk: u64,
        /// Bytes given.
        found: u64,
        /// Bytes of the chunk.
        expected: u64,
    },
    /// The plain bytes of this chunk were written twice.
    ChunkTwice {
        /// The chunk.
        chunk: u64,
    },
    /// The tensor was finished without the plain bytes of this chunk.
    ChunkMissing {
        /// The first such chunk.
        chunk: u64,
    },
    /// The number of records given for a chunk differs from that of the coded fields.
    RecordCount {
        /// The chunk.
        chunk: u64,
        /// Records of the chunk that were written before, and those given now.
        found: usize,
        /// The number of coded fields.
        expected: usize,
    },
    /// A record was given, but all chunks have their records.
    NoRecordLeft {
        /// The number of chunks of the tensor.
        chunks: u64,
    },
    /// The tensor was finished without this record.
    RecordMissing {
        /// The chunk of the first such record.
        chunk: u64,
        /// The number of its field among the coded fields.
        coded_field: usize,
    },
    /// More bytes were given than the plain plane has.
    PlaneTooLong {
        /// Bytes written before, and those given now.
        found: u64,
        /// Bytes of the plane.
        expected: u64,
    },
    /// The tensor was finished before all bytes of its plain plane were written.
    PlaneTooShort {
        /// Bytes written.
        found: u64,
        /// Bytes of the plane.
        expected: u64,
    },
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
            WriteError::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Misuse::NoTensorLeft { declared } => {
                write!(f, "all {declared} declared tensors are written already")
            }
            Misuse::TensorMissing { tensor, declared } => {
                write!(
                    f,
                    "tensor {tensor} of {declared} declared tensors was not written"
                )
            }
            Misuse::ContainerTooLong => f.write_str("the container would have 2^64 bytes or more"),
            Misuse::OtherDtype { found, declared } => {
                write!(
                    f,
                    "the tensor is {declared}, but was given palettes of {found}"
                )
            }
            Misuse::PlainIsNotCoded => {
                f.write_str("the tensor has no coded field: write it with `plain` or `raw`")
            }
            Misuse::CodedIsNotPlain => {
                f.write_str("the tensor has a coded field: write it with `coded`")
            }
            Misuse::NoSuchChunk { chunk, chunks } => {
                write!(f, "the tensor has {chunks} chunks, and no chunk {chunk}")
            }
            Misuse::ChunkLength {
                chunk,
                found,
                expected,
            } => write!(
                f,
                "chunk {chunk} has {expected} bytes of the plain plane, but was given {found}"
            ),
            Misuse::ChunkTwice { chunk } => {
                write!(f, "the plain bytes of chunk {chunk} were written twice")
            }
            Misuse::ChunkMissing { chunk } => {
                write!(f, "the plain bytes of chunk {chunk} were not written")
            }
            Misuse::RecordCount {
                chunk,
                found,
                expected,
            } => write!(
                f,
                "chunk {chunk} has {expected} records, but was given {found}"
            ),
            Misuse::NoRecordLeft { chunks } => {
                write!(f, "all {chunks} chunks have their records already")
            }
            Misuse::RecordMissing { chunk, coded_field } => write!(
                f,
                "the record of chunk {chunk} and coded field {coded_field} was not written"
            ),
            Misuse::PlaneTooLong { found, expected } => {
                write!(
                    f,
                    "the plain plane has {expected} bytes, but was given {found}"
                )
            }
            Misuse::PlaneTooShort { found, expected } => {
                write!(
                    f,
                    "the plain plane has {expected} bytes, but only {found} were written"
                )
            }
        }
    }
}

impl<E> From<Misuse> for WriteError<E> {
    fn from(misuse: Misuse) -> Self {
        WriteError::Misuse(misuse)
    }
}

impl core::error::Error for Misuse {}

impl<E: fmt::Debug + fmt::Display> core::error::Error for WriteError<E> {}
