//! The decoder, encoder or transcoder under test: a command, or a Rust function in this process.

use std::{
    any::Any,
    collections::BTreeSet,
    ffi::OsStr,
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use crate::{
    Parameters, TemplateError,
    process::{Ending, Finished, run_bounded},
    template::Template,
};

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

/// A rejection, with the rule that the decoder names, if any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejection {
    /// The id of a broken rule.
    pub rule: Option<String>,
}

impl Rejection {
    /// A rejection that names a rule by its id, such as `record-crc`.
    pub fn naming(rule: impl Into<String>) -> Self {
        Self {
            rule: Some(rule.into()),
        }
    }

    /// A rejection that names no rule, which conforms too.
    pub fn unnamed() -> Self {
        Self::default()
    }

    /// The first word of stderr, with or without a colon after it. The corpus decides whether it is
    /// a rule.
    fn in_stderr(stderr: &str) -> Self {
        let word = stderr
            .split_whitespace()
            .next()
            .map(|word| word.trim_end_matches(':'));
        Self {
            rule: word.filter(|word| !word.is_empty()).map(str::to_owned),
        }
    }
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

/// A command as a subject. It is run without a shell, on files of a new temporary folder.
///
/// Exit code 0: accepted, and the file `{output}` holds the output. Exit code 1: rejected or refused,
/// and the first word of stderr may be a rule's id. Anything else is a crash.
#[derive(Debug, Clone)]
pub struct ExternalCommand {
    template: Template,
    limit: Duration,
    input_name: &'static str,
    output_name: &'static str,
}

impl ExternalCommand {
    /// A decoder's command, such as `my-decoder {input} {output}`, with a time limit for each call.
    pub fn decoder(template: &str, limit: Duration) -> Result<Self, TemplateError> {
        let parsed = Template::parse(template)?;
        let unknown = parsed
            .placeholders()
            .into_iter()
            .find(|name| !matches!(*name, "input" | "output"));
        if let Some(name) = unknown {
            let problem = format!("a decoder has no {{{name}}}, only {{input}} and {{output}}");
            return Err(TemplateError {
                template: template.to_owned(),
                problem,
            });
        }
        Ok(Self {
            template: parsed,
            limit,
            input_name: "input.unw",
            output_name: "output.safetensors",
        })
    }

    /// An encoder's command, such as `my-encoder {input} {output} --encoding {encoding} --chunk
    /// {chunk}`, with a time limit for each call. Besides `{input}` and `{output}` it may have the
    /// names of encode parameters.
    pub fn encoder(template: &str, limit: Duration) -> Result<Self, TemplateError> {
        let template = Template::parse(template)?;
        Ok(Self {
            template,
            limit,
            input_name: "input.safetensors",
            output_name: "output.unw",
        })
    }

    /// A transcoder's command, such as `my-transcoder {input} {output} --encoding {encoding}`, with
    /// a time limit for each call.
    pub fn transcoder(template: &str, limit: Duration) -> Result<Self, TemplateError> {
        let template = Template::parse(template)?;
        Ok(Self {
            template,
            limit,
            input_name: "input.unw",
            output_name: "output.unw",
        })
    }

    fn run(
        &self,
        input: &Path,
        output: &Path,
        parameters: &Parameters,
    ) -> Result<Finished, RunError> {
        let value = |name: &str| match name {
            "input" => Some(input.as_os_str()),
            "output" => Some(output.as_os_str()),
            _ => parameters.value(name).map(OsStr::new),
        };
        let words = self
            .template
            .fill(value)
            .map_err(|name| RunError(format!("no value for {{{name}}}")))?;
        run_bounded(&words, self.limit).map_err(|error| {
            RunError(format!(
                "cannot start {}: {error}; check the command",
                words[0].display()
            ))
        })
    }
}

impl Subject for ExternalCommand {
    fn answer(&self, input: &[u8], parameters: &Parameters) -> Result<Reply, RunError> {
        let folder = tempfile::Builder::new()
            .prefix("unweight-conformance-")
            .tempdir()
            .map_err(RunError::folder)?;
        let input_path = folder.path().join(self.input_name);
        let output_path = folder.path().join(self.output_name);
        fs::write(&input_path, input).map_err(RunError::folder)?;

        let finished = self.run(&input_path, &output_path, parameters)?;
        let answer = match finished.ending {
            Ending::Exit(0) => match fs::read(&output_path) {
                Ok(output) => Answer::Accepted(output),
                Err(_) => Answer::AcceptedWithoutOutput,
            },
            Ending::Exit(1) => {
                let rejection = Rejection::in_stderr(&finished.stderr);
                match fs::symlink_metadata(&output_path) {
                    Ok(_) => Answer::RejectedWithOutput(rejection),
                    Err(_) => Answer::Rejected(rejection),
                }
            }
            Ending::Exit(code) => {
                Answer::Crashed(format!("exit code {code} (0 accepts, 1 rejects)"))
            }
            Ending::Signal(signal) => {
                Answer::Crashed(format!("killed by signal {signal}{}", signal_name(signal)))
            }
            Ending::TimedOut => Answer::TimedOut(self.limit),
        };
        Ok(Reply {
            answer,
            stdout: finished.stdout,
            stderr: finished.stderr,
        })
    }

    fn takes(&self) -> Option<BTreeSet<&str>> {
        let mut names = self.template.placeholders();
        names.remove("input");
        names.remove("output");
        Some(names)
    }
}

/// Names of the signals that end a decoder, the same on every Unix.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// Error of a run that could not be carried out. It does not concern the subject's conformance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError(pub(crate) String);

impl RunError {
    fn folder(error: io::Error) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rule_from_the_first_word_of_stderr() {
        let rule = |stderr| Rejection::in_stderr(stderr).rule;
        assert_eq!(rule("record-crc: chunk 3").as_deref(), Some("record-crc"));
        assert_eq!(rule("\n  record-crc\n").as_deref(), Some("record-crc"));
        assert_eq!(rule(" : "), None);
        assert_eq!(rule(""), None);
    }
}
