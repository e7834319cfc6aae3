//! One case: runs the subject and compares its answer.

use std::{collections::HashSet, time::Instant};

use super::parameters_of;
use crate::{
    Accept, Answer, Case, CaseReport, Corpus, CorpusPath, Difference, Expect, Outcome, Parameters,
    Profile, Reply, RunError, Subject, Subjects,
    compare::{compare_bytes, compare_restored},
};

/// Shared state of a run's cases.
pub(super) struct Run<'a> {
    pub(super) corpus: &'a Corpus,
    pub(super) profile: Profile,
    pub(super) subjects: Subjects<'a>,
    /// Every rule that a case names. The first word of a decoder's stderr is a rule's name only if
    /// it is one of these.
    pub(super) rules: HashSet<&'a str>,
}

impl Run<'_> {
    /// Runs one case.
    pub(super) fn one(&self, case: &Case) -> Result<CaseReport, RunError> {
        let started = Instant::now();
        let mut log = Log::default();
        let outcome = self.outcome(case, &mut log)?;
        Ok(CaseReport {
            case: case.clone(),
            outcome,
            named_rule: log.named_rule,
            stdout: log.stdout,
            stderr: log.stderr,
            duration: started.elapsed(),
        })
    }

    fn outcome(&self, case: &Case, log: &mut Log) -> Result<Outcome, RunError> {
        if case.profile > self.profile {
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
        match &case.expect {
            Expect::Accept(accept) => self.accept(subject, case, accept, log),
            Expect::Reject { .. } | Expect::TranscodeRefuse { .. } => {
                self.reject(subject, case, &self.read(&case.file)?, "the file", log)
            }
            Expect::EncodeRefuse { .. } => {
                self.reject(subject, case, &self.read(&case.file)?, "the source", log)
            }
            Expect::Prefixes { step, .. } => self.reject_prefixes(subject, case, *step, log),
            Expect::Encode { source, parameters } | Expect::Transcode { source, parameters } => {
                self.write(subject, case, source, parameters, log)
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
        let answer = self.ask(
            decoder,
            &self.read(&case.file)?,
            &Parameters::default(),
            log,
        )?;
        Ok(judge_output(answer, |restored| {
            compare_restored(accept, known, restored).map(Outcome::WrongOutput)
        }))
    }

    /// Runs an encoder or a transcoder, which must write exactly the case's file.
    fn write(
        &self,
        subject: &dyn Subject,
        case: &Case,
        source: &CorpusPath,
        parameters: &Parameters,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let expected = self.read(&case.file)?;
        let answer = self.ask(subject, &self.read(source)?, parameters, log)?;
        Ok(judge_output(answer, |found| {
            compare_bytes(&expected, found).map(Outcome::WrongBytes)
        }))
    }

    /// Stops at the first prefix that is not rejected: a decoder that hangs on one would hang on
    /// many.
    fn reject_prefixes(
        &self,
        decoder: &dyn Subject,
        case: &Case,
        step: u64,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let file = self.read(&case.file)?;
        for length in prefix_lengths(file.len(), step) {
            let what = format!("its prefix of {length} of {} bytes", file.len());
            *log = Log::default();
            let outcome = self.reject(decoder, case, &file[..length], &what, log)?;
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
        file: &[u8],
        what: &str,
        log: &mut Log,
    ) -> Result<Outcome, RunError> {
        let what = what.to_owned();
        let none = Parameters::default();
        let parameters = parameters_of(&case.expect).unwrap_or(&none);
        Ok(match self.ask(subject, file, parameters, log)? {
            Answer::Rejected(_) => Outcome::Passed,
            Answer::RejectedWithOutput(_) => Outcome::LeftOutput { what },
            Answer::Accepted(_) | Answer::AcceptedWithoutOutput => Outcome::AcceptedInvalid {
                what,
                rule: case.rule().map(|(rule, _)| rule.to_owned()),
            },
            Answer::Crashed(how) => Outcome::Crashed { what, how },
            Answer::TimedOut(limit) => Outcome::TimedOut { what, limit },
        })
    }

    fn ask(
        &self,
        subject: &dyn Subject,
        input: &[u8],
        parameters: &Parameters,
        log: &mut Log,
    ) -> Result<Answer, RunError> {
        let Reply {
            mut answer,
            stdout,
            stderr,
        } = subject.answer(input, parameters)?;
        if let Answer::Rejected(rejection) | Answer::RejectedWithOutput(rejection) = &mut answer {
            rejection.rule = rejection
                .rule
                .take()
                .filter(|rule| self.rules.contains(rule.as_str()));
            log.named_rule = rejection.rule.clone();
        }
        (log.stdout, log.stderr) = (stdout, stderr);
        Ok(answer)
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

/// 0, `step`, 2·`step`, … below `length`, and `length` − 1.
fn prefix_lengths(length: usize, step: u64) -> impl Iterator<Item = usize> {
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    let last = length.checked_sub(1);
    (0..length)
        .step_by(step)
        .chain(last.filter(move |last| last % step != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_strict_and_include_the_longest() {
        let lengths = |length, step| prefix_lengths(length, step).collect::<Vec<_>>();
        assert_eq!(lengths(4, 1), [0, 1, 2, 3]);
        assert_eq!(lengths(10, 4), [0, 4, 8, 9]);
        assert_eq!(lengths(9, 4), [0, 4, 8]);
        assert_eq!(lengths(3, u64::MAX), [0, 2]);
        assert_eq!(lengths(1, 5), [0]);
        assert_eq!(lengths(0, 1), [0; 0]);
    }
}
