//! Files and folders with temporary names. They are removed when a signal ends the program, and
//! when they are dropped without a final name.
//!
//! A thread waits for signals, so that the limits of signal handlers do not apply. The thread locks
//! the list of temporary entries and never unlocks it. An entry gets its temporary or its final
//! name before that, or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::warning;

static TEMPORARY: Mutex<Temporaries> = Mutex::new(Temporaries(Vec::new()));
/// Message that is printed when a signal ends the program.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// Sets the message that is printed on standard error when a signal ends the program.
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

    /// Takes a path off the list, because the entry that has it now is not to be removed. Returns
    /// whether the path was on the list.
    pub(crate) fn forget(&mut self, path: &Path) -> bool {
        let place = self.0.iter().rposition(|listed| listed == path);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }

    /// Puts a path back on the list that was taken off it.
    pub(crate) fn list_again(&mut self, temporary: &Temporary) {
        self.add(&temporary.0);
    }
}

/// File or folder that is removed on a signal and on drop, as long as it is on the list.
///
/// It must not be dropped within [`uninterrupted`].
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

/// Does work that a signal must not interrupt. A signal waits until the work is done. If the signal
/// came first, this function never returns.
pub(crate) fn uninterrupted<T>(work: impl FnOnce(&mut Temporaries) -> T) -> T {
    // A signal waits for the work, so the work must not wait for a reader of warnings.
    warning::deferred(|| work(&mut list()))
}

/// Makes an entry in `folder` with a name that ends in `suffix`. The name is on the list from the
/// first moment.
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

/// Does the same as [`make`] for an entry that stays until it has a final name, however the program
/// ends. The entry is not on the list.
pub(crate) fn make_lasting<T>(
    folder: &Path,
    suffix: &str,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, Temporary)> {
    let (made, path) = name(folder, suffix, make)?;
    Ok((made, Temporary(path)))
}

/// Makes an entry in `folder` with a free name that ends in `suffix`. Nothing removes the entry.
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
    // A path is on the list or not. A panic cannot leave the list half changed.
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
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
                let list = list();
                list.0.iter().for_each(|path| remove(path));
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

/// Removes a file, or a folder with everything in it.
fn remove(path: &Path) {
    // The thread that fills a folder may not know yet that the folder is being removed. Entries
    // that it makes meanwhile are removed in the next round.
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

/// Makes a complete folder writable. The folder may have the permissions of a read-only source.
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
