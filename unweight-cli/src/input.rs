//! Input: ordinary files, and nothing else.

use std::fs::{File, FileType};
use std::path::Path;

use crate::failure::Failure;

/// Opens a file for reading. Anything that is not a file is wrong use, not a bad file.
///
/// Opening a pipe waits for a writer, and opening a device may have side effects. The type of the
/// file is therefore checked before it is opened. The name may belong to a pipe since then. Opening
/// does not wait in that case, and the type of the open file is checked again.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let failed = |error| Failure::io(path, error);
    require_file(path, path.metadata().map_err(failed)?.file_type())?;
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
    let file = options.open(path).map_err(failed)?;
    require_file(path, file.metadata().map_err(failed)?.file_type())?;
    Ok(file)
}

fn require_file(path: &Path, found: FileType) -> Result<(), Failure> {
    if found.is_file() {
        return Ok(());
    }
    let advice = match kind(found) {
        "folder" => "; give one of its files",
        "pipe" | "socket" => ", which can be read at any offset; save it to one first",
        _ => "",
    };
    Err(Failure::Usage(format!(
        "{} is a {}, expected a file{advice}",
        path.display(),
        kind(found)
    )))
}

/// Name of the type of something that is not a file.
pub(crate) fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "pipe";
        }
        if found.is_socket() {
            return "socket";
        }
    }
    match found.is_dir() {
        true => "folder",
        false => "device",
    }
}
