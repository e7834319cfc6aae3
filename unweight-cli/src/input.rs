//! Input: ordinary files, and nothing else.

use std::fs::{File, FileType};
use std::io;
use std::path::Path;

use unweight_cpu::Storage;
use unweight_format::Extent;

use crate::failure::Failure;

/// Opens a file for reading; what is not a file is wrong use, not a bad file.
///
/// A pipe would wait for a writer, and to open a device may do things. So what a name stands for is looked at first. Should it
/// have become a pipe since, opening does not wait, and what was opened is looked at again.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let failed = |error| Failure::io(path, error);
    require_file(path, path.metadata().map_err(failed)?.file_type())?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // To files they mean nothing.
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

/// Reads an extent that the file had when it was opened. If it has become shorter since, the error says so.
pub(crate) fn read<'b>(
    file: &'b File,
    extent: Extent,
    buffer: &'b mut Vec<u8>,
) -> io::Result<&'b [u8]> {
    file.read(extent, buffer).map_err(|error| {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return error;
        }
        let now = match file.byte_length() {
            Ok(length) => format!("has {length} bytes now"),
            Err(_) => "is shorter now".to_owned(),
        };
        let message = format!(
            "bytes {} to {} could not be read: the file {now}, it was cut short while it was open",
            extent.offset,
            extent.offset.saturating_add(extent.length)
        );
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    })
}

/// What something is that is no file.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn a_file_that_is_cut_short_is_bad_in_a_sentence() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = open(named.path()).unwrap();
        named.as_file().set_len(500).unwrap();
        let extent = Extent {
            offset: 400,
            length: 200,
        };
        let error = read(&file, extent, &mut Vec::new()).unwrap_err();
        let failure = Failure::io(Path::new("m.unw"), error);
        assert!(matches!(failure, Failure::Bad { .. }), "{failure:?}");
        assert_eq!(
            failure.to_string(),
            "m.unw: bytes 400 to 600 could not be read: the file has 500 bytes now, it was cut short while it was open"
        );
        // Other readers of the file say less, but a sentence too.
        let error = file.read(extent, &mut Vec::new()).unwrap_err();
        let text = Failure::io(Path::new("m.unw"), error).to_string();
        assert!(
            text.contains("cut short") && !text.contains("buffer"),
            "{text}"
        );
    }
}
