//! Checks of an output's name before work starts.

use std::fs;
use std::io;
use std::path::Path;

use super::folder_of;
use crate::Error;
use crate::diagnostics::{EntryKind, FileError};
use crate::error::writing;

/// Refuses to replace an existing entry unless `force` is set. Always refuses an entry that is
/// neither a file nor a folder, and a name that a file cannot have. The name of a folder is given
/// without the slash at its end.
///
/// # Errors
/// [`FileError::NamesFolder`], [`FileError::IsDevice`], [`FileError::Exists`]; [`Error::Write`] at
/// the path if no entry can have that name.
pub fn require_absent(path: impl AsRef<Path>, force: bool) -> Result<(), Error> {
    let path = path.as_ref();
    if ends_as_folder(path) {
        let path = path.to_owned();
        return Err(FileError::NamesFolder { path }.into());
    }
    // Output is renamed into place, which would put a file where `/dev/null` was.
    if let Ok(found) = fs::metadata(path)
        && !found.is_file()
        && !found.is_dir()
    {
        let kind = EntryKind::of(found.file_type());
        let path = path.to_owned();
        return Err(FileError::IsDevice { path, kind }.into());
    }
    // A dangling link counts as an existing entry.
    match fs::symlink_metadata(path) {
        Ok(_) if !force => Err(exists_already(path).into()),
        // The name may be too long, for instance. The output could not get it in the end.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(writing(path)(error)),
        _ => Ok(()),
    }
}

/// Whether a path can only name a folder: it ends in `/` or `/.`.
fn ends_as_folder(path: &Path) -> bool {
    let ends_in_separator = |bytes: &[u8]| {
        let last = bytes.last();
        last.is_some_and(|last| std::path::is_separator((*last).into()))
    };
    let bytes = path.as_os_str().as_encoded_bytes();
    ends_in_separator(bytes) || bytes.strip_suffix(b".").is_some_and(ends_in_separator)
}

pub(super) fn exists_already(path: &Path) -> FileError {
    FileError::Exists {
        path: path.to_owned(),
    }
}

/// Refuses an output that is the input under any name, that lies in the input, or that holds the
/// input.
///
/// # Errors
/// [`FileError::IsInput`], [`FileError::LiesInInput`], [`FileError::HoldsInput`].
pub fn require_apart(input: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<(), Error> {
    let (input, output) = (input.as_ref(), output.as_ref());
    let path = output.to_owned();
    let Some(source) = Identity::of(input) else {
        // The error is reported when the input is opened.
        return Ok(());
    };
    let target = Identity::of(output);
    if target.as_ref() == Some(&source) {
        return Err(FileError::IsInput { path }.into());
    }
    if !input.is_dir() {
        return Ok(());
    }
    let holds_input = |target| folders_around(input).contains(&target);
    if target.is_some_and(holds_input) {
        return Err(FileError::HoldsInput { path }.into());
    }
    // The output need not exist. A link that has its name is itself replaced.
    let folder = folder_of(output);
    if Identity::of(folder).as_ref() == Some(&source) || folders_around(folder).contains(&source) {
        return Err(FileError::LiesInInput { path }.into());
    }
    Ok(())
}

/// Folders around an entry, with links followed.
fn folders_around(path: &Path) -> Vec<Identity> {
    let path = path.canonicalize().unwrap_or_default();
    path.ancestors().skip(1).filter_map(Identity::of).collect()
}

/// Identity of a file or folder, which is the same for all of its names.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    path: std::path::PathBuf,
}

impl Identity {
    /// Identity of what a path leads to, with links followed. None if the path leads to nothing.
    fn of(path: &Path) -> Option<Identity> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let found = fs::metadata(path).ok()?;
            Some(Identity {
                device_and_inode: (found.dev(), found.ino()),
            })
        }
        #[cfg(not(unix))]
        Some(Identity {
            path: path.canonicalize().ok()?,
        })
    }
}
