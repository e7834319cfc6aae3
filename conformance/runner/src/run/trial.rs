//! One case: runs the subject and compares its answer.

use std::{collections::HashSet, time::Instant};

use super::{RunOptions, keep::keep, parameters_of};
use crate::{
    Accept, Answer, Case, CaseReport, Corpus, CorpusPath, Difference, Expect, Outcome, Parameters,
    Reply, RunError, Subject, Subjects,
    compare::{compare_bytes, compare_restored},
    rejection::named_rule,
};

/// Shared state of a run's cases.
pub(crate) struct Run<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) options: &'a RunOptions,
    pub(crate) subjects: Subjects<'a>,
    /// Every rule that a case names. A word of stderr names a rule only if it is one of these.
    pub(crate) rules: &'a HashSet<&'a str>,
}

/// An input that a case wants rejected.
struct Unwanted<'a> {
    file: &'a [u8],
    /// Its name in reports.
    what: &'a str,
    /// Its name among kept files, if the case has several inputs.
    part: Option<&'a str>,
    /// A rule that it breaks.
    rule: Option<&'a str>,
    /// Whether it breaks no other.
    only: bool,
}

impl Run<'_> {
    /// Runs one case.
    pub(crate) fn one(&self, case: &Case) -> Result<CaseReport, RunError> {
        let started = Instant::now();
        let mut log = Log::default();
        let outcome = self.outcome(case, &mut log)?;
        Ok(CaseReport {
            named_rule: log.named_rule,
            unnamed: log.unnamed,
            stdout: log.stdout,
            stderr: log.stderr,
            duration: started.elapsed(),
            known_failure: self
                .options
                .known_failures
                .reason(&case.id)
                .map(str::to_owned),
            ..CaseReport::new(case, outcome)
        })
    }

    fn outcome(&self, case: &Case, log: &mut Log) -> Result<Outcome, RunError> {
        let beyond = case.profile > self.options.profile;
        if beyond && case.core_rule.is_none() {
            return Ok(Outcome::Skipped);
        }
        let (name, subject) = self.subject_of(case);
        let Some(subject) = subject else {
            return Ok(not_given(name));
        };
        let given = parameters_of(&case.expect);
        if let Some(why) = given.and_then(|given| mismatch(name, subject, given)) {
            return Ok(Outcome::NotRun { why });
        }
        let rule = case.rule().map(|(rule, _)| rule);
        match &case.expect {
            Expect::Accept(accept) if !beyond => self.accept(subject, case, accept, log),
            // A valid file of profile full, for a decoder of core.
            Expect::Accept(_) => {
                let rule = case.core_rule.as_deref();
                self.reject_file(subject, case, "the file", rule, true, log)
            }
            Expect::Reject { .. } | Expect::TranscodeRefuse { .. } => {
                self.reject_file(subject, case, "the file", rule, false, log)
            }
            Expect::EncodeRefuse { .. } => {
                self.reject_file(subject, case, "the source", None, false, log)
            }
            Expect::Prefixes { stride, .. } => self.reject_prefixes(subject, case, *stride, log),
            Expect::Encode { source, .. } | Expect::Transcode { source, .. } => {
                self.write(subject, case, source, log)
            }
        }
    }

    /// The subject that a case concerns, with its name.
    fn subject_of(&self, case: &Case) -> (&'static str, Option<&dyn Subject>) {
        let subjects = &self.subjects;
        match &case.expect {
            Expect::Accept(_) | Expect::Reject { .. } | Expect::Prefixes { .. } => {
                ("decoder", subjects.decoder)
            }
            Expect::Encode { .. } | Expect::EncodeRefuse { .. } => ("encoder", subjects.encoder),
            Expect::Transcode { .. } | Expect::TranscodeRefuse { .. } => {
                ("transcoder", subjects.transcoder)
            }
        }
    }

    fn accept(
        &self,
        decoder: &dyn Subject,
        case: &Case,
        accept: &Accept,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let source = accept
            .source
            .as_ref()
            .map(|source| self.read(source))
            .transpose()?;
        let known = accept.restored.as_deref().or(source.as_deref());
        let file = self.read(&case.file)?;
        let answer = self.ask(decoder, case, None, &file, log)?;
        Ok(judge_output(answer, |restored| {
            compare_restored(accept, &file, known, restored).map(Outcome::WrongOutput)
        }))
    }

    /// Runs an encoder or a transcoder, which must write exactly the case's file.
    fn write(
        &self,
        subject: &dyn Subject,
        case: &Case,
        source: &CorpusPath,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let expected = self.read(&case.file)?;
        let answer = self.ask(subject, case, None, &self.read(source)?, log)?;
        Ok(judge_output(answer, |found| {
            compare_bytes(&expected, found).map(Outcome::WrongBytes)
        }))
    }

    fn reject_file(
        &self,
        subject: &dyn Subject,
        case: &Case,
        what: &str,
        rule: Option<&str>,
        only: bool,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let unwanted = Unwanted {
            file: &self.read(&case.file)?,
            what,
            part: None,
            rule,
            only,
        };
        self.reject(subject, case, &unwanted, log)
    }

    /// Stops at the first prefix that is not rejected: a decoder that hangs on one would hang on
    /// many.
    fn reject_prefixes(
        &self,
        decoder: &dyn Subject,
        case: &Case,
        stride: u64,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let file = self.read(&case.file)?;
        for length in prefix_lengths(file.len(), stride) {
            let unwanted = Unwanted {
                file: &file[..length],
                what: &format!("its prefix of {length} of {} bytes", file.len()),
                part: Some(&format!("prefix-of-{length}-bytes")),
                rule: case.rule().map(|(rule, _)| rule),
                only: false,
            };
            let outcome = self.reject(decoder, case, &unwanted, log)?;
            if !outcome.passed() {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Passed)
    }

    fn reject(
        &self,
        subject: &dyn Subject,
        case: &Case,
        unwanted: &Unwanted<'_>,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let what = unwanted.what.to_owned();
        let answer = self.ask(subject, case, unwanted.part, unwanted.file, log)?;
        let nameless = !self.options.lenient && subject.must_name();
        Ok(match answer {
            Answer::Rejected(rejection) => match (rejection.rule, unwanted.rule) {
                (None, _) if nameless => Outcome::Unnamed { what },
                (Some(named), Some(expected)) if unwanted.only && named != expected => {
                    Outcome::WrongRule {
                        what,
                        named,
                        expected: expected.to_owned(),
                    }
                }
                _ => Outcome::Passed,
            },
            Answer::RejectedWithOutput(_) => Outcome::LeftOutput { what },
            Answer::Accepted(_) | Answer::AcceptedWithoutOutput => Outcome::AcceptedInvalid {
                what,
                rule: unwanted.rule.map(str::to_owned),
            },
            Answer::Crashed(how) => Outcome::Crashed { what, how },
            Answer::TimedOut(limit) => Outcome::TimedOut { what, limit },
        })
    }

    /// Runs the subject on one input of the case; `part` names it among several.
    fn ask(
        &self,
        subject: &dyn Subject,
        case: &Case,
        part: Option<&str>,
        input: &[u8],
        log: &mut Log,
    ) -> Result<Answer, RunError> {
        let none = Parameters::default();
        let parameters = parameters_of(&case.expect).unwrap_or(&none);
        let mut reply = subject.answer(input, parameters)?;
        if let Some(folder) = &self.options.keep {
            keep(folder, case, part, input, &reply)?;
        }
        log.named_rule = None;
        let Reply { answer, stderr, .. } = &mut reply;
        if let Answer::Rejected(rejection) | Answer::RejectedWithOutput(rejection) = answer {
            let known = |rule: &String| self.rules.contains(rule.as_str());
            let named = rejection.rule.take().filter(known);
            rejection.rule = named.or_else(|| named_rule(stderr, self.rules));
            log.unnamed += usize::from(rejection.rule.is_none());
            log.named_rule = rejection.rule.clone();
        }
        (log.stdout, log.stderr) = (reply.stdout, reply.stderr);
        Ok(reply.answer)
    }

    fn read(&self, file: &CorpusPath) -> Result<Vec<u8>, RunError> {
        self.corpus
            .read(file)
            .map_err(|error| RunError(format!("cannot read {file} of the corpus: {error}")))
    }
}

/// Output of a subject in a case, or in the last call of a family of prefixes.
#[derive(Default)]
struct Log {
    named_rule: Option<String>,
    /// The number of rejections that named no rule, in all calls.
    unnamed: usize,
    stdout: String,
    stderr: String,
}

/// Outcome of the answer to a valid input; `compare` gives the outcome of an output that differs.
fn judge_output(answer: Answer, compare: impl FnOnce(&[u8]) -> Option<Outcome>) -> Outcome {
    let what = "the file".to_owned();
    match answer {
        Answer::Accepted(output) => compare(&output).unwrap_or(Outcome::Passed),
        Answer::AcceptedWithoutOutput => Outcome::WrongOutput(Difference {
            tensor: None,
            offset: None,
            weight: None,
            text: "accepted the file, but wrote no {output}".into(),
        }),
        Answer::Rejected(rejection) | Answer::RejectedWithOutput(rejection) => {
            Outcome::RejectedValid {
                named: rejection.rule,
            }
        }
        Answer::Crashed(how) => Outcome::Crashed { what, how },
        Answer::TimedOut(limit) => Outcome::TimedOut { what, limit },
    }
}

fn not_given(what: &str) -> Outcome {
    Outcome::NotRun {
        why: format!("not run: no {what} was given"),
    }
}

/// The reason why a subject cannot take these parameters, if there is one.
fn mismatch(what: &str, subject: &dyn Subject, parameters: &Parameters) -> Option<String> {
    let takes = subject.takes()?;
    if let Some((name, value)) = parameters.iter().find(|(name, _)| !takes.contains(name)) {
        return Some(format!(
            "not run: the {what}'s command has no {{{name}}} for the value {value}"
        ));
    }
    let name = takes
        .into_iter()
        .find(|name| parameters.value(name).is_none())?;
    Some(format!(
        "not run: the {what}'s command has {{{name}}}, which this case does not set"
    ))
}

/// 0, `stride`, 2·`stride`, … below `length`, and `length` − 1.
fn prefix_lengths(length: usize, stride: u64) -> impl Iterator<Item = usize> {
    let stride = usize::try_from(stride).unwrap_or(usize::MAX);
    let last = length.checked_sub(1);
    (0..length)
        .step_by(stride)
        .chain(last.filter(move |last| last % stride != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_strict_and_include_the_longest() {
        let lengths = |length, stride| prefix_lengths(length, stride).collect::<Vec<_>>();
        assert_eq!(lengths(4, 1), [0, 1, 2, 3]);
        assert_eq!(lengths(10, 4), [0, 4, 8, 9]);
        assert_eq!(lengths(9, 4), [0, 4, 8]);
        assert_eq!(lengths(3, u64::MAX), [0, 2]);
        assert_eq!(lengths(1, 5), [0]);
        assert_eq!(lengths(0, 1), [0; 0]);
    }
}
