//! Flushing files and folders to the disk, where the file system offers it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::refusal::{Call, tolerate};
use crate::failure::Failure;

/// Flushes a file with its metadata.
pub(crate) fn flush_file(file: &File, name: &Path) -> io::Result<()> {
    tolerate_flush(file.sync_all(), name)
}

/// Turns the error of a file system that cannot flush data into a warning.
pub(crate) fn tolerate_flush(done: io::Result<()>, name: &Path) -> io::Result<()> {
    tolerate(done, Call::Flush, name)
}

/// Flushes the names in an open folder.
#[cfg(unix)]
pub(super) fn flush_open_folder(folder: &File, name: &Path) -> io::Result<()> {
    tolerate(folder.sync_all(), Call::Flush, name)
}

/// Flushes the new name of an entry in `folder`.
#[cfg(unix)]
pub(super) fn flush_folder(folder: &Path, name: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => flush_open_folder(&folder, name),
        // Files can be made in a folder that cannot be read (mode 0300).
        Err(error) => tolerate(Err(error), Call::Flush, name),
    }
}

/// Does nothing: other systems flush a rename by themselves, and do not open folders.
#[cfg(not(unix))]
pub(super) fn flush_folder(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Failure of an output that is complete and has its name, but whose name may not outlive a power
/// failure.
pub(super) fn not_sure_to_stay(name: &Path, error: io::Error) -> Failure {
    Failure::Io(format!(
        "{}: the output is complete, but its name could not be flushed to the disk: {error}; verify it before the source is deleted",
        name.display()
    ))
}
