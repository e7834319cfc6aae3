//! What has a temporary name. It is removed when a signal ends the program: Ctrl-C, SIGTERM and SIGHUP leave nothing behind.
//!
//! A thread waits for signals, so that what it does is not bound by what a signal handler may do. It takes the list of what is temporary
//! and never gives it back: what gets a name, or a final one, does so before or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static TEMPORARY: Mutex<Temporaries> = Mutex::new(Temporaries(Vec::new()));
/// What is said when a signal ends the program.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// From now on a signal that ends the program has it say this on standard error.
pub(crate) fn set_last_words(words: Option<String>) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

/// The files and folders that are to be removed.
#[derive(Debug)]
pub(crate) struct Temporaries(Vec<PathBuf>);

impl Temporaries {
    pub(crate) fn add(&mut self, path: &Path) -> Listed {
        self.0.push(path.to_owned());
        Listed(path.to_owned())
    }
}

/// A file or folder that is removed on a signal, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        let mut list = list();
        if let Some(place) = list.0.iter().rposition(|path| *path == self.0) {
            list.0.swap_remove(place);
        }
    }
}

/// Does what a signal must not cut in two. It has to wait until this is done; where it came first, this never returns.
pub(crate) fn uninterrupted<T>(work: impl FnOnce(&mut Temporaries) -> T) -> T {
    work(&mut list())
}

/// Makes something temporary, by a name that is listed from the first moment.
pub(crate) fn make<T: AsRef<Path>>(
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, Listed)> {
    uninterrupted(|list| {
        let made = make()?;
        let listed = list.add(made.as_ref());
        Ok((made, listed))
    })
}

fn list() -> MutexGuard<'static, Temporaries> {
    // A path is there or not; nothing can be half changed.
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the signals that ask a program to end remove what is temporary first.
#[cfg(unix)]
pub(crate) fn remove_on_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let signals = [SIGINT, SIGTERM, SIGHUP];
    // Who started the program may have said that it is to go on: `nohup` does.
    let heeded: Vec<_> = signals
        .into_iter()
        .filter(|&signal| !is_ignored(signal))
        .collect();
    let mut signals = signal_hook::iterator::Signals::new(heeded)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let list = list();
                list.0.iter().for_each(|path| remove(path));
                let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(words) = &*words {
                    // Where nobody listens, the signal has to do.
                    let _ = writeln!(io::stderr(), "{words}");
                }
                die_of(signal);
            }
        })?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn remove_on_signals() -> io::Result<()> {
    Ok(())
}

/// Whether a signal was ignored when the program started. Only Linux tells without unsafe code.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = match cfg!(target_os = "linux") {
        true => std::fs::read_to_string("/proc/self/status").unwrap_or_default(),
        false => String::new(),
    };
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(unix)]
fn remove(path: &Path) {
    // The thread that fills a folder does not know yet that it is going; what it makes meanwhile goes in the next round.
    const ROUNDS: usize = 100;
    if std::fs::remove_file(path).is_err() {
        let _ = (0..ROUNDS).find(|_| match std::fs::remove_dir_all(path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        });
    }
}

/// Ends as the signal ends a program that does nothing about it, so that a shell reports 128 + its number and stops the loop that it is in.
#[cfg(unix)]
fn die_of(signal: i32) -> ! {
    // What runs as the first process of a container is spared by signals.
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    std::process::exit(128 + signal)
}
