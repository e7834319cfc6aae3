//! Signals that end the program: temporary files and folders are removed first.
//!
//! A thread waits for signals, so that the limits of signal handlers do not apply.

use std::io;
#[cfg(unix)]
use std::io::Write;
use std::sync::{Mutex, PoisonError};

#[cfg(unix)]
use unweight::temporary;

/// Message that is printed when a signal ends the program.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// Sets the message that is printed on standard error when a signal ends the program.
pub(crate) fn set_last_words(words: Option<String>) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

/// Makes signals that end the program remove the temporary entries first. The exceptions are
/// signals that cannot be handled, and signals that report a fault of the program itself.
#[cfg(unix)]
pub(crate) fn remove_on_signals() -> io::Result<()> {
    use signal_hook::consts::{
        SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGSYS, SIGTERM, SIGTRAP, SIGUSR1,
        SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
    };
    const SIGNALS: [i32; 13] = [
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGALRM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGPROF,
        SIGXCPU, SIGSYS, SIGTRAP,
    ];
    // A write beyond the limit of a file's size then fails with EFBIG, which is reported like a
    // full disk. A write to a pipe without a reader fails as well, because Rust ignores SIGPIPE.
    let noticed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(SIGXFSZ, noticed)?;
    let ignored = ignored();
    let is_heeded = |signal: &i32| ignored >> (signal - 1) & 1 == 0;
    // Signals that were ignored at the start stay ignored. The caller wants the program to go on,
    // as `nohup` does.
    let heeded = SIGNALS.into_iter().filter(is_heeded);
    let mut signals = signal_hook::iterator::Signals::new(heeded)?;
    let further = further_signals().filter(is_heeded);
    further.for_each(|signal| {
        // The set of these signals differs between systems.
        let _ = signals.add_signal(signal);
    });
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Nothing is named from now on.
                let _removed = temporary::remove_all();
                say_last_words();
                die_of(signal);
            }
        })?;
    Ok(())
}

/// Prints the last message if a reader takes it soon. Standard error may be a full pipe, and
/// another thread may wait for its reader already. In that case the program ends without the
/// message.
#[cfg(unix)]
fn say_last_words() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
    let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(words) = words.clone() else {
        return;
    };
    let (said, is_said) = std::sync::mpsc::channel();
    let speaker = std::thread::Builder::new().spawn(move || {
        let _ = writeln!(io::stderr(), "{words}");
        let _ = said.send(());
    });
    if speaker.is_ok() {
        let _ = is_said.recv_timeout(PATIENCE);
    }
}

#[cfg(not(unix))]
pub(crate) fn remove_on_signals() -> io::Result<()> {
    Ok(())
}

/// Signals that end a program on Linux alone: SIGSTKFLT, SIGIO, SIGPWR and the real-time signals.
#[cfg(unix)]
fn further_signals() -> impl Iterator<Item = i32> {
    let all: &[std::ops::RangeInclusive<i32>] = match cfg!(target_os = "linux") {
        true => &[16..=16, 29..=30, 34..=64],
        false => &[],
    };
    all.iter().cloned().flatten()
}

/// Signals that were ignored when the program started, one bit for each. Only Linux reports them
/// without unsafe code.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = match cfg!(target_os = "linux") {
        true => std::fs::read_to_string("/proc/self/status").unwrap_or_default(),
        false => String::new(),
    };
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    mask.unwrap_or(0)
}

/// Ends the program by the default action of the signal. A shell then reports 128 + the signal's
/// number, and stops the loop that it is in.
#[cfg(unix)]
fn die_of(signal: i32) -> ! {
    // The default action of a signal does not end the first process of a container.
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    std::process::exit(128 + signal)
}
