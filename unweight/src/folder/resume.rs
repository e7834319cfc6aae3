//! Work folder of a run that can be resumed. The folder outlives a run that is interrupted or
//! fails.
//!
//! The folder is beside the output, is called `.unweight-NAME.partial`, and holds
//!
//! - `lock`, which a run keeps locked;
//! - `settings`, on which the bytes of converted files depend;
//! - `.unweight-XXXXXX.result`, which becomes the output. Files in it get their names only when
//!   they are complete;
//! - `.unweight-XXXXXX.result.id`, the identity of that folder. With `--force` the old output is
//!   exchanged for the result. If the run is killed at that moment, the next run finds a folder of
//!   somebody else under this name, and leaves it alone.
//!
//! The folder is private (mode 0700), but its content is not trusted. Converted files of an earlier
//! run are compared with their sources. All other files are made again.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::Error;
use crate::diagnostics::{FileError, Warning};
use crate::error::writing;
use crate::output::{LASTING, create_private, make_private};

const LOCK: &str = "lock";
const SETTINGS: &str = "settings";
/// Temporary name of the settings, until the file is complete.
const NEW_SETTINGS: &str = "settings.new";
const IDENTITY: &str = ".id";
/// End of the names of identity notes.
const IDENTITY_END: &str = ".result.id";

/// A folder for a run that can be resumed, locked.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
    /// None where the file system has no locks.
    lock: Option<File>,
}

/// Work folder that was opened, with warnings.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) folder: WorkFolder,
    pub(crate) warnings: Vec<Warning>,
}

/// Path of the work folder of an output.
fn path_for(output: &Path) -> Result<PathBuf, Error> {
    let Some(name) = output.file_name() else {
        let path = output.to_owned();
        return Err(FileError::NoName { path }.into());
    };
    let mut work = OsString::from(".unweight-");
    work.push(name);
    work.push(".partial");
    Ok(output.with_file_name(work))
}

/// Path of the work folder of `output`, if an earlier run left finished files with the extension
/// `to` in it.
pub(crate) fn is_left(output: &Path, to: &str) -> Result<Option<PathBuf>, Error> {
    let path = path_for(output)?;
    let folder = WorkFolder { path, lock: None };
    Ok(folder.has_files(to).then_some(folder.path))
}

impl WorkFolder {
    /// Makes or opens the work folder of `output`. Converted files of an earlier run, which have
    /// the extension `to`, stay in it if that run had the same settings. No other files stay.
    pub(crate) fn open(output: &Path, settings: &str, to: &str) -> Result<Opened, Error> {
        let path = path_for(output)?;
        match make_private(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_ours(&path)?,
            made => made.map_err(writing(output))?,
        }
        let lock = lock(&path.join(LOCK), output).inspect_err(|_| {
            // The removal fails if the folder is not empty: another run is at work.
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

    /// Removes the files of an earlier run that cannot be kept. Returns warnings.
    fn prepare(&self, output: &Path, settings: &str, to: &str) -> Result<Vec<Warning>, Error> {
        let mut warnings = Vec::new();
        if self.lock.is_none() {
            let path = output.to_owned();
            warnings.push(Warning::NoLocks { path });
        }
        self.clear(|file| file.extension().is_some_and(|found| found == to))?;
        let earlier = fs::read(self.path.join(SETTINGS)).ok();
        if earlier.as_deref() != Some(settings.as_bytes()) {
            if self.has_files(to) {
                let path = output.to_owned();
                warnings.push(Warning::OtherSettings { path });
            }
            // The files are removed before the settings are written, so that files are never
            // attributed to settings that did not make them.
            self.clear(|_| false)?;
            self.write_settings(settings).map_err(writing(output))?;
        }
        Ok(warnings)
    }

    /// Files in the results, with their lengths.
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
        self.files_with(extension).next().is_some()
    }

    fn files_with(&self, extension: &str) -> impl Iterator<Item = PathBuf> {
        let files = self.files().map(|(file, _)| file);
        files.filter(move |file| file.extension().is_some_and(|found| found == extension))
    }

    /// Moves these files of earlier runs to `result`, where their folders exist already. Removes
    /// all other files. Returns for each file whether it was there.
    pub(crate) fn move_earlier(&self, files: &[PathBuf], result: &Path) -> io::Result<Vec<bool>> {
        let mut are_there = vec![false; files.len()];
        for earlier in self.results() {
            // Only the names are compared: one of the paths may be relative and the other absolute.
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

    /// Notes the identity of `result`, a folder in this one.
    pub(crate) fn note_result(&self, result: &Path) -> io::Result<()> {
        fs::write(with_end(result, IDENTITY), identity(result)?)
    }

    /// Removes the folder with everything in it that these runs made, and releases the lock.
    /// Returns an error if the folder holds anything else.
    pub(crate) fn remove(self) -> io::Result<()> {
        for result in self.results() {
            fs::remove_dir_all(&result)?;
        }
        for entry in fs::read_dir(&self.path)?.flatten() {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            // An entry that cannot be removed keeps the folder from being removed. That error is
            // reported.
            let _ = if name.ends_with(IDENTITY_END.as_bytes())
                || [SETTINGS, NEW_SETTINGS].map(str::as_bytes).contains(&name)
            {
                fs::remove_file(entry.path())
            } else if name.ends_with(LASTING.as_bytes()) {
                // A folder without a note is removed only if it is empty.
                fs::remove_dir(entry.path())
            } else {
                continue;
            };
        }
        let WorkFolder { path, lock } = self;
        if cfg!(windows) {
            // Windows cannot remove a file that is open.
            drop(lock);
        }
        // The lock file is removed last, because the run that holds the lock owns the folder.
        let lock_file = path.join(LOCK);
        let unlocked = fs::remove_file(&lock_file);
        match fs::remove_dir(&path) {
            // Another run has made the folder its own since.
            Err(_) if unlocked.is_ok() && fs::symlink_metadata(&lock_file).is_ok() => Ok(()),
            removed => removed,
        }
    }

    /// Removes the folder if it holds nothing that a resumed run could keep. Returns the number of
    /// files to keep.
    pub(crate) fn remove_if_useless(self, to: &str) -> usize {
        let files = self.files_with(to).count();
        if files == 0 {
            // A failure is ignored: the folder is private and small.
            let _ = self.remove();
        }
        files
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Result folders of this run and of earlier runs.
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

    /// Removes the files of earlier runs, except those that `is_kept` accepts.
    fn clear(&self, is_kept: impl Fn(&Path) -> bool) -> Result<(), Error> {
        for result in self.results() {
            for entry in WalkDir::new(&result) {
                let entry = entry.map_err(|error| writing(&self.path)(error.into()))?;
                if entry.file_type().is_dir() {
                    // An earlier run may have made the folder read-only when it gave the folder the
                    // permissions of its source.
                    make_writable(entry.path());
                    continue;
                }
                if entry.file_type().is_file() && is_kept(entry.path()) {
                    continue;
                }
                fs::remove_file(entry.path()).map_err(writing(&self.path))?;
            }
        }
        Ok(())
    }

    fn write_settings(&self, settings: &str) -> io::Result<()> {
        let new = self.path.join(NEW_SETTINGS);
        // A run that was killed may have left this file.
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

/// Whether the folder's identity is the one that was noted under its name.
fn is_noted(result: &Path) -> bool {
    let noted = fs::read_to_string(with_end(result, IDENTITY));
    noted.is_ok_and(|noted| identity(result).is_ok_and(|found| found == noted))
}

/// Identity that tells a folder from another folder of the same name.
fn identity(folder: &Path) -> io::Result<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let found = fs::symlink_metadata(folder)?;
        // The device number may change between runs, and is not needed: all these folders are on
        // one device.
        Ok(found.ino().to_string())
    }
    // Folders are not exchanged on systems other than Unix.
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
        // Without this permission, the folder's content cannot be removed. A failure here is
        // reported by that removal.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// Refuses a work folder that somebody else may have made. The folder around it may be writable for
/// many users.
fn require_ours(path: &Path) -> Result<(), Error> {
    let found = fs::symlink_metadata(path).map_err(writing(path))?;
    let refused = |found| {
        let path = path.to_owned();
        Err(FileError::NotOurs { path, found }.into())
    };
    if found.is_symlink() {
        return refused("a link");
    }
    if !found.is_dir() {
        return refused("not a folder");
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

/// Locks the work folder. Returns None if the file system has no locks.
fn lock(path: &Path, output: &Path) -> Result<Option<File>, Error> {
    let failed = writing(output);
    let busy = || {
        let path = output.to_owned();
        Error::from(FileError::Busy { path })
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| match error.kind() {
            // The run that held the lock has removed the folder meanwhile.
            io::ErrorKind::NotFound => busy(),
            _ => failed(error),
        })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        Err(TryLockError::Error(_)) => return Ok(None),
    }
    // The run that held the lock may have removed the file before it released the lock.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let locked = identity(file.metadata().map_err(&failed)?);
        match fs::symlink_metadata(path).map(identity) {
            Ok(found) if found == locked => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => return Err(busy()),
        }
    }
    Ok(Some(file))
}
