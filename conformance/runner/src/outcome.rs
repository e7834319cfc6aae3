//! Outcomes of cases.

use std::{fmt, time::Duration};

use crate::inspect::WeightDifference;

/// Outcome of a case. `Display` gives the reason as a sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The decoder or encoder did what the case claims.
    Passed,
    /// A valid file was accepted, but its restored source differs.
    WrongOutput(Difference),
    /// An encoder's file differs from the expected one.
    WrongBytes(Difference),
    /// A file that breaks a rule, or a source that must be refused, was accepted.
    AcceptedInvalid {
        /// The accepted input: `the file`, `the source`, or `its prefix of 17 of 4096 bytes`.
        what: String,
        /// The broken rule, if the case names one.
        rule: Option<String>,
    },
    /// A valid file was rejected, or a source refused of which a file can be made.
    RejectedValid {
        /// The rule that was named, if any.
        named: Option<String>,
    },
    /// An input was rejected as it must be, but an output was left behind.
    LeftOutput {
        /// The rejected input, as in [`Outcome::AcceptedInvalid`].
        what: String,
    },
    /// An input was rejected as it must be, but no rule was named (see [`crate::Subject::must_name`]).
    Unnamed {
        /// The rejected input, as in [`Outcome::AcceptedInvalid`].
        what: String,
    },
    /// An input that breaks one rule alone was rejected under the name of another.
    WrongRule {
        /// The rejected input, as in [`Outcome::AcceptedInvalid`].
        what: String,
        /// The rule that was named.
        named: String,
        /// The only rule that the input breaks.
        expected: String,
    },
    /// The decoder neither accepted nor rejected: another exit code, a signal, a panic, or stderr that
    /// shows an uncaught exception or the report of a sanitizer.
    Crashed {
        /// The input of the crash.
        what: String,
        /// How it ended.
        how: String,
    },
    /// The decoder had not ended in time and was killed.
    TimedOut {
        /// The input of the run.
        what: String,
        /// The time limit.
        limit: Duration,
    },
    /// The case belongs to profile full and the run to core, where either answer conforms.
    Skipped,
    /// The case was not run, for a reason other than its profile. Never counted as passed.
    NotRun {
        /// The reason.
        why: String,
    },
}

impl Outcome {
    /// The outcome's name in reports.
    pub fn id(&self) -> &'static str {
        match self {
            Outcome::Passed => "pass",
            Outcome::WrongOutput(_) => "wrong-output",
            Outcome::WrongBytes(_) => "wrong-bytes",
            Outcome::AcceptedInvalid { .. } => "accepted-invalid",
            Outcome::RejectedValid { .. } => "rejected-valid",
            Outcome::LeftOutput { .. } => "left-output",
            Outcome::Unnamed { .. } => "unnamed-rejection",
            Outcome::WrongRule { .. } => "wrong-rule",
            Outcome::Crashed { .. } => "crash",
            Outcome::TimedOut { .. } => "timeout",
            Outcome::Skipped => "skipped",
            Outcome::NotRun { .. } => "not-run",
        }
    }

    /// Whether the case passed.
    pub fn passed(&self) -> bool {
        matches!(self, Outcome::Passed)
    }

    /// Whether the case was run at all.
    pub fn ran(&self) -> bool {
        !matches!(self, Outcome::Skipped | Outcome::NotRun { .. })
    }

    /// Whether the case was run and did not pass.
    pub fn failed(&self) -> bool {
        self.ran() && !self.passed()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => f.write_str("passed"),
            Outcome::WrongOutput(difference) | Outcome::WrongBytes(difference) => {
                f.write_str(&difference.text)
            }
            Outcome::AcceptedInvalid {
                what,
                rule: Some(rule),
            } => write!(f, "accepted {what}, which breaks `{rule}`"),
            Outcome::AcceptedInvalid { what, rule: None } => {
                write!(f, "accepted {what}, which is not valid")
            }
            Outcome::RejectedValid { named: Some(rule) } => {
                write!(f, "rejected a valid file and named `{rule}`")
            }
            Outcome::RejectedValid { named: None } => {
                f.write_str("rejected a valid file and named no rule")
            }
            Outcome::LeftOutput { what } => {
                write!(
                    f,
                    "rejected {what}, but left an output behind; remove the output before exit 1"
                )
            }
            Outcome::Unnamed { what } => write!(
                f,
                "rejected {what}, but stderr names no rule; write the rule's id to stderr, or run with --lenient"
            ),
            Outcome::WrongRule {
                what,
                named,
                expected,
            } => write!(
                f,
                "rejected {what} as `{named}`, but the only rule that it breaks is `{expected}`"
            ),
            Outcome::Crashed { what, how } => {
                write!(f, "neither accepted nor rejected {what}: {how}")
            }
            Outcome::TimedOut { what, limit } => {
                write!(
                    f,
                    "did not finish {what} within {} s and was killed",
                    limit.as_secs_f64()
                )
            }
            Outcome::Skipped => f.write_str("belongs to profile full"),
            Outcome::NotRun { why } => f.write_str(why),
        }
    }
}

/// Position at which an output first differs from the expected bytes, as far as the manifest tells
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The tensor that first differs. None when the difference lies in the source section, when
    /// there is no output, or in an encoder's file.
    pub tensor: Option<String>,
    /// The offset of the first differing byte; known when the expected bytes are.
    pub offset: Option<u64>,
    /// The first weight that differs, and the file's inner values that concern it.
    pub weight: Option<WeightDifference>,
    /// Tensor and offset as a sentence.
    pub text: String,
}
