//! Warnings: lines on standard error about problems that do not make a run fail.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::printable::line;

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Suppresses all warnings from now on (`--quiet`).
pub(crate) fn silence() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

thread_local! {
    /// Warnings that wait until this thread's work is done. None if there is no such work.
    static DEFERRED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Does the work, and prints its warnings afterwards. Printing a warning waits for the reader of
/// standard error.
pub(crate) fn deferred<T>(work: impl FnOnce() -> T) -> T {
    DEFERRED.set(Some(Vec::new()));
    let done = work();
    let lines = DEFERRED.take();
    lines.into_iter().flatten().for_each(|line| print(&line));
    done
}

/// Prints a warning in one line on standard error.
pub(crate) fn warn(what: impl fmt::Display) {
    if IS_QUIET.load(Ordering::Relaxed) {
        return;
    }
    let line = line(&format!("unweight: warning: {what}"));
    let now = DEFERRED.with_borrow_mut(|deferred| match deferred {
        Some(lines) => {
            lines.push(line);
            None
        }
        None => Some(line),
    });
    if let Some(line) = now {
        print(&line);
    }
}

fn print(line: &str) {
    // A warning that cannot be printed is no reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_waits_for_the_work_that_must_not_wait_for_it() {
        let waiting = || DEFERRED.with_borrow(|deferred| deferred.as_ref().map(Vec::len));
        assert_eq!(waiting(), None);
        let during = deferred(|| {
            warn("one");
            warn("two");
            waiting()
        });
        assert_eq!((during, waiting()), (Some(2), None));
    }
}
