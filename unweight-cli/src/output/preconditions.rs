//! What must hold of an output's name before work starts.

use std::fs;
use std::io;
use std::path::Path;

use super::folder_of;
use crate::failure::Failure;
use crate::input::kind;

/// Refuses to replace what exists, unless `force` is set; what is neither file nor folder, in any case; and a name that a file cannot
/// have. That of a folder is given without the slash behind it.
pub(crate) fn require_absent(path: &Path, force: bool) -> Result<(), Failure> {
    if ends_as_folder(path) {
        return Err(Failure::Usage(format!(
            "{} is the name of a folder, expected the name of a file",
            path.display()
        )));
    }
    // Output is renamed into place: that would put a file where `/dev/null` was.
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
    // A dangling link counts as something that exists.
    match fs::symlink_metadata(path) {
        Ok(_) if !force => Err(exists_already(path)),
        // A name that is too long, for instance: the output could not get it in the end.
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

/// Refuses an output that is the input by any name, that is in it, or that holds it.
pub(crate) fn require_apart(input: &Path, output: &Path) -> Result<(), Failure> {
    let refused = |what: &str| {
        Err(Failure::Usage(format!(
            "{} {what}; choose another name with -o",
            output.display()
        )))
    };
    let Some(source) = Identity::of(input) else {
        // To open it tells why.
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
    // The output need not exist, and a link by its name is replaced itself.
    let folder = folder_of(output);
    if Identity::of(folder).as_ref() == Some(&source) || folders_around(folder).contains(&source) {
        return refused("lies in the input");
    }
    Ok(())
}

/// The folders that something lies in, links followed.
fn folders_around(path: &Path) -> Vec<Identity> {
    let path = path.canonicalize().unwrap_or_default();
    path.ancestors().skip(1).filter_map(Identity::of).collect()
}

/// A file or folder, whichever of its names it is called by.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    path: std::path::PathBuf,
}

impl Identity {
    /// Of what a path leads to, links followed. None if that is nothing.
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
