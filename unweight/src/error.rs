//! Why a file could not be read, written or converted.

use std::error::Error as StdError;
use std::{fmt, io};

use unweight_format::write::{Misuse, WriteError};
use unweight_format::{Dtype, Extent, Rule};

use crate::container::TransferError;
#[cfg(feature = "cuda")]
use crate::cuda::Disagreement;
use crate::safetensors::HeaderError;
use crate::{ExecutorError, OverBudget, ReadError, StorageError};

/// Why something could not be done.
///
/// The message has everything; [`source`](StdError::source) gives what lies behind it, and repeats no text.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file breaks a rule of the specification.
    Rule {
        /// The rule, where, what was found and what would have been right.
        error: unweight_format::Error,
        /// The name of the tensor, where it is one tensor's.
        tensor: Option<String>,
    },
    /// More memory is needed than is allowed. The file may be valid.
    OverBudget(OverBudget),
    /// Reading failed, for a reason that is none of the file's: it may be tried again. Where a [`StorageError`] is within, it has the
    /// tensor and the extent.
    Read(io::Error),
    /// Writing the output failed.
    Write(io::Error),
    /// The safetensors file that was to be compressed is not one.
    Source(HeaderError),
    /// The safetensors file that was to be compressed has another length than its header says.
    SourceLength {
        /// The length that the file has.
        found: u64,
        /// Bytes of its header.
        header_bytes: u64,
        /// Bytes that its header describes; None where the header itself is not there.
        data_bytes: Option<u64>,
    },
    /// A container cannot hold what was to be written: this rule would be broken.
    Unwritable {
        /// The rule.
        rule: Rule,
        /// The number of the tensor, where it is one tensor's.
        tensor: Option<u32>,
    },
    /// The calls of a [`Writer`](crate::Writer) do not fit what was declared.
    Misuse(Misuse),
    /// An [`Executor`](crate::Executor) of the caller's did not run every item once, or not in order.
    Executor(ExecutorError),
    /// There is no tensor of this name.
    NoTensor(String),
    /// The tensor has another type than the buffer.
    WrongDtype {
        /// The name of the tensor.
        tensor: String,
        /// The type that the buffer has.
        expected: Dtype,
        /// The type that the tensor has.
        found: Dtype,
    },
    /// A range leaves the tensor, or a buffer has another length than what is to be put into it.
    WrongLength {
        /// The name of the tensor.
        tensor: String,
        /// The length that would have been right, or the end of the tensor.
        expected: u64,
        /// The length of the buffer, or the end of the range.
        found: u64,
    },
    /// A CUDA device is not there, cannot be used, or failed. It says nothing of the file.
    #[cfg(feature = "cuda")]
    Device(unweight_gpu::GpuError),
    /// A CUDA device says that a tensor breaks a rule, and the CPU does not find that.
    #[cfg(feature = "cuda")]
    Disagreement(Disagreement),
    /// A callback of the caller returned this.
    Callback(Box<dyn StdError + Send + Sync>),
    /// The progress callback asked to stop.
    Cancelled,
}

impl Error {
    /// The broken rule of the specification, if it is one.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Error::Rule { error, .. } => Some(error.rule),
            Error::Unwritable { rule, .. } => Some(*rule),
            _ => None,
        }
    }

    /// The name of the tensor that it concerns, where it is one tensor's.
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Error::Rule { tensor, .. } => tensor.as_deref(),
            Error::Read(_) => self.storage()?.tensor(),
            Error::NoTensor(tensor)
            | Error::WrongDtype { tensor, .. }
            | Error::WrongLength { tensor, .. } => Some(tensor),
            #[cfg(feature = "cuda")]
            Error::Disagreement(disagreement) => Some(&disagreement.tensor),
            _ => None,
        }
    }

    /// The bytes that were asked of a storage that failed.
    pub fn extent(&self) -> Option<Extent> {
        Some(self.storage()?.extent())
    }

    fn storage(&self) -> Option<&StorageError> {
        match self {
            Error::Read(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// An error that a callback of the caller returns.
    pub fn callback(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Callback(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Rule { tensor, error } => {
                name(f, tensor)?;
                error.fmt(f)
            }
            Error::OverBudget(error) => error.fmt(f),
            Error::Read(error) => error.fmt(f),
            Error::Write(error) => write!(f, "writing: {error}"),
            Error::Source(error) => error.fmt(f),
            Error::SourceLength {
                found,
                header_bytes,
                data_bytes: None,
            } => write!(
                f,
                "the file ends at byte {found}, its safetensors header at byte {header_bytes}"
            ),
            Error::SourceLength {
                found,
                header_bytes,
                data_bytes: Some(data_bytes),
            } => write!(
                f,
                "the file has {found} bytes, but its header describes {header_bytes} + {data_bytes}"
            ),
            Error::Unwritable { rule, tensor } => {
                WriteError::<io::Error>::Rule(*rule, *tensor).fmt(f)
            }
            Error::Misuse(misuse) => misuse.fmt(f),
            Error::Executor(error) => error.fmt(f),
            Error::NoTensor(tensor) => write!(f, "there is no tensor {tensor:?}"),
            Error::WrongDtype {
                tensor,
                expected,
                found,
            } => write!(f, "tensor {tensor:?} is {found}, expected {expected}"),
            Error::WrongLength {
                tensor,
                expected,
                found,
            } => write!(f, "tensor {tensor:?}: length {found}, expected {expected}"),
            #[cfg(feature = "cuda")]
            Error::Device(error) => error.fmt(f),
            #[cfg(feature = "cuda")]
            Error::Disagreement(disagreement) => disagreement.fmt(f),
            Error::Callback(error) => error.fmt(f),
            Error::Cancelled => f.write_str("cancelled"),
        }
    }
}

fn name(f: &mut fmt::Formatter<'_>, tensor: &Option<String>) -> fmt::Result {
    match tensor {
        Some(tensor) => write!(f, "tensor {tensor:?}: "),
        None => Ok(()),
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            // Their text is in the message already.
            Error::Read(error) | Error::Write(error) => error.source(),
            #[cfg(feature = "cuda")]
            Error::Device(error) => error.source(),
            #[cfg(feature = "cuda")]
            Error::Disagreement(disagreement) => disagreement.source(),
            Error::Callback(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Rule { error, tensor } => Error::Rule { error, tensor },
            ReadError::OverBudget(error) => Error::OverBudget(error),
            ReadError::Io(error) if crate::progress::is_cancelled(&error) => Error::Cancelled,
            ReadError::Io(error) => Error::Read(error),
            ReadError::Executor(error) => Error::Executor(error),
        }
    }
}

impl From<OverBudget> for Error {
    fn from(error: OverBudget) -> Error {
        Error::OverBudget(error)
    }
}

#[cfg(feature = "cuda")]
impl From<unweight_gpu::GpuError> for Error {
    fn from(error: unweight_gpu::GpuError) -> Error {
        Error::Device(error)
    }
}

#[cfg(feature = "cuda")]
impl From<Disagreement> for Error {
    fn from(disagreement: Disagreement) -> Error {
        Error::Disagreement(disagreement)
    }
}

impl From<HeaderError> for Error {
    fn from(error: HeaderError) -> Error {
        Error::Source(error)
    }
}

impl<E: StdError + Send + Sync + 'static> From<WriteError<E>> for Error {
    fn from(error: WriteError<E>) -> Error {
        match error {
            WriteError::Sink(error) => Error::Write(io_error(error)),
            WriteError::Rule(rule, tensor) => Error::Unwritable { rule, tensor },
            WriteError::Misuse(misuse) => Error::Misuse(misuse),
            other => Error::Write(io_error(other)),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<TransferError<E>> for Error {
    fn from(error: TransferError<E>) -> Error {
        match error {
            TransferError::Read(error) => error.into(),
            TransferError::Write(error) => error.into(),
        }
    }
}

/// The error of a sink: itself, if it is an I/O error.
fn io_error(error: impl StdError + Send + Sync + 'static) -> io::Error {
    let error: Box<dyn StdError + Send + Sync> = Box::new(error);
    match error.downcast::<io::Error>() {
        Ok(error) => *error,
        Err(other) => io::Error::other(other),
    }
}
