//! Checks of an output's name before work starts.

use std::fs;
use std::io;
use std::path::Path;

use super::folder_of;
use crate::failure::Failure;
use crate::input::kind;

/// Refuses to replace an existing entry unless `force` is set. Always refuses an entry that is
/// neither a file nor a folder, and a name that a file cannot have. The name of a folder is given
/// without the slash at its end.
pub(crate) fn require_absent(path: &Path, force: bool) -> Result<(), Failure> {
    if ends_as_folder(path) {
        return Err(Failure::Usage(format!(
            "{} is the name of a folder, expected the name of a file",
            path.display()
        )));
    }
    // Output is renamed into place, which would put a file where `/dev/null` was.
    if let Ok(found) = fs::metadata(path)
        && !found.is_file()
        && !found.is_dir()
    {
        return Err(Failure::Usage(format!(
            "{} is a {}, expected the name of a file to make",
            path.display(),
            kind(found.file_type())
        )));
    }
    // A dangling link counts as an existing entry.
    match fs::symlink_metadata(path) {
        Ok(_) if !force => Err(exists_already(path)),
        // The name may be too long, for instance. The output could not get it in the end.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::io(path, error)),
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

pub(super) fn exists_already(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} exists already; choose another name with -o, or replace it with --force",
        path.display()
    ))
}

/// Refuses an output that is the input under any name, that lies in the input, or that holds the
/// input.
pub(crate) fn require_apart(input: &Path, output: &Path) -> Result<(), Failure> {
    let refused = |what: &str| {
        Err(Failure::Usage(format!(
            "{} {what}; choose another name with -o",
            output.display()
        )))
    };
    let Some(source) = Identity::of(input) else {
        // The error is reported when the input is opened.
        return Ok(());
    };
    let target = Identity::of(output);
    if target.as_ref() == Some(&source) {
        return refused("is the input itself");
    }
    if !input.is_dir() {
        return Ok(());
    }
    let holds_input = |target| folders_around(input).contains(&target);
    if target.is_some_and(holds_input) {
        return refused("holds the input");
    }
    // The output need not exist. A link that has its name is itself replaced.
    let folder = folder_of(output);
    if Identity::of(folder).as_ref() == Some(&source) || folders_around(folder).contains(&source) {
        return refused("lies in the input");
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
