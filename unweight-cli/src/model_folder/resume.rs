//! The folder in which a run works that can be resumed. It outlives the run if that is interrupted or fails.
//!
//! It stands beside the output as `.unweight-NAME.partial` and holds
//!
//! - `lock`, which a run keeps locked;
//! - `settings`, on which the bytes of converted files depend;
//! - `.unweight-XXXXXX.result`, which becomes the output. Files in it have their names only when they are complete;
//! - `.unweight-XXXXXX.result.id`, which says which folder that is. With `--force` the old output is exchanged for it: should the run be
//!   killed at that moment, the next one finds somebody else's folder under this name, and leaves it alone.
//!
//! It is private (mode 0700), and nothing in it is believed that is not found to be so again: converted files of an earlier run are
//! compared with what they were made from, all others are made again.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::failure::Failure;
use crate::output::{LASTING, create_private, make_private};

const LOCK: &str = "lock";
const SETTINGS: &str = "settings";
/// What gets that name when it is complete.
const NEW_SETTINGS: &str = "settings.new";
const IDENTITY: &str = ".id";
/// The end of names of notes.
const IDENTITY_END: &str = ".result.id";

/// A folder for a run that can be resumed, locked.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
    /// None where the file system has no locks.
    lock: Option<File>,
}

/// What stands in a work folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) folder: WorkFolder,
    /// What a person should know about it.
    pub(crate) warnings: Vec<String>,
}

/// The work folder of an output.
fn path_for(output: &Path) -> Result<PathBuf, Failure> {
    let Some(name) = output.file_name() else {
        return Err(Failure::Usage(format!(
            "{} has no name of its own; choose another name with -o",
            output.display()
        )));
    };
    let mut work = OsString::from(".unweight-");
    work.push(name);
    work.push(".partial");
    Ok(output.with_file_name(work))
}

/// Whether an earlier run left finished files, which have the extension `to`, for the one that goes on with this output.
pub(crate) fn is_left(output: &Path, to: &str) -> Result<Option<PathBuf>, Failure> {
    let path = path_for(output)?;
    let folder = WorkFolder { path, lock: None };
    Ok(folder.has_files(to).then_some(folder.path))
}

impl WorkFolder {
    /// Makes or opens the work folder of `output`. Converted files of an earlier run, which have the extension `to`, stay in it if that
    /// run had the same settings; nothing else does.
    pub(crate) fn open(output: &Path, settings: &str, to: &str) -> Result<Opened, Failure> {
        let path = path_for(output)?;
        let failed = |error| Failure::io(output, error);
        match make_private(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_ours(&path)?,
            made => made.map_err(failed)?,
        }
        let lock = lock(&path.join(LOCK), output).inspect_err(|_| {
            // Fails if it is not empty: another run is at work.
            let _ = fs::remove_dir(&path);
        })?;
        let folder = WorkFolder { path, lock };
        match folder.prepare(output, settings, to) {
            Ok(warnings) => Ok(Opened { folder, warnings }),
            Err(failure) => {
                folder.remove_if_useless(to);
                Err(failure)
            }
        }
    }

    /// Removes what cannot be kept of an earlier run. Gives what a person should know.
    fn prepare(&self, output: &Path, settings: &str, to: &str) -> Result<Vec<String>, Failure> {
        let mut warnings = Vec::new();
        if self.lock.is_none() {
            warnings.push(format!(
                "{}: the file system has no locks; see to it that no other run makes the same output",
                output.display()
            ));
        }
        self.clear(|file| file.extension().is_some_and(|found| found == to))?;
        let earlier = fs::read(self.path.join(SETTINGS)).ok();
        if earlier.as_deref() != Some(settings.as_bytes()) {
            if self.has_files(to) {
                warnings.push(format!(
                    "{}: the earlier run had other settings; its finished files are made again",
                    output.display()
                ));
            }
            // In this order: what is there is never taken for what other settings made.
            self.clear(|_| false)?;
            self.write_settings(settings)
                .map_err(|error| Failure::io(output, error))?;
        }
        Ok(warnings)
    }

    /// The files that are there, and their length.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, u64)> {
        self.results().into_iter().flat_map(|result| {
            let files = WalkDir::new(&result).into_iter().flatten();
            files
                .filter(|entry| entry.file_type().is_file())
                .filter_map(move |entry| {
                    let relative = entry.path().strip_prefix(&result).ok()?.to_owned();
                    Some((relative, entry.metadata().ok()?.len()))
                })
        })
    }

    fn has_files(&self, extension: &str) -> bool {
        self.files()
            .any(|(file, _)| file.extension().is_some_and(|found| found == extension))
    }

    /// Moves these files of earlier runs to `result`, where their folders are, and removes all others. Says which there were.
    pub(crate) fn move_earlier(&self, files: &[PathBuf], result: &Path) -> io::Result<Vec<bool>> {
        let mut are_there = vec![false; files.len()];
        for earlier in self.results() {
            // One of them may be relative, the other absolute.
            if earlier.file_name() == result.file_name() {
                continue;
            }
            for (relative, is_there) in files.iter().zip(&mut are_there) {
                let file = earlier.join(relative);
                if !*is_there && fs::symlink_metadata(&file).is_ok_and(|found| found.is_file()) {
                    fs::rename(&file, result.join(relative))?;
                    *is_there = true;
                }
            }
            fs::remove_dir_all(&earlier)?;
            fs::remove_file(with_end(&earlier, IDENTITY))?;
        }
        Ok(are_there)
    }

    /// Notes that a folder in this one is a result.
    pub(crate) fn note_result(&self, result: &Path) -> io::Result<()> {
        fs::write(with_end(result, IDENTITY), identity(result)?)
    }

    /// Removes the folder with all that is of these runs in it, and gives up the lock. An error if there is something else.
    pub(crate) fn remove(self) -> io::Result<()> {
        for result in self.results() {
            fs::remove_dir_all(&result)?;
        }
        for entry in fs::read_dir(&self.path)?.flatten() {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            // What cannot be removed keeps the folder from being removed, which is reported.
            let _ = if name.ends_with(IDENTITY_END.as_bytes())
                || [SETTINGS, NEW_SETTINGS].map(str::as_bytes).contains(&name)
            {
                fs::remove_file(entry.path())
            } else if name.ends_with(LASTING.as_bytes()) {
                // A folder without a note goes only if it is empty.
                fs::remove_dir(entry.path())
            } else {
                continue;
            };
        }
        let WorkFolder { path, lock } = self;
        if cfg!(windows) {
            // A file that is open cannot be removed there.
            drop(lock);
        }
        // Last: whoever has the lock has the folder.
        let _ = fs::remove_file(path.join(LOCK));
        fs::remove_dir(&path)
    }

    /// Removes the folder if a run that goes on would find nothing to keep in it. Says whether there was something.
    pub(crate) fn remove_if_useless(self, to: &str) -> bool {
        let is_useful = self.has_files(to);
        if !is_useful {
            // It is private and small; what cannot be removed stays.
            let _ = self.remove();
        }
        is_useful
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Folders of results, this run's and those of earlier ones.
    fn results(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut results: Vec<PathBuf> = entries
            .filter(|entry| {
                let name = entry.file_name();
                name.as_encoded_bytes().ends_with(LASTING.as_bytes())
                    && entry.file_type().is_ok_and(|found| found.is_dir())
                    && is_noted(&entry.path())
            })
            .map(|entry| entry.path())
            .collect();
        results.sort();
        results
    }

    /// Removes the files of earlier runs but those to be kept.
    fn clear(&self, is_kept: impl Fn(&Path) -> bool) -> Result<(), Failure> {
        for result in self.results() {
            for entry in WalkDir::new(&result) {
                let entry = entry.map_err(|error| Failure::io(&self.path, error))?;
                if entry.file_type().is_dir() {
                    // A run that came as far as to give folders the permissions of their sources may have made them read-only.
                    make_writable(entry.path());
                    continue;
                }
                if entry.file_type().is_file() && is_kept(entry.path()) {
                    continue;
                }
                fs::remove_file(entry.path()).map_err(|error| Failure::io(&self.path, error))?;
            }
        }
        Ok(())
    }

    fn write_settings(&self, settings: &str) -> io::Result<()> {
        let new = self.path.join(NEW_SETTINGS);
        // Of a run that was killed.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = create_private(&new)?;
        file.write_all(settings.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, self.path.join(SETTINGS))?;
        Ok(())
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Whether a folder is the one that was noted under its name.
fn is_noted(result: &Path) -> bool {
    let noted = fs::read_to_string(with_end(result, IDENTITY));
    noted.is_ok_and(|noted| identity(result).is_ok_and(|found| found == noted))
}

/// What tells a folder from another one of the same name.
fn identity(folder: &Path) -> io::Result<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let found = fs::symlink_metadata(folder)?;
        // The device's number may be another one tomorrow. All are on one.
        Ok(found.ino().to_string())
    }
    // Folders are not exchanged there.
    #[cfg(not(unix))]
    {
        let _ = folder;
        Ok(String::new())
    }
}

fn make_writable(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What is in it cannot be removed otherwise, which is reported then.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// Refuses what somebody else may have put there, in a folder that many write to.
fn require_ours(path: &Path) -> Result<(), Failure> {
    let found = fs::symlink_metadata(path).map_err(|error| Failure::io(path, error))?;
    let refused = |what: &str| {
        Err(Failure::Usage(format!(
            "{} is {what}, expected the private folder of an earlier run with --resume; remove it, or choose another name with -o",
            path.display()
        )))
    };
    if found.is_symlink() {
        return refused("a link");
    }
    if !found.is_dir() {
        return refused("no folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return refused("a folder of another user");
        }
        if found.mode() & 0o077 != 0 {
            return refused("a folder that others have access to");
        }
    }
    Ok(())
}

/// Locks the work folder; None where the file system has no locks.
fn lock(path: &Path, output: &Path) -> Result<Option<File>, Failure> {
    let failed = |error| Failure::io(output, error);
    let busy = || {
        Failure::Usage(format!(
            "{} is being made by another run with --resume; wait for its end, or choose another name with -o",
            output.display()
        ))
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        Err(TryLockError::Error(_)) => return Ok(None),
    }
    // The run that had it may have removed it before it let go.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let locked = identity(file.metadata().map_err(failed)?);
        if fs::symlink_metadata(path).map(identity).ok() != Some(locked) {
            return Err(busy());
        }
    }
    Ok(Some(file))
}
