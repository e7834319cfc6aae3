//! Errors of writing a container.

use core::fmt;

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
    /// [`coded`](super::ContainerWriter::coded) was called with the encoding raw.
    RawIsNotCoded,
    /// The tensor has no chunk of this number.
    NoSuchChunk {
        /// The number.
        chunk: u64,
        /// The number of chunks of the tensor.
        chunks: u64,
    },
    /// The number of sign-mantissa bytes of a chunk differs from its number of weights.
    ChunkLength {
        /// The chunk.
        chunk: u64,
        /// Sign-mantissa bytes given.
        found: u64,
        /// Weights of the chunk.
        expected: u64,
    },
    /// The sign-mantissa bytes of this chunk were written twice.
    ChunkTwice {
        /// The chunk.
        chunk: u64,
    },
    /// The tensor was finished without the sign-mantissa bytes of this chunk.
    ChunkMissing {
        /// The first such chunk.
        chunk: u64,
    },
    /// A record was given, but all chunks have one.
    NoRecordLeft {
        /// The number of chunks of the tensor.
        chunks: u64,
    },
    /// The tensor was finished without the record of this chunk.
    RecordMissing {
        /// The first such chunk.
        chunk: u64,
    },
    /// More bytes were given than the raw tensor has.
    RawTooLong {
        /// Bytes written before, and those given now.
        found: u64,
        /// Bytes of the tensor.
        expected: u64,
    },
    /// The raw tensor was finished before all of its bytes were written.
    RawTooShort {
        /// Bytes written.
        found: u64,
        /// Bytes of the tensor.
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
            Misuse::RawIsNotCoded => f.write_str("the tensor is raw: write it with `raw`"),
            Misuse::NoSuchChunk { chunk, chunks } => {
                write!(f, "the tensor has {chunks} chunks, and no chunk {chunk}")
            }
            Misuse::ChunkLength {
                chunk,
                found,
                expected,
            } => write!(
                f,
                "chunk {chunk} has {expected} weights, but was given {found} sign-mantissa bytes"
            ),
            Misuse::ChunkTwice { chunk } => {
                write!(
                    f,
                    "the sign-mantissa bytes of chunk {chunk} were written twice"
                )
            }
            Misuse::ChunkMissing { chunk } => {
                write!(
                    f,
                    "the sign-mantissa bytes of chunk {chunk} were not written"
                )
            }
            Misuse::NoRecordLeft { chunks } => {
                write!(f, "all {chunks} chunks have their records already")
            }
            Misuse::RecordMissing { chunk } => {
                write!(f, "the record of chunk {chunk} was not written")
            }
            Misuse::RawTooLong { found, expected } => {
                write!(
                    f,
                    "the raw tensor has {expected} bytes, but was given {found}"
                )
            }
            Misuse::RawTooShort { found, expected } => {
                write!(
                    f,
                    "the raw tensor has {expected} bytes, but only {found} were written"
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
