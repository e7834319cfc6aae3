//! Why a container could not be written.

use core::fmt;

use crate::error::Rule;

/// Why a container could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError<E> {
    /// The sink failed.
    Sink(E),
    /// What was to be written would break this rule; the tensor's number, where it is one tensor's.
    Rule(Rule, Option<u32>),
    /// The calls do not fit together: what was asked for, and what is wrong with it.
    Misuse(&'static str),
}

impl<E: fmt::Display> fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Sink(error) => error.fmt(f),
            WriteError::Rule(rule, None) => write!(f, "{}: {}", rule.id(), rule.broken_when()),
            WriteError::Rule(rule, Some(tensor)) => {
                write!(
                    f,
                    "{} in tensor {tensor}: {}",
                    rule.id(),
                    rule.broken_when()
                )
            }
            WriteError::Misuse(what) => f.write_str(what),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for WriteError<E> {}
