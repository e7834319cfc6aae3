//! Signals that reach the programs under test, however the tests were started.
//!
//! A signal that is ignored stays ignored in all child processes. Children of `nohup` therefore
//! ignore a signal, and background commands of a script ignore SIGINT and SIGQUIT. A signal with a
//! handler has its default action in children, because they do not have the handler.

use std::process::{Command, Stdio};
use std::sync::{Arc, Once};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};

/// Gives signals that end programs their default action in every child that starts from now on,
/// unless the child is told otherwise. In the tests themselves an ignored signal still has no
/// effect: its handler sets a flag that nothing reads.
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

/// Whether a child survives this signal. `/proc` tells it as well, but not on every system.
fn is_ignored_by_children(signal: &str) -> bool {
    let status = Command::new("sh")
        .args(["-c", "ulimit -c 0; kill -s \"$1\" $$", "sh", signal])
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}
