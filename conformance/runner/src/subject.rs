//! The decoder, encoder or transcoder under test: a command, or a Rust function in this process.

use std::{
    any::Any,
    collections::BTreeSet,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{Parameters, Rejection};

/// A decoder (`.unw` to restored source), an encoder (source to `.unw`) or a transcoder (`.unw` to
/// `.unw`) under test.
pub trait Subject: Sync {
    /// Runs the subject on `input` and returns its answer. `parameters` are empty for a decoder.
    ///
    /// An error means that the subject could not be run, and ends the whole run.
    fn answer(&self, input: &[u8], parameters: &Parameters) -> Result<Reply, RunError>;

    /// The names of the parameters that the subject takes, or none if it takes all.
    fn takes(&self) -> Option<BTreeSet<&str>> {
        None
    }

    /// Whether a rejection has to name a rule, unless the run is lenient. An exit code of 1 alone may
    /// be an uncaught exception; a function's `Err` is unambiguous.
    fn must_name(&self) -> bool {
        false
    }
}

/// A subject's answer and its output.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// The beginning of what it wrote to stdout.
    pub stdout: String,
    /// The beginning of what it wrote to stderr.
    pub stderr: String,
}

/// A subject's answer to its input.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Accepted; the bytes are the output.
    Accepted(Vec<u8>),
    /// Accepted, but no output was written.
    AcceptedWithoutOutput,
    /// Rejected, and no output was left behind.
    Rejected(Rejection),
    /// Rejected, but an output was left behind.
    RejectedWithOutput(Rejection),
    /// Neither accepted nor rejected: how it ended.
    Crashed(String),
    /// Killed after this time.
    TimedOut(Duration),
}

/// A Rust function as a subject. Its panics are caught and count as crashes; it has no time limit.
#[derive(Debug, Clone, Copy)]
pub struct InProcess<F>(pub F);

impl<F> Subject for InProcess<F>
where
    F: Fn(&[u8], &Parameters) -> Result<Vec<u8>, Rejection> + Sync,
{
    fn answer(&self, input: &[u8], parameters: &Parameters) -> Result<Reply, RunError> {
        // Unwind safety: the function is shared by reference and Sync, so state that a panic leaves
        // behind is only its own.
        let answer = match catch_unwind(AssertUnwindSafe(|| (self.0)(input, parameters))) {
            Ok(Ok(output)) => Answer::Accepted(output),
            Ok(Err(rejection)) => Answer::Rejected(rejection),
            Err(payload) => Answer::Crashed(format!("panicked: {}", panic_text(&*payload))),
        };
        Ok(Reply {
            answer,
            stdout: String::new(),
            stderr: String::new(),
        })
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a payload that is no text")
}

/// Error of a run that could not be carried out. It does not concern the subject's conformance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError(pub(crate) String);

impl RunError {
    pub(crate) fn folder(error: io::Error) -> Self {
        Self(format!(
            "cannot write to a temporary folder: {error}; check TMPDIR"
        ))
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}
