//! Probes: whether a subject can run here. It may need a device that this machine does not have.

use std::{ffi::OsString, fmt, time::Duration};

use crate::{
    RunError, TemplateError,
    process::{Ending, run_bounded},
};

/// The subject's message on why it cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Runs a command, split into words as a shell does it, that ends with exit code 0 if the subject
/// can run. Otherwise gives the last line of its stderr.
pub fn probe(command: &str, limit: Duration) -> Result<Result<(), Unavailable>, ProbeError> {
    let words: Vec<OsString> = match shlex::split(command) {
        Some(words) if !words.is_empty() => words.into_iter().map(OsString::from).collect(),
        Some(_) => return Err(ProbeError::template(command, "it is empty")),
        None => return Err(ProbeError::template(command, "a quote is not closed")),
    };
    let finished = run_bounded(&words, limit).map_err(|error| {
        ProbeError::Run(RunError(format!(
            "cannot start {}: {error}; check the command",
            words[0].display()
        )))
    })?;
    let how = match finished.ending {
        Ending::Exit(0) => return Ok(Ok(())),
        Ending::Exit(code) => format!("exit code {code}"),
        Ending::Signal(signal) => format!("killed by signal {signal}"),
        Ending::TimedOut => format!("not done after {} s", limit.as_secs_f64()),
    };
    let shown = |line: &str| line.chars().filter(|c| !c.is_control()).collect();
    let said = finished
        .stderr
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty());
    Ok(Err(Unavailable(said.map_or(how, shown))))
}

/// Error of a probe that could not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// The text is no command.
    Template(TemplateError),
    /// The command cannot be started.
    Run(RunError),
}

impl ProbeError {
    fn template(command: &str, problem: &str) -> Self {
        Self::Template(TemplateError {
            template: command.to_owned(),
            problem: problem.to_owned(),
        })
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Template(error) => error.fmt(f),
            ProbeError::Run(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProbeError {}
