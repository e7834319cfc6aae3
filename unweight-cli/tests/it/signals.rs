//! Signals that reach the programs under test, whoever started the tests.
//!
//! A signal that is ignored stays ignored in all children: in those of `nohup`, and SIGINT and SIGQUIT in what a script starts in its
//! background. One that has a handler is default in them, since the handler is not theirs.

use std::process::{Command, Stdio};
use std::sync::{Arc, Once};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};

/// Every child that starts from now on has the default action for the signals that end programs, unless it is told otherwise. To the
/// tests themselves an ignored signal stays as good as ignored: its handler does nothing that anybody looks at.
pub(crate) fn reach_children() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (name, signal) in [
            ("HUP", SIGHUP),
            ("INT", SIGINT),
            ("QUIT", SIGQUIT),
            ("TERM", SIGTERM),
            ("XFSZ", SIGXFSZ),
        ] {
            if is_ignored_by_children(name) {
                signal_hook::flag::register(signal, Arc::default()).unwrap();
                assert!(!is_ignored_by_children(name), "{name}");
            }
        }
    });
}

/// Whether a child outlives this signal. `/proc` would tell as well, but not on every system.
fn is_ignored_by_children(signal: &str) -> bool {
    let status = Command::new("sh")
        .args(["-c", "ulimit -c 0; kill -s \"$1\" $$", "sh", signal])
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}
