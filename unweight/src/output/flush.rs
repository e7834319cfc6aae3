//! Flushing files and folders to the disk, where the file system offers it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::refusal::tolerate;
use crate::diagnostics::{FileError, RefusedCall, Warning};

/// Flushes a file with its metadata.
pub(crate) fn flush_file(file: &File, name: &Path, warn: &dyn Fn(Warning)) -> io::Result<()> {
    tolerate_flush(file.sync_all(), name, warn)
}

/// Turns the error of a file system that cannot flush data into a warning.
pub(crate) fn tolerate_flush(
    done: io::Result<()>,
    name: &Path,
    warn: &dyn Fn(Warning),
) -> io::Result<()> {
    tolerate(done, RefusedCall::Flush, name, warn)
}

/// Flushes the names in an open folder.
#[cfg(unix)]
pub(super) fn flush_open_folder(
    folder: &File,
    name: &Path,
    warn: &dyn Fn(Warning),
) -> io::Result<()> {
    tolerate_flush(folder.sync_all(), name, warn)
}

/// Flushes the new name of an entry in `folder`.
#[cfg(unix)]
pub(super) fn flush_folder(folder: &Path, name: &Path, warn: &dyn Fn(Warning)) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => flush_open_folder(&folder, name, warn),
        // Files can be made in a folder that cannot be read (mode 0300).
        Err(error) => tolerate_flush(Err(error), name, warn),
    }
}

/// Does nothing: other systems flush a rename by themselves, and do not open folders.
#[cfg(not(unix))]
pub(super) fn flush_folder(_: &Path, _: &Path, _: &dyn Fn(Warning)) -> io::Result<()> {
    Ok(())
}

/// Error of an output that is complete and has its name, but whose name may not outlive a power
/// failure.
pub(super) fn not_sure_to_stay(name: &Path, error: io::Error) -> FileError {
    FileError::NotFlushed {
        path: name.to_owned(),
        error,
    }
}
