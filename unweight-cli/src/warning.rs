//! Warnings: lines on standard error about problems that do not make a run fail.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use unweight::file::{RefusedCall, Warning};

use crate::printable::line;

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Suppresses all warnings from now on (`--quiet`).
pub(crate) fn silence() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Prints a warning in one line on standard error.
pub(crate) fn warn(what: impl fmt::Display) {
    if !IS_QUIET.load(Ordering::Relaxed) {
        // A warning that cannot be printed is no reason to fail.
        let _ = writeln!(
            io::stderr(),
            "{}",
            line(&format!("unweight: warning: {what}"))
        );
    }
}

/// Prints a warning of the library. Each kind of refused call is reported once.
pub(crate) fn tell(warning: &Warning) {
    static SAID: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    let kind = match warning {
        Warning::Refused { call, .. } => match call {
            RefusedCall::SetMode => Some(0),
            RefusedCall::SetTimes => Some(1),
            RefusedCall::Flush => Some(2),
            _ => None,
        },
        _ => None,
    };
    if kind.is_none_or(|kind: usize| !SAID[kind].swap(true, Ordering::Relaxed)) {
        warn(text(warning));
    }
}

/// A warning of the library, with the names that options have on the command line.
pub(crate) fn text(warning: &Warning) -> String {
    match warning {
        Warning::EarlierRun { work_folder } => format!(
            "{} holds finished files of an earlier run; --resume goes on with them",
            work_folder.display()
        ),
        warning => warning.to_string(),
    }
}
