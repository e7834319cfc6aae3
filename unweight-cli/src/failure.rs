//! Failures of commands, and the exit code of each kind.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;
use unweight::file::{FileError, FileErrorKind};
use unweight::{ErrorKind, OverBudget, ReadError};
use unweight_format::{Error, Rule};

use crate::gpu;
use crate::printable::line;
use crate::recognize::{self, Expected};
use crate::standard_output;

/// Reason why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input is bad (exit code 1).
    Bad {
        message: String,
        /// Rule of the specification that the input breaks, if it breaks one.
        error: Option<Error>,
    },
    /// The command was used wrongly (exit code 2).
    Usage(String),
    /// Something could not be read or written (exit code 3).
    Io(String),
    /// The input, which may be good, needs more memory than is allowed (exit code 4).
    Memory { message: String, error: OverBudget },
    /// A mistake in this program (exit code 3).
    Internal(String),
}

impl Failure {
    pub(crate) fn bad(path: &Path, what: impl fmt::Display) -> Failure {
        Failure::Bad {
            message: format!("{}: {what}", path.display()),
            error: None,
        }
    }

    /// Failure to read or write `path`. A file that ends before its promised length is bad.
    pub(crate) fn io(path: &Path, error: impl Into<io::Error>) -> Failure {
        let error = error.into();
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::bad(path, cut_short(&error)),
            _ => Failure::Io(format!("{}: {error}", path.display())),
        }
    }

    pub(crate) fn over_budget(path: &Path, error: OverBudget) -> Failure {
        Failure::Memory {
            message: format!("{}: {error}; allow more with --memory", path.display()),
            error,
        }
    }

    /// Failure from an error while the Unweight file at `path` was read.
    pub(crate) fn reading(path: &Path, error: ReadError) -> Failure {
        match error {
            ReadError::Io(error) => Failure::io(path, error),
            ReadError::OverBudget(error) => Failure::over_budget(path, error),
            ReadError::Rule { error: rule, .. } => {
                let failure = Failure::Bad {
                    message: format!("{}: {error}", path.display()),
                    error: Some(rule),
                };
                match rule.rule {
                    Rule::FileMagic | Rule::FileTruncated => {
                        failure.explained(path, Expected::Unweight)
                    }
                    _ => failure,
                }
            }
            // Errors of the executor, and errors that are added later, say nothing about the file.
            other => Failure::Io(format!("{}: {other}", path.display())),
        }
    }

    /// Explains a bad file at `path` that is of another kind than expected. The message then starts
    /// with the kind of the file, and says what to do.
    pub(crate) fn explained(self, path: &Path, expected: Expected) -> Failure {
        let Failure::Bad { message, error } = self else {
            return self;
        };
        let message = match recognize::instead_of(expected, path) {
            Some(found) => {
                let of = format!("{}: ", path.display());
                let reason = message.strip_prefix(&of).unwrap_or(&message);
                format!("{of}{found} ({reason})")
            }
            None => message,
        };
        Failure::Bad { message, error }
    }

    /// Failure from an error while `output` was made from `input`.
    pub(crate) fn converting(input: &Path, output: &Path, error: unweight::Error) -> Failure {
        match error {
            unweight::Error::Write(_) => Failure::at(output, error),
            error => Failure::at(input, error),
        }
    }

    /// Failure from an error that concerns the file or folder at `path`.
    fn at(path: &Path, error: unweight::Error) -> Failure {
        use unweight::Error;
        match error {
            Error::Rule { error, tensor } => {
                Failure::reading(path, ReadError::Rule { error, tensor })
            }
            Error::OverBudget(error) => Failure::over_budget(path, error),
            Error::Read(error) | Error::Write(error) => Failure::io(path, error),
            Error::Source(_) | Error::SourceLength { .. } => {
                Failure::bad(path, error).explained(path, Expected::Safetensors)
            }
            Error::File(error) => Failure::from(error),
            Error::Device(error) => gpu::failed(error),
            Error::Disagreement(found) => gpu::disagreement(&found),
            other => {
                let message = format!("{}: {other}", path.display());
                match other.kind() {
                    // The input asks for something that the container cannot hold.
                    ErrorKind::Unwritable => Failure::Bad {
                        message,
                        error: None,
                    },
                    _ => Failure::Io(message),
                }
            }
        }
    }

    /// Appends advice to the message of the failure.
    pub(crate) fn and(mut self, advice: &str) -> Failure {
        match &mut self {
            Failure::Bad { message, .. }
            | Failure::Usage(message)
            | Failure::Io(message)
            | Failure::Memory { message, .. }
            | Failure::Internal(message) => message.push_str(advice),
        }
        self
    }

    /// Prints the failure in one line on standard error, and as JSON on standard output if `json`
    /// is set. Returns the exit code.
    pub(crate) fn report(&self, json: bool) -> u8 {
        if json {
            self.print_json();
        }
        say(&self.to_string());
        match self {
            Failure::Bad { .. } => 1,
            Failure::Usage(_) => 2,
            Failure::Io(_) | Failure::Internal(_) => 3,
            Failure::Memory { .. } => 4,
        }
    }

    /// Prints the failure as JSON on standard output.
    pub(crate) fn print_json(&self) {
        let (kind, rule) = match self {
            Failure::Bad { error, .. } => ("bad", *error),
            Failure::Usage(_) => ("usage", None),
            Failure::Io(_) => ("io", None),
            Failure::Memory { .. } => ("memory", None),
            Failure::Internal(_) => ("internal", None),
        };
        let mut error = json!({"kind": kind, "message": self.to_string(), "rule": rule});
        if let Failure::Memory { error: over, .. } = self {
            error["needed_bytes"] = over.needed_bytes.into();
            error["allowed_bytes"] = over.allowed_bytes.into();
        }
        // If the JSON cannot be printed, only the exit code reports the failure.
        let _ = standard_output::print_json_line(&json!({"error": error}));
    }
}

impl From<unweight::Error> for Failure {
    fn from(error: unweight::Error) -> Failure {
        match error {
            unweight::Error::At { path, error } => Failure::at(&path, *error),
            unweight::Error::File(error) => Failure::from(error),
            // Everything that commands do with files has a path.
            other => Failure::Io(other.to_string()),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Failure {
        let message = match advice(&error) {
            Some(advice) => format!("{}; {advice}", error.problem()),
            None => error.to_string(),
        };
        match error.kind() {
            FileErrorKind::Content => Failure::Bad {
                message,
                error: None,
            },
            FileErrorKind::Request => Failure::Usage(message),
            // A kind that is added later says nothing about the file.
            _ => Failure::Io(message),
        }
    }
}

/// Advice that names options of the command line. None where the library's own advice serves.
fn advice(error: &FileError) -> Option<&'static str> {
    Some(match error {
        FileError::Exists { .. } => "choose another name with -o, or replace it with --force",
        FileError::IsInput { .. }
        | FileError::HoldsInput { .. }
        | FileError::LiesInInput { .. }
        | FileError::NoName { .. } => "choose another name with -o",
        FileError::NotReplacedByFolder { .. } => {
            "--force does not delete it; choose another name with -o, or delete it yourself"
        }
        FileError::Held { .. } => "choose another name with -o, or delete it yourself",
        FileError::WouldLose { .. } => {
            "--force does not delete that; choose another name with -o, or move it elsewhere"
        }
        FileError::SameNameIgnoringCase { .. } => {
            "rename one of them, or choose a place elsewhere with -o"
        }
        FileError::Busy { .. } => "wait for its end, or choose another name with -o",
        FileError::NotOurs { .. } => "remove it, or choose another name with -o",
        FileError::NoSpace { .. } => "make room, or choose a place elsewhere with -o",
        _ => return None,
    })
}

fn say(text: &str) {
    // If standard error cannot be written, only the exit code reports the failure.
    let _ = writeln!(io::stderr(), "{}", line(&format!("unweight: {text}")));
}

/// Message for a file that is shorter than it was when it was opened.
fn cut_short(error: &io::Error) -> String {
    match error.get_ref() {
        Some(said) => said.to_string(),
        None => "the file became shorter while it was open".to_owned(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Bad { message, .. }
            | Failure::Usage(message)
            | Failure::Io(message)
            | Failure::Memory { message, .. } => f.write_str(message),
            Failure::Internal(panic) => write!(
                f,
                "internal error: {panic}; this is a bug in unweight; please report it"
            ),
        }
    }
}
