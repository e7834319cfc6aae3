//! Files and folders with temporary names: what an operation makes until it is complete.
//!
//! They are removed when an operation fails, is cancelled or panics. A program that is ended by a
//! signal removes them with [`remove_all`]. An entry gets its temporary or its final name before
//! that, or not at all.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::diagnostics::Warning;

/// Lists of temporary files and folders, of which a process uses one.
///
/// A forked process may find the list of its parent locked for ever by a thread that it does not
/// have. It then uses the next one. Each fork loses at most one list.
static LISTS: [Mutex<Temporaries>; 64] = [const { Mutex::new(Temporaries(Vec::new())) }; 64];

/// The process that uses a list, in the upper 32 bits, and the number of the list.
static CURRENT: AtomicU64 = AtomicU64::new(0);

/// Removes the temporary files and folders of every operation of this process that is at work. As
/// long as the result lives, no operation makes an output or gives one its name: it waits. An
/// operation whose output was removed fails when it goes on.
///
/// A program calls this when it ends before its operations do, such as on a signal. It must not be
/// called in a signal handler, but on a thread that waits for signals.
pub fn remove_all() -> Removed {
    let list = list();
    list.0.iter().for_each(|path| remove(path));
    Removed(list)
}

/// Waits as long as a [`Removed`] lives. A program whose threads may call [`remove_all`] calls this
/// before it ends by itself.
pub fn wait_for_removal() {
    drop(list());
}

/// Proof that the temporary files and folders are removed, and that no new ones are made. The thread
/// that has it must not begin or end an operation: it would wait for itself.
#[derive(Debug)]
#[must_use = "operations go on when this is dropped"]
pub struct Removed(
    #[expect(dead_code, reason = "the lock is held")] MutexGuard<'static, Temporaries>,
);

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

/// File or folder that is removed by [`remove_all`] and on drop, as long as it is on the list.
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

/// Does work that [`remove_all`] must not interrupt. A removal waits until the work is done. If the
/// removal came first, the work waits for its end.
pub(crate) fn uninterrupted<T>(work: impl FnOnce(&mut Temporaries) -> T) -> T {
    work(&mut list())
}

/// Does the same as [`uninterrupted`] for work that has warnings. The removal waits for the work,
/// so the work must not wait for a reader of warnings: `warn` gets them afterwards.
pub(crate) fn uninterrupted_with_warnings<T>(
    warn: &dyn Fn(Warning),
    work: impl FnOnce(&mut Temporaries, &dyn Fn(Warning)) -> T,
) -> T {
    let warnings = RefCell::new(Vec::new());
    let done = uninterrupted(|list| work(list, &|warning| warnings.borrow_mut().push(warning)));
    warnings.into_inner().into_iter().for_each(warn);
    done
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
    let process = std::process::id();
    let current = CURRENT.load(Ordering::Acquire);
    match current >> 32 == u64::from(process) {
        // A path is on the list or not. A panic cannot leave the list half changed.
        true => LISTS[current as u32 as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
        false => first_list(process),
    }
}

/// The empty list of a process that has not used one yet. What a parent has listed stays its own.
fn first_list(process: u32) -> MutexGuard<'static, Temporaries> {
    loop {
        let current = CURRENT.load(Ordering::Acquire);
        if current >> 32 == u64::from(process) {
            // Another thread was first.
            return list();
        }
        for (number, list) in (0..).zip(&LISTS) {
            let mut list = match list.try_lock() {
                Ok(list) => list,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            let next = u64::from(process) << 32 | number;
            let exchanged =
                CURRENT.compare_exchange(current, next, Ordering::AcqRel, Ordering::Acquire);
            if exchanged.is_ok() {
                list.0.clear();
                return list;
            }
            break;
        }
        std::thread::yield_now();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_waits_for_the_work_that_must_not_wait_for_it() {
        let warning = |name: &str| Warning::NoLocks { path: name.into() };
        let heard = RefCell::new(Vec::new());
        let hear = |warning: Warning| {
            // The list is free: a removal need not wait for the reader.
            uninterrupted(|_| ());
            heard.borrow_mut().push(warning.to_string());
        };
        let during = uninterrupted_with_warnings(&hear, |_, warn| {
            warn(warning("one"));
            warn(warning("two"));
            heard.borrow().len()
        });
        assert_eq!((during, heard.borrow().len()), (0, 2));
        assert!(heard.borrow()[0].starts_with("one: "));
    }

    #[test]
    fn removal_leaves_nothing_and_lets_nothing_begin() {
        let folder = tempfile::TempDir::new().unwrap();
        let make_one = || {
            make(folder.path(), ".partial", |path| {
                std::fs::write(path, "half")
            })
        };
        let ((), one) = make_one().unwrap();
        let removed = remove_all();
        assert!(!one.path().exists());
        std::thread::scope(|scope| {
            let other = scope.spawn(make_one);
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            drop(removed);
            drop(other.join().unwrap());
        });
    }
}
