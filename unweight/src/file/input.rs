//! Input: ordinary files, and nothing else.

use std::fs::{File, FileType};
use std::path::Path;

use crate::Error;
use crate::diagnostics::{EntryKind, FileError};
use crate::error::reading;

/// Opens a file for reading. Refuses anything that is not an ordinary file.
///
/// Opening a pipe waits for a writer, and opening a device may have side effects. The type of the
/// file is therefore checked before it is opened. The name may belong to a pipe since then. Opening
/// does not wait in that case, and the type of the open file is checked again.
///
/// # Errors
/// [`FileError::NotAFile`]; [`Error::Read`] at the path.
pub fn open(path: impl AsRef<Path>) -> Result<File, Error> {
    let path = path.as_ref();
    let failed = reading(path);
    require_file(path, path.metadata().map_err(&failed)?.file_type())?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // These flags have no effect on ordinary files.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(flags.bits() as i32);
    }
    let file = options.open(path).map_err(&failed)?;
    require_file(path, file.metadata().map_err(&failed)?.file_type())?;
    Ok(file)
}

fn require_file(path: &Path, found: FileType) -> Result<(), FileError> {
    match EntryKind::of(found) {
        EntryKind::File => Ok(()),
        kind => Err(FileError::NotAFile {
            path: path.to_owned(),
            kind,
        }),
    }
}
