//! What can go wrong, and the exit code that says which kind it was.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use unweight_cpu::{ReadError, TransferError};
use unweight_format::Error;
use unweight_format::write::WriteError;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input is bad (exit code 1).
    Bad {
        message: String,
        /// The broken rule of the specification, where it is one.
        error: Option<Error>,
    },
    /// The command was used wrongly (exit code 2).
    Usage(String),
    /// Something could not be read or written (exit code 3).
    Io(String),
}

impl Failure {
    pub(crate) fn bad(path: &Path, what: impl fmt::Display) -> Failure {
        Failure::Bad {
            message: format!("{}: {what}", path.display()),
            error: None,
        }
    }

    pub(crate) fn io(path: &Path, error: impl fmt::Display) -> Failure {
        Failure::Io(format!("{}: {error}", path.display()))
    }

    /// `error` occurred while `path` was read.
    pub(crate) fn reading(path: &Path, error: ReadError) -> Failure {
        match error {
            ReadError::Io(error) => Failure::io(path, error),
            ReadError::Rule { error: rule, .. } => Failure::Bad {
                message: format!("{}: {error}", path.display()),
                error: Some(rule),
            },
        }
    }

    /// `error` occurred while `output` was made from `input`.
    pub(crate) fn writing(input: &Path, output: &Path, error: WriteError<io::Error>) -> Failure {
        match error {
            WriteError::Sink(error) => Failure::io(output, error),
            // What the container cannot hold is something that the input asks for.
            other => Failure::bad(input, other),
        }
    }

    /// As [`Failure::reading`] or [`Failure::writing`].
    pub(crate) fn transfer(
        input: &Path,
        output: &Path,
        error: TransferError<io::Error>,
    ) -> Failure {
        match error {
            TransferError::Read(error) => Failure::reading(input, error),
            TransferError::Write(error) => Failure::writing(input, output, error),
        }
    }

    /// Prints the failure on standard error, as JSON on standard output too if asked for, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let (code, kind) = match self {
            Failure::Bad { .. } => (1, "bad"),
            Failure::Usage(_) => (2, "usage"),
            Failure::Io(_) => (3, "io"),
        };
        if json {
            let rule = match self {
                Failure::Bad { error, .. } => *error,
                _ => None,
            };
            let failure =
                json!({"error": {"kind": kind, "message": self.to_string(), "rule": rule}});
            println!("{failure}");
        }
        eprintln!("unweight: {self}");
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Bad { message, .. } | Failure::Usage(message) | Failure::Io(message) => {
                f.write_str(message)
            }
        }
    }
}
