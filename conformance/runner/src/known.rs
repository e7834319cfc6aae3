//! List of the cases that a subject is known to fail.

use std::{collections::BTreeMap, fmt, fs, path::Path};

/// Cases that a subject is known to fail, each with a reason.
///
/// The file has an id a line; `#` begins a comment, and the comment behind an id is the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFailures {
    reasons: BTreeMap<String, String>,
}

impl KnownFailures {
    /// Parses the text of a list.
    pub fn parse(text: &str) -> Result<Self, KnownFailuresError> {
        let mut reasons = BTreeMap::new();
        for (position, line) in text.lines().enumerate() {
            let (id, reason) = line.split_once('#').unwrap_or((line, ""));
            let id = id.trim();
            if id.is_empty() {
                continue;
            }
            let fail = |problem: String| KnownFailuresError {
                problem: format!("line {}: {problem}", position + 1),
            };
            if id.contains(char::is_whitespace) {
                return Err(fail(format!("{id:?} is not the id of one case")));
            }
            if reasons
                .insert(id.to_owned(), reason.trim().to_owned())
                .is_some()
            {
                return Err(fail(format!("`{id}` is listed twice")));
            }
        }
        Ok(Self { reasons })
    }

    /// Reads a list from a file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KnownFailuresError> {
        let path = path.as_ref();
        let fail = |problem: String| KnownFailuresError {
            problem: format!("{}: {problem}", path.display()),
        };
        let text =
            fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&text).map_err(|error| fail(error.problem))
    }

    /// The reason of a listed case, empty if the list gives none; or nothing if it is not listed.
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.reasons.get(id).map(String::as_str)
    }

    /// The listed ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }
}

/// Error of a list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailuresError {
    /// The problem and its place.
    pub problem: String,
}

impl fmt::Display for KnownFailuresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "list of known failures: {}", self.problem)
    }
}

impl std::error::Error for KnownFailuresError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_an_id_a_line_with_a_reason_behind_it() {
        let text = "# of 2026\n\na-case # no memory for it\n  b-case\n";
        let known = KnownFailures::parse(text).unwrap();
        assert!(known.ids().eq(["a-case", "b-case"]));
        assert_eq!(known.reason("a-case"), Some("no memory for it"));
        assert_eq!(known.reason("b-case"), Some(""));
        assert_eq!(known.reason("c-case"), None);
    }

    #[test]
    fn refuses_two_ids_in_a_line_and_an_id_twice() {
        let problem = |text| KnownFailures::parse(text).unwrap_err().to_string();
        assert!(problem("a b\n").contains("line 1: \"a b\" is not the id of one case"));
        assert!(problem("a\n\na\n").contains("line 3: `a` is listed twice"));
    }
}
