//! Warnings: lines on standard error about what does not make a run fail.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Leaves out all warnings from now on (`--quiet`).
pub(crate) fn silence() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Prints a warning in one line on standard error.
pub(crate) fn warn(what: impl fmt::Display) {
    if IS_QUIET.load(Ordering::Relaxed) {
        return;
    }
    // Names may hold control characters, which must not reach a terminal.
    let mut line = String::from("unweight: warning: ");
    for character in what.to_string().chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    // A warning that nobody reads is no reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}
