//! Warnings: lines on standard error about what does not make a run fail.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::printable::line;

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
    let line = line(&format!("unweight: warning: {what}"));
    // A warning that nobody reads is no reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}
