//! Why something could not be read.

use std::{fmt, io};

use unweight_format::{Error, Expected, Rule};

use crate::OverBudget;

/// Why a container, or a part of it, could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The file breaks a rule of the specification.
    Rule {
        /// The rule, where, what was found and what would have been right.
        error: Error,
        /// The name of the tensor, where it is one tensor's.
        tensor: Option<String>,
    },
    /// It needs more memory than the caller allows. It may be valid.
    OverBudget(OverBudget),
    /// The storage failed.
    Io(io::Error),
}

impl ReadError {
    /// The broken rule, if it is one.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            ReadError::Rule { error, .. } => Some(error.rule),
            ReadError::OverBudget(_) | ReadError::Io(_) => None,
        }
    }

    /// The same error, said of this tensor.
    pub fn of_tensor(self, name: &str) -> ReadError {
        match self {
            ReadError::Rule { error, .. } => ReadError::Rule {
                error,
                tensor: Some(name.to_owned()),
            },
            other => other,
        }
    }

    /// An error of the storage while it read up to byte `needed`. Its length was compared with the header's when
    /// it was opened: if it is short now, somebody has cut it since.
    pub(crate) fn from_storage(
        error: io::Error,
        needed: u64,
        true_length: io::Result<u64>,
    ) -> Self {
        match (error.kind(), true_length) {
            (io::ErrorKind::UnexpectedEof, Ok(length)) if length < needed => Error::new(
                Rule::FileTruncated,
                length,
                length,
                Expected::AtLeast(needed),
            )
            .into(),
            _ => ReadError::Io(error),
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
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Rule { error, .. } => Some(error),
            ReadError::OverBudget(error) => Some(error),
            ReadError::Io(error) => Some(error),
        }
    }
}
