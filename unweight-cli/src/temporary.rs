//! What has a temporary name. It is removed when a signal ends the program, and when it is dropped without having got a final name.
//!
//! A thread waits for signals, so that what it does is not bound by what a signal handler may do. It takes the list of what is temporary
//! and never gives it back: what gets a name, or a final one, does so before or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::warning;

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
    fn add(&mut self, path: &Path) {
        self.0.push(path.to_owned());
    }

    /// Takes a path off the list: what it names now is not to be removed. Returns whether it was on it.
    pub(crate) fn forget(&mut self, path: &Path) -> bool {
        let place = self.0.iter().rposition(|listed| listed == path);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }

    /// Puts a path on the list that was taken off it.
    pub(crate) fn list_again(&mut self, temporary: &Temporary) {
        self.add(&temporary.0);
    }
}

/// A file or folder that is removed on a signal and when this is dropped, as long as it is on the list.
///
/// Not to be dropped within [`uninterrupted`].
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        uninterrupted(|list| {
            if list.forget(&self.0) {
                remove(&self.0);
            }
        });
    }
}

/// Does what a signal must not cut in two. It has to wait until this is done; where it came first, this never returns.
pub(crate) fn uninterrupted<T>(work: impl FnOnce(&mut Temporaries) -> T) -> T {
    // A signal waits for the work, and must not wait for a reader.
    warning::deferred(|| work(&mut list()))
}

/// Makes something in `folder`, by a name that is listed from the first moment and ends in `suffix`.
pub(crate) fn make<T>(
    folder: &Path,
    suffix: &str,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, Temporary)> {
    uninterrupted(|list| {
        let (made, path) = name(folder, suffix, make)?;
        list.add(&path);
        Ok((made, Temporary(path)))
    })
}

/// As [`make`], for what is there until it has a final name, whatever ends the program: it is not on the list.
pub(crate) fn make_lasting<T>(
    folder: &Path,
    suffix: &str,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, Temporary)> {
    let (made, path) = name(folder, suffix, make)?;
    Ok((made, Temporary(path)))
}

/// Makes something in `folder`, by a name that nothing has and that ends in `suffix`. It is removed by nobody.
pub(crate) fn name<T>(
    folder: &Path,
    suffix: &str,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let made = tempfile::Builder::new()
        .prefix(".unweight-")
        .suffix(suffix)
        .disable_cleanup(true)
        .make_in(folder, make)?;
    let (made, path) = made.into_parts();
    Ok((made, path.to_path_buf()))
}

fn list() -> MutexGuard<'static, Temporaries> {
    // A path is there or not; nothing can be half changed.
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the signals that end a program remove what is temporary first, but those that nothing can be done about and those
/// of a fault of the program itself.
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
    // A write beyond the limit of a file's size then fails with EFBIG, which is reported as a full disk is.
    // So does one to a pipe that nobody reads: Rust ignores SIGPIPE.
    let noticed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(SIGXFSZ, noticed)?;
    let ignored = ignored();
    let is_heeded = |signal: &i32| ignored >> (signal - 1) & 1 == 0;
    // Who started the program may have said that it is to go on: `nohup` does.
    let heeded = SIGNALS.into_iter().filter(is_heeded);
    let mut signals = signal_hook::iterator::Signals::new(heeded)?;
    let further = further_signals().filter(is_heeded);
    further.for_each(|signal| {
        // Which of them there are differs between systems.
        let _ = signals.add_signal(signal);
    });
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let list = list();
                list.0.iter().for_each(|path| remove(path));
                say_last_words();
                die_of(signal);
            }
        })?;
    Ok(())
}

/// Says what there is to say, as long as somebody reads it soon: standard error may be a pipe that is full, and another thread may
/// wait for its reader already. Then the signal has to do.
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

/// Those that end a program on Linux alone: SIGSTKFLT, SIGIO, SIGPWR and the real-time signals.
#[cfg(unix)]
fn further_signals() -> impl Iterator<Item = i32> {
    let all: &[std::ops::RangeInclusive<i32>] = match cfg!(target_os = "linux") {
        true => &[16..=16, 29..=30, 34..=64],
        false => &[],
    };
    all.iter().cloned().flatten()
}

/// The signals that were ignored when the program started, a bit each. Only Linux tells without unsafe code.
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

/// Removes a file, or a folder with all that is in it.
fn remove(path: &Path) {
    // The thread that fills a folder may not know yet that it is going; what it makes meanwhile goes in the next round.
    const ROUNDS: usize = 100;
    let is_gone = |done: io::Result<()>| match done {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_gone(std::fs::remove_file(path)) {
        return;
    }
    for _ in 0..ROUNDS {
        if is_gone(std::fs::remove_dir_all(path)) {
            return;
        }
        make_writable(path);
    }
}

/// A folder that is complete may have the permissions of a source that nothing is to be removed from.
#[cfg(unix)]
fn make_writable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let folders = walkdir::WalkDir::new(folder).into_iter().flatten();
    for entry in folders.filter(|entry| entry.file_type().is_dir()) {
        let all = std::fs::Permissions::from_mode(0o700);
        let _ = std::fs::set_permissions(entry.path(), all);
    }
}

#[cfg(not(unix))]
fn make_writable(_: &Path) {}

/// Ends as the signal ends a program that does nothing about it, so that a shell reports 128 + its number and stops the loop that it is in.
#[cfg(unix)]
fn die_of(signal: i32) -> ! {
    // What runs as the first process of a container is spared by signals.
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    std::process::exit(128 + signal)
}
