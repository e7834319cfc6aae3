//! Comparison of a folder that is to be replaced with the new folder. A file that has no successor
//! in the new folder was not made by this program. It belongs to the user, and is not deleted.

use std::collections::HashMap;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::Error;
use crate::diagnostics::{EntryKind, FileError, Warning};
use crate::error::writing;

/// Maximum number of names that a message lists.
const NAMED: usize = 3;

/// Kind of an entry in an output folder. Links and devices are neither kind, because this program
/// makes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

impl Kind {
    fn of(found: FileType) -> Option<Kind> {
        match (found.is_file(), found.is_dir()) {
            (true, _) => Some(Kind::File),
            (_, true) => Some(Kind::Folder),
            _ => None,
        }
    }
}

/// Refuses, before work starts, to replace a folder with files that the new folder will not have,
/// and to replace a file. `files` and `folders` are those of the new folder, by relative paths. A
/// link is itself replaced, and nothing behind it is lost.
pub(crate) fn require_replaceable(
    path: &Path,
    files: impl Iterator<Item = PathBuf>,
    folders: impl Iterator<Item = PathBuf>,
) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(writing(path)(error)),
    };
    if !found.is_dir() {
        return require_folder_or_link(path, found.file_type());
    }
    let files = files.map(|file| (file, Kind::File));
    let folders = folders.map(|folder| (folder, Kind::Folder));
    let successors: HashMap<PathBuf, Kind> = files.chain(folders).collect();
    let successor = |relative: &Path| Ok(successors.get(relative).copied());
    Replaced::look(path, path, successor).map(|_| ())
}

/// Replaced folder, as it was when it was examined, or replaced link. Every entry in the folder has
/// a successor in the new folder.
#[derive(Debug)]
pub(super) struct Replaced {
    /// Path at which the replaced entry is now.
    pub(super) place: PathBuf,
    /// Entries of the folder by relative path, each before the folder that holds it.
    entries: Vec<(PathBuf, Kind)>,
}

impl Replaced {
    /// Examines the entry that had the name `name`. The entry is at `old` for the moment, and the
    /// new folder is at `new`.
    pub(super) fn look_at(old: &Path, name: &Path, new: &Path) -> Result<Replaced, Error> {
        let found = fs::symlink_metadata(old).map_err(writing(name))?;
        if !found.is_dir() {
            require_folder_or_link(name, found.file_type())?;
            return Ok(Replaced {
                place: old.to_owned(),
                entries: Vec::new(),
            });
        }
        Replaced::look(old, name, |relative| {
            match fs::symlink_metadata(new.join(relative)) {
                Ok(successor) => Ok(Kind::of(successor.file_type())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Examines the folder `old`, which messages call `name`.
    fn look(
        old: &Path,
        name: &Path,
        successor: impl Fn(&Path) -> io::Result<Option<Kind>>,
    ) -> Result<Replaced, Error> {
        let mut entries = Vec::new();
        let mut strays = Vec::new();
        let mut walk = WalkDir::new(old).min_depth(1).into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|error| {
                let error = error.into_io_error().unwrap_or(io::ErrorKind::Other.into());
                writing(name)(error)
            })?;
            let relative = entry.path().strip_prefix(old).unwrap_or(entry.path());
            let kind = Kind::of(entry.file_type());
            let successor = successor(relative).map_err(writing(name))?;
            match kind {
                Some(kind) if successor == Some(kind) => {
                    entries.push((relative.to_owned(), kind));
                }
                _ => {
                    strays.push(relative.to_owned());
                    if strays.len() > NAMED {
                        break;
                    }
                    // If a folder has no successor, its entries have none either.
                    if kind == Some(Kind::Folder) {
                        walk.skip_current_dir();
                    }
                }
            }
        }
        if !strays.is_empty() {
            return Err(would_be_lost(name, strays).into());
        }
        entries.reverse();
        Ok(Replaced {
            place: old.to_owned(),
            entries,
        })
    }

    /// Deletes only the entries that were examined. An entry that somebody has added meanwhile
    /// stays, and so does its folder.
    pub(super) fn delete(&self, name: &Path, warn: &dyn Fn(Warning)) {
        let old = &self.place;
        let is_folder = fs::symlink_metadata(old).is_ok_and(|found| found.is_dir());
        if is_folder {
            make_writable(old);
        }
        // Outer folders come before inner ones.
        let outwards_in = self.entries.iter().rev();
        outwards_in
            .filter(|(_, kind)| *kind == Kind::Folder)
            .for_each(|(relative, _)| make_writable(&old.join(relative)));
        for (relative, kind) in &self.entries {
            // An entry that cannot be deleted keeps its folder from being deleted. That error is
            // reported.
            let _ = match kind {
                Kind::File => fs::remove_file(old.join(relative)),
                Kind::Folder => fs::remove_dir(old.join(relative)),
            };
        }
        let gone = match is_folder {
            true => fs::remove_dir(old),
            false => fs::remove_file(old),
        };
        if let Err(error) = gone {
            warn(Warning::NotDeleted {
                path: name.to_owned(),
                place: old.to_owned(),
                error,
            });
        }
    }
}

fn require_folder_or_link(path: &Path, found: FileType) -> Result<(), Error> {
    if found.is_symlink() {
        return Ok(());
    }
    let (path, kind) = (path.to_owned(), EntryKind::of(found));
    Err(FileError::NotReplacedByFolder { path, kind }.into())
}

fn would_be_lost(name: &Path, mut strays: Vec<PathBuf>) -> FileError {
    let has_more = strays.len() > NAMED;
    strays.truncate(NAMED);
    FileError::WouldLose {
        path: name.to_owned(),
        entries: strays,
        has_more,
    }
}

/// Makes a folder writable, so that entries in it can be removed.
fn make_writable(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    #[cfg(not(unix))]
    let _ = folder;
}
