//! A rejection, and what stderr tells about an exit code of 1: the named rule, or the trace of a
//! crash.

use std::collections::HashSet;

/// A rejection, with the rule that the decoder names, if any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejection {
    /// The id of a broken rule. Without it, the rule is looked for in the reply's stderr.
    pub rule: Option<String>,
}

impl Rejection {
    /// A rejection that names a rule by its id, such as `record-crc`.
    pub fn naming(rule: impl Into<String>) -> Self {
        Self {
            rule: Some(rule.into()),
        }
    }

    /// A rejection that names no rule.
    pub fn unnamed() -> Self {
        Self::default()
    }
}

/// The first word of stderr that is the id of a rule. A word is a run of a-z, A-Z, 0-9, `-` and
/// `_`, so that a longer word which contains an id is none.
pub(crate) fn named_rule(stderr: &str, rules: &HashSet<&str>) -> Option<String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    stderr
        .split(|c: char| !inside(c))
        .find(|word| rules.contains(word))
        .map(str::to_owned)
}

/// Traces that an uncaught exception or a sanitizer leaves on stderr, whatever the exit code: the
/// text, and the name of what it shows.
const CRASH_TRACES: &[(&str, &str)] = &[
    ("Traceback (most recent call last):", "a Python traceback"),
    ("ERROR: AddressSanitizer", "a report of AddressSanitizer"),
    ("ERROR: LeakSanitizer", "a report of LeakSanitizer"),
    ("WARNING: MemorySanitizer", "a report of MemorySanitizer"),
    ("WARNING: ThreadSanitizer", "a report of ThreadSanitizer"),
    (
        "ERROR: HWAddressSanitizer",
        "a report of HWAddressSanitizer",
    ),
    (
        ": runtime error: ",
        "a report of UndefinedBehaviorSanitizer",
    ),
    (
        "UndefinedBehaviorSanitizer",
        "a report of UndefinedBehaviorSanitizer",
    ),
    ("Exception in thread \"", "a Java exception"),
    ("Unhandled exception. ", "a .NET exception"),
    ("\nNode.js v", "an uncaught exception of Node.js"),
    // The second since Rust 1.91: the number of the thread stands behind its name.
    ("' panicked at ", "a Rust panic"),
    (") panicked at ", "a Rust panic"),
    ("\ngoroutine ", "a Go panic"),
];

/// The trace of a crash in stderr, if there is one.
pub(crate) fn crash_trace(stderr: &str) -> Option<&'static str> {
    let found = CRASH_TRACES.iter().find(|(text, _)| stderr.contains(text));
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_by_its_id_as_a_word_anywhere_in_stderr() {
        let rules = HashSet::from(["record-crc", "padding", "dir-padding"]);
        let rule = |stderr| named_rule(stderr, &rules);
        assert_eq!(rule("record-crc: chunk 3").as_deref(), Some("record-crc"));
        let sentence = "reading x\nerror: x.unw breaks the rule `record-crc`, section 5.1\n";
        assert_eq!(rule(sentence).as_deref(), Some("record-crc"));
        assert_eq!(rule("E[record-crc] padding").as_deref(), Some("record-crc"));
        assert_eq!(rule("dir-padding: byte 3").as_deref(), Some("dir-padding"));
        assert_eq!(rule("the record-crcs and the no-padding-rule"), None);
        assert_eq!(rule("record_crc, Record-CRC, paddings"), None);
        assert_eq!(rule(""), None);
    }

    #[test]
    fn traces_of_exceptions_and_sanitizers_are_crashes() {
        let python =
            "Traceback (most recent call last):\n  File \"d.py\"\nKeyError: 'record-crc'\n";
        assert_eq!(crash_trace(python), Some("a Python traceback"));
        let asan = "==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602";
        assert_eq!(crash_trace(asan), Some("a report of AddressSanitizer"));
        let ubsan = "d.c:12:5: runtime error: shift exponent 64 is too large";
        assert_eq!(
            crash_trace(ubsan),
            Some("a report of UndefinedBehaviorSanitizer")
        );
        let node = "file:///d.js:3\n    throw x;\n    ^\nTypeError\n    at main (d.js:3:1)\n\nNode.js v20.1.0\n";
        assert_eq!(crash_trace(node), Some("an uncaught exception of Node.js"));
        for rust in [
            "thread 'main' panicked at src/main.rs:2:5:\nrecord-crc\n",
            "\nthread 'main' (22351) panicked at src/main.rs:2:5:\nrecord-crc\n",
        ] {
            assert_eq!(crash_trace(rust), Some("a Rust panic"));
        }
        assert_eq!(crash_trace("record-crc: chunk 3\n"), None);
    }
}
