//! A command as a subject: a decoder, an encoder or a transcoder in any language.

use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path, time::Duration};

use crate::{
    Answer, Parameters, Rejection, Reply, RunError, Subject, TemplateError,
    process::{Ending, Finished, run_bounded},
    rejection::crash_trace,
    template::Template,
};

/// A command as a subject. It is run without a shell, on files of a new temporary folder.
///
/// Exit code 0: accepted, and the file `{output}` holds the output. Exit code 1: rejected or refused,
/// and a word of stderr is the id of a rule, except for an encoder. Anything else is a crash, and so
/// is stderr that shows an uncaught exception or the report of a sanitizer.
#[derive(Debug, Clone)]
pub struct ExternalCommand {
    template: Template,
    limit: Duration,
    input_name: &'static str,
    output_name: &'static str,
    must_name: bool,
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
            must_name: true,
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
            must_name: false,
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
            must_name: true,
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
        let trace = crash_trace(&finished.stderr);
        let answer = match finished.ending {
            Ending::Exit(code @ (0 | 1)) if trace.is_some() => Answer::Crashed(format!(
                "exit code {code}, and stderr has {}",
                trace.unwrap_or_default()
            )),
            Ending::Exit(0) => match fs::read(&output_path) {
                Ok(output) => Answer::Accepted(output),
                Err(_) => Answer::AcceptedWithoutOutput,
            },
            Ending::Exit(1) => match fs::symlink_metadata(&output_path) {
                Ok(_) => Answer::RejectedWithOutput(Rejection::unnamed()),
                Err(_) => Answer::Rejected(Rejection::unnamed()),
            },
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

    fn must_name(&self) -> bool {
        self.must_name
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
