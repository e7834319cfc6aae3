//! What can go wrong, and the exit code that says which kind it was.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use unweight_cpu::{OverBudget, ReadError, TransferError};
use unweight_format::Error;
use unweight_format::write::WriteError;

use crate::output;

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
    /// The input, which may be good, needs more memory than is allowed (exit code 4).
    Memory { message: String, error: OverBudget },
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

    pub(crate) fn over_budget(path: &Path, error: OverBudget) -> Failure {
        Failure::Memory {
            message: format!("{}: {error}; allow more with --memory", path.display()),
            error,
        }
    }

    /// `error` occurred while `path` was read.
    pub(crate) fn reading(path: &Path, error: ReadError) -> Failure {
        match error {
            // However long it is by now: it was shorter than it had said.
            ReadError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Failure::bad(path, "the file was cut short while it was read")
            }
            ReadError::Io(error) => Failure::io(path, error),
            ReadError::OverBudget(error) => Failure::over_budget(path, error),
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

    /// The same failure with more to say.
    pub(crate) fn and(mut self, advice: &str) -> Failure {
        match &mut self {
            Failure::Bad { message, .. }
            | Failure::Usage(message)
            | Failure::Io(message)
            | Failure::Memory { message, .. } => message.push_str(advice),
        }
        self
    }

    /// Prints the failure in one line on standard error, as JSON on standard output too if asked for, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            self.print_json();
        }
        // Paths and headers may hold control characters, which must not reach a terminal.
        let mut line = String::from("unweight: ");
        for character in self.to_string().chars() {
            match character.is_control() {
                true => line.extend(character.escape_default()),
                false => line.push(character),
            }
        }
        // Where nobody listens, the exit code has to do.
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(match self {
            Failure::Bad { .. } => 1,
            Failure::Usage(_) => 2,
            Failure::Io(_) => 3,
            Failure::Memory { .. } => 4,
        })
    }

    /// Prints the failure as JSON on standard output.
    pub(crate) fn print_json(&self) {
        let (kind, rule) = match self {
            Failure::Bad { error, .. } => ("bad", *error),
            Failure::Usage(_) => ("usage", None),
            Failure::Io(_) => ("io", None),
            Failure::Memory { .. } => ("memory", None),
        };
        let mut error = json!({"kind": kind, "message": self.to_string(), "rule": rule});
        if let Failure::Memory { error: over, .. } = self {
            error["needed_bytes"] = over.needed_bytes.into();
            error["allowed_bytes"] = over.allowed_bytes.into();
        }
        let failure = json!({"error": error});
        let _ = output::print(&failure.to_string());
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Bad { message, .. }
            | Failure::Usage(message)
            | Failure::Io(message)
            | Failure::Memory { message, .. } => f.write_str(message),
        }
    }
}
