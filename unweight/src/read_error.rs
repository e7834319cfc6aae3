//! The error type of all read operations.

use std::{fmt, io};

use unweight_format::{Error, Expected, Extent, Rule};

use crate::storage::{StorageError, StorageFault};
use crate::{ExecutorError, OverBudget};

/// Why a container, or a part of it, could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The file breaks a rule of the specification.
    Rule {
        /// The broken rule, its position, the value that was found and the value that was expected.
        error: Error,
        /// The name of the tensor, if the rule concerns a single tensor.
        tensor: Option<String>,
    },
    /// The file needs more memory than the caller allows. It may be valid.
    OverBudget(OverBudget),
    /// The storage failed, or its answer had a wrong length. The inner error is a [`StorageError`].
    /// This error does not say that the file is invalid. The read may be retried.
    Io(io::Error),
    /// The executor did not run every item exactly once, or not in order. This error does not say
    /// that the file is invalid.
    Executor(ExecutorError),
}

impl ReadError {
    /// The broken rule, if the error is a broken rule.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            ReadError::Rule { error, .. } => Some(error.rule),
            ReadError::OverBudget(_) | ReadError::Io(_) | ReadError::Executor(_) => None,
        }
    }

    /// Adds the tensor's name to the error.
    pub fn of_tensor(mut self, name: &str) -> ReadError {
        if let ReadError::Io(error) = &mut self
            && let Some(inner) = error.get_mut()
            && let Some(error) = inner.downcast_mut::<StorageError>()
        {
            error.note_tensor(name);
        }
        match self {
            ReadError::Rule { error, .. } => ReadError::Rule {
                error,
                tensor: Some(name.to_owned()),
            },
            other => other,
        }
    }

    /// Converts an error of a storage whose length was compared with the header's when it was
    /// opened. A file that has become shorter since breaks `file-truncated`. Only the storage can
    /// report that: by its error, or by its length after `UnexpectedEof`.
    pub(crate) fn from_storage(
        error: StorageError,
        byte_length: impl FnOnce() -> io::Result<u64>,
    ) -> ReadError {
        let Extent { offset, length } = error.extent();
        let needed = offset.saturating_add(length);
        let end = match error.fault() {
            StorageFault::EndsAt(end) => Some(*end),
            StorageFault::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                byte_length().ok()
            }
            _ => None,
        };
        match end.filter(|&end| end < needed) {
            Some(end) => {
                let expected = Expected::AtLeast(needed);
                Error::new(Rule::FileTruncated, end, end, expected).into()
            }
            None => ReadError::Io(error.into()),
        }
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> ReadError {
        ReadError::Rule {
            error,
            tensor: None,
        }
    }
}

impl From<OverBudget> for ReadError {
    fn from(error: OverBudget) -> ReadError {
        ReadError::OverBudget(error)
    }
}

impl From<ExecutorError> for ReadError {
    fn from(error: ExecutorError) -> ReadError {
        ReadError::Executor(error)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Rule {
                error,
                tensor: None,
            } => error.fmt(f),
            ReadError::Rule {
                error,
                tensor: Some(name),
            } => write!(f, "tensor {name:?}: {error}"),
            ReadError::OverBudget(error) => error.fmt(f),
            ReadError::Io(error) => error.fmt(f),
            ReadError::Executor(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    /// The message already contains the text of the inner error, so `source` skips to the cause of
    /// that error.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Io(error) => error.source(),
            ReadError::Rule { .. } | ReadError::OverBudget(_) | ReadError::Executor(_) => None,
        }
    }
}
