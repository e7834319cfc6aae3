//! Kinds of entries in a folder.

use std::fmt;
use std::fs::FileType;

/// Kind of an entry in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// An ordinary file.
    File,
    /// A folder.
    Folder,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device, or anything else.
    Device,
}

impl EntryKind {
    pub(crate) fn of(found: FileType) -> EntryKind {
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            if found.is_fifo() {
                return EntryKind::Pipe;
            }
            if found.is_socket() {
                return EntryKind::Socket;
            }
        }
        match (found.is_file(), found.is_dir()) {
            (true, _) => EntryKind::File,
            (_, true) => EntryKind::Folder,
            _ => EntryKind::Device,
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntryKind::File => "file",
            EntryKind::Folder => "folder",
            EntryKind::Pipe => "pipe",
            EntryKind::Socket => "socket",
            EntryKind::Device => "device",
        })
    }
}
