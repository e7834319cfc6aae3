//! The error type of all operations on files.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use unweight_format::write::{Misuse, WriteError};
use unweight_format::{Dtype, Extent, Rule};

use crate::container::TransferError;
#[cfg(feature = "cuda")]
use crate::cuda::Disagreement;
use crate::diagnostics::FileError;
use crate::safetensors::HeaderError;
use crate::{ErrorKind, ExecutorError, OverBudget, ReadError, SliceProblem, StorageError};

/// The error of a failed operation.
///
/// The message is complete. [`source`](StdError::source) gives the cause, without repeating text of
/// the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file breaks a rule of the specification.
    Rule {
        /// The broken rule, its position, the value that was found and the value that was expected.
        error: unweight_format::Error,
        /// The name of the tensor, if the rule concerns a single tensor.
        tensor: Option<String>,
    },
    /// More memory is needed than is allowed. The file may be valid.
    OverBudget(OverBudget),
    /// Reading failed. This error does not say that the file is invalid, and the read may be
    /// retried. An inner [`StorageError`] has the tensor and the extent.
    Read(io::Error),
    /// Writing the output failed.
    Write(io::Error),
    /// The input to compress is not a safetensors file.
    Source(HeaderError),
    /// The length of the safetensors file to compress differs from the length that its header
    /// states.
    SourceLength {
        /// The length of the file.
        found: u64,
        /// Length of its header in bytes.
        header_bytes: u64,
        /// Length of the data that the header describes, in bytes; None if the header itself is
        /// missing.
        data_bytes: Option<u64>,
    },
    /// A container cannot hold this data, because it would break a rule.
    Unwritable {
        /// The rule that would be broken.
        rule: Rule,
        /// The number of the tensor, if the rule concerns a single tensor.
        tensor: Option<u32>,
        /// The name of that tensor, if it is known.
        name: Option<String>,
    },
    /// The calls of a [`Writer`](crate::Writer) do not match the declarations.
    Misuse(Misuse),
    /// The caller's [`Executor`](crate::Executor) returned before all work was done.
    Executor(ExecutorError),
    /// There is no tensor of this name.
    NoTensor(String),
    /// The buffer's type differs from the tensor's.
    WrongDtype {
        /// The name of the tensor.
        tensor: String,
        /// The type of the buffer.
        expected: Dtype,
        /// The type of the tensor.
        found: Dtype,
    },
    /// A range exceeds the tensor, or a buffer has the wrong length.
    WrongLength {
        /// The name of the tensor.
        tensor: String,
        /// The expected length, or the end of the tensor.
        expected: u64,
        /// The length of the buffer, or the end of the range.
        found: u64,
    },
    /// A slice does not fit its tensor.
    WrongSlice {
        /// The name of the tensor.
        tensor: String,
        /// What does not fit.
        problem: SliceProblem,
    },
    /// A CUDA device is missing, cannot be used, or failed. This error does not say that the file
    /// is invalid.
    #[cfg(feature = "cuda")]
    Device(unweight_gpu::GpuError),
    /// A CUDA device reports that a tensor breaks a rule, and the CPU does not confirm it.
    #[cfg(feature = "cuda")]
    Disagreement(Disagreement),
    /// A callback of the caller returned this error.
    Callback(Box<dyn StdError + Send + Sync>),
    /// The progress callback asked to stop.
    Cancelled,
    /// A file or folder on a disk is not as it should be, or cannot be made as asked.
    File(FileError),
    /// The error concerns the file or folder at this path.
    At {
        /// The path.
        path: PathBuf,
        /// The error, without the path.
        error: Box<Error>,
    },
}

impl Error {
    /// The broken rule of the specification, if the error is a broken rule.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Error::Rule { error, .. } => Some(error.rule),
            Error::Unwritable { rule, .. } => Some(*rule),
            Error::At { error, .. } => error.rule(),
            _ => None,
        }
    }

    /// The name of the tensor, if the error concerns a single tensor.
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Error::Rule { tensor, .. } => tensor.as_deref(),
            Error::Unwritable { name, .. } => name.as_deref(),
            Error::Read(_) => self.storage()?.tensor(),
            Error::NoTensor(tensor)
            | Error::WrongDtype { tensor, .. }
            | Error::WrongLength { tensor, .. }
            | Error::WrongSlice { tensor, .. } => Some(tensor),
            #[cfg(feature = "cuda")]
            Error::Disagreement(disagreement) => Some(&disagreement.tensor),
            Error::At { error, .. } => error.tensor(),
            _ => None,
        }
    }

    /// The file or folder that the error concerns, if it was given by a path.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Error::At { path, .. } => Some(path),
            Error::File(error) => Some(error.path()),
            _ => None,
        }
    }

    /// The offset in the file, in bytes, of what the error concerns: of what breaks a rule, of what is
    /// wrong in a source, or of the failed read.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Error::Rule { error, .. } => Some(error.offset),
            Error::Source(error) => Some(error.at),
            Error::At { error, .. } => error.offset(),
            error => Some(error.extent()?.offset),
        }
    }

    /// The extent of the failed read, if a storage failed.
    pub fn extent(&self) -> Option<Extent> {
        Some(self.storage()?.extent())
    }

    fn storage(&self) -> Option<&StorageError> {
        match self {
            Error::Read(error) => error.get_ref()?.downcast_ref(),
            Error::At { error, .. } => error.storage(),
            _ => None,
        }
    }

    /// Adds a path to an error. An error that has a path keeps it, and an error of the caller's own
    /// gets none.
    #[must_use]
    pub fn at(self, path: impl AsRef<Path>) -> Error {
        match self {
            Error::At { .. } | Error::File(_) | Error::Callback(_) | Error::Cancelled => self,
            error => Error::At {
                path: path.as_ref().to_owned(),
                error: Box::new(error),
            },
        }
    }

    /// Adds the name of the tensor that a container cannot hold.
    pub(crate) fn of_tensor<'n>(mut self, name_of: impl FnOnce(u32) -> Option<&'n str>) -> Error {
        if let Error::Unwritable {
            tensor: Some(tensor),
            name,
            ..
        } = &mut self
            && name.is_none()
        {
            *name = name_of(*tensor).map(str::to_owned);
        }
        self
    }

    /// Whether a file that was read is bad: it breaks a rule, differs from another one, or was cut
    /// short meanwhile.
    pub(crate) fn is_about_content(&self) -> bool {
        matches!(self.kind(), ErrorKind::InvalidFile | ErrorKind::Unwritable)
    }

    /// Wraps an error for a callback of the caller to return.
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
            Error::Write(error) => write!(f, "cannot write: {error}"),
            Error::Source(error) => error.fmt(f),
            Error::SourceLength {
                found,
                header_bytes,
                data_bytes: None,
            } => write!(
                f,
                "the file ends at byte {found}, expected its safetensors header to end at byte {header_bytes}"
            ),
            Error::SourceLength {
                found,
                header_bytes,
                data_bytes: Some(data_bytes),
            } => write!(
                f,
                "the file has {found} bytes, but its header describes {header_bytes} + {data_bytes}"
            ),
            Error::Unwritable {
                rule,
                name: Some(name),
                ..
            } => write!(f, "tensor {name:?}: {}: {}", rule.id(), rule.broken_when()),
            Error::Unwritable { rule, tensor, .. } => {
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
            } => write!(
                f,
                "tensor {tensor:?}: found length {found}, expected {expected}"
            ),
            Error::WrongSlice { tensor, problem } => write!(f, "tensor {tensor:?}: {problem}"),
            #[cfg(feature = "cuda")]
            Error::Device(error) => error.fmt(f),
            #[cfg(feature = "cuda")]
            Error::Disagreement(disagreement) => disagreement.fmt(f),
            Error::Callback(error) => error.fmt(f),
            Error::Cancelled => f.write_str("cancelled"),
            Error::File(error) => error.fmt(f),
            Error::At { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Failure of the system to read `path`.
pub(crate) fn reading(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::Read(error).at(path)
}

/// Failure of the system to make or write `path`.
pub(crate) fn writing(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::Write(error).at(path)
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
            // The message already contains the text of these errors.
            Error::Read(error) | Error::Write(error) => error.source(),
            #[cfg(feature = "cuda")]
            Error::Device(error) => error.source(),
            #[cfg(feature = "cuda")]
            Error::Disagreement(disagreement) => disagreement.source(),
            Error::Callback(error) => error.source(),
            Error::File(error) => error.source(),
            Error::At { error, .. } => error.source(),
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

impl From<FileError> for Error {
    fn from(error: FileError) -> Error {
        Error::File(error)
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
            WriteError::Rule(rule, tensor) => Error::Unwritable {
                rule,
                tensor,
                name: None,
            },
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

/// Converts the error of a sink. An I/O error stays an I/O error.
fn io_error(error: impl StdError + Send + Sync + 'static) -> io::Error {
    let error: Box<dyn StdError + Send + Sync> = Box::new(error);
    match error.downcast::<io::Error>() {
        Ok(error) => *error,
        Err(other) => io::Error::other(other),
    }
}
