//! Conversion of panics, which are mistakes in this program, to failures.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;

/// Message and place of the first panic.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Does the work. A panic on any thread makes it fail with [`Failure::Internal`]. `RUST_BACKTRACE`
/// shows more about the panic.
pub(crate) fn to_failure(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        note(panic);
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(panic);
        }
    }));
    // No data of the work is used after a panic.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(Failure::Internal(first.unwrap_or_default()))
    })
}

fn note(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let what = payload.downcast_ref::<&str>().copied();
    let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("no message");
    let place = panic.location().map_or_else(String::new, |location| {
        format!(" ({}:{})", location.file(), location.line())
    });
    FIRST
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(format!("{what}{place}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure() {
        let done = to_failure(|| panic!("a mistake"));
        // The hook belongs to the process, and other tests panic too.
        let _ = panic::take_hook();
        assert!(matches!(done, Err(Failure::Internal(_))), "{done:?}");
    }
}
