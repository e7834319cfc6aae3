//! Errors about files and folders on a disk.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::entry_kind::EntryKind;
use super::missing_shards::MissingShards;
use super::words::{bytes, listed};

/// An error about a file or folder that is read, made, replaced or compared.
///
/// The message has the path, the problem and an advice. [`problem`](FileError::problem) is the
/// message without the advice, for programs whose options have other names.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The input is not a file.
    NotAFile {
        /// The input.
        path: PathBuf,
        /// What it is.
        kind: EntryKind,
    },
    /// The input is not a folder.
    NotAFolder {
        /// The input.
        path: PathBuf,
        /// What it is.
        kind: EntryKind,
    },
    /// A model folder holds a pipe, a socket or a device.
    NotOfModel {
        /// The entry.
        path: PathBuf,
        /// What it is.
        kind: EntryKind,
    },
    /// A link in a model folder leads to a folder around it.
    LinkLoop {
        /// The link.
        path: PathBuf,
    },
    /// A model folder holds no file to convert or verify.
    NothingToConvert {
        /// The folder.
        folder: PathBuf,
        /// The extension of the files that were expected.
        extension: &'static str,
    },
    /// A model folder holds a file with the extension of converted files.
    LooksConverted {
        /// The folder.
        folder: PathBuf,
        /// The file, relative to the folder.
        file: PathBuf,
    },
    /// Two entries of a model folder would have the same name in the output.
    SameName {
        /// The folder.
        folder: PathBuf,
        /// The name, relative to the output.
        name: PathBuf,
    },
    /// Two names differ only in the case of letters, and the output's file system takes them for
    /// the same name.
    SameNameIgnoringCase {
        /// The output.
        output: PathBuf,
        /// The first name, relative to the output.
        one: PathBuf,
        /// The second name, relative to the output.
        other: PathBuf,
    },
    /// Indexes name shards that are not in the folder.
    MissingShards {
        /// The folder.
        folder: PathBuf,
        /// The missing shards of each index.
        indexes: Vec<MissingShards>,
    },
    /// An index of shards cannot be used.
    UnusableIndex {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A folder lacks entries of the folder that it is compared with.
    MissingEntries {
        /// The folder.
        folder: PathBuf,
        /// The entries, relative to the folder.
        entries: Vec<PathBuf>,
    },
    /// A folder is to be compared with a file.
    FileAsSource {
        /// The file.
        source: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A file differs from the file that it is compared with, or restores other bytes.
    Differs {
        /// The file.
        path: PathBuf,
        /// The file that it is compared with.
        source: PathBuf,
        /// The offset of the first byte that differs.
        offset: u64,
    },
    /// A file restores fewer bytes than the file that it is compared with has.
    DiffersInLength {
        /// The file.
        path: PathBuf,
        /// The number of restored bytes.
        restored_bytes: u64,
        /// The file that it is compared with.
        source: PathBuf,
        /// The length of that file.
        source_bytes: u64,
    },
    /// Something has the name of the output.
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output is a file, and its name is that of a folder, such as `out/`.
    NamesFolder {
        /// The output.
        path: PathBuf,
    },
    /// The output is a file, and a folder has its name.
    IsFolder {
        /// The output.
        path: PathBuf,
    },
    /// A pipe, a socket or a device has the name of the output.
    IsDevice {
        /// The output.
        path: PathBuf,
        /// What has the name.
        kind: EntryKind,
    },
    /// The output is the input.
    IsInput {
        /// The output.
        path: PathBuf,
    },
    /// The output is a folder around the input.
    HoldsInput {
        /// The output.
        path: PathBuf,
    },
    /// The output is in the input.
    LiesInInput {
        /// The output.
        path: PathBuf,
    },
    /// The output is a folder, and its name belongs to something that a folder does not replace.
    NotReplacedByFolder {
        /// The output.
        path: PathBuf,
        /// What has the name.
        kind: EntryKind,
    },
    /// The folder that is to be replaced holds entries that the new folder does not hold.
    WouldLose {
        /// The output.
        path: PathBuf,
        /// The first such entries, relative to the folder.
        entries: Vec<PathBuf>,
        /// Whether there are more.
        has_more: bool,
    },
    /// The output of a run that can be resumed is a path without a name, such as `..`.
    NoName {
        /// The output.
        path: PathBuf,
    },
    /// Another run makes the same output.
    Busy {
        /// The output.
        path: PathBuf,
    },
    /// The work folder of a run that can be resumed may have been made by somebody else.
    NotOurs {
        /// The work folder.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The file system has too little space.
    NoSpace {
        /// The output.
        path: PathBuf,
        /// The least number of bytes that the output needs.
        needed_bytes: u64,
        /// Whether the output needs no more than that.
        is_exact: bool,
        /// The number of free bytes.
        free_bytes: u64,
    },
    /// The entry that is to be replaced cannot be renamed. It may be a mount point.
    Held {
        /// The output.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The output is complete and has its name, but a power failure may undo the name.
    NotFlushed {
        /// The output.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// Who has to act on a [`FileError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// What the caller asks for is refused, before anything was changed.
    Request,
    /// The files are bad.
    Content,
    /// The system failed.
    System,
}

impl FileError {
    /// Who has to act on the error.
    pub fn kind(&self) -> FileErrorKind {
        match self {
            FileError::LinkLoop { .. }
            | FileError::MissingShards { .. }
            | FileError::UnusableIndex { .. }
            | FileError::MissingEntries { .. }
            | FileError::Differs { .. }
            | FileError::DiffersInLength { .. } => FileErrorKind::Content,
            FileError::NoSpace { .. } | FileError::Held { .. } | FileError::NotFlushed { .. } => {
                FileErrorKind::System
            }
            _ => FileErrorKind::Request,
        }
    }

    /// The file or folder that the error concerns.
    pub fn path(&self) -> &Path {
        match self {
            FileError::NotAFile { path, .. }
            | FileError::NotAFolder { path, .. }
            | FileError::NotOfModel { path, .. }
            | FileError::LinkLoop { path }
            | FileError::UnusableIndex { path, .. }
            | FileError::Differs { path, .. }
            | FileError::DiffersInLength { path, .. }
            | FileError::Exists { path }
            | FileError::NamesFolder { path }
            | FileError::IsFolder { path }
            | FileError::IsDevice { path, .. }
            | FileError::IsInput { path }
            | FileError::HoldsInput { path }
            | FileError::LiesInInput { path }
            | FileError::NotReplacedByFolder { path, .. }
            | FileError::WouldLose { path, .. }
            | FileError::NoName { path }
            | FileError::Busy { path }
            | FileError::NotOurs { path, .. }
            | FileError::NoSpace { path, .. }
            | FileError::Held { path, .. }
            | FileError::NotFlushed { path, .. } => path,
            FileError::NothingToConvert { folder, .. }
            | FileError::LooksConverted { folder, .. }
            | FileError::SameName { folder, .. }
            | FileError::MissingShards { folder, .. }
            | FileError::MissingEntries { folder, .. } => folder,
            FileError::SameNameIgnoringCase { output, .. } => output,
            FileError::FileAsSource { source, .. } => source,
        }
    }

    /// The message without the advice.
    pub fn problem(&self) -> impl fmt::Display + '_ {
        Problem(self)
    }

    fn advice(&self) -> &'static str {
        const OTHER_NAME: &str = "; choose another name";
        match self {
            FileError::NotAFile { kind, .. } => match kind {
                EntryKind::Folder => "; give one of its files",
                EntryKind::Pipe | EntryKind::Socket => {
                    ", which can be read at any offset; save it to one first"
                }
                _ => "",
            },
            FileError::LooksConverted { .. } => "; move it elsewhere",
            FileError::SameName { .. } => "; rename one of them",
            FileError::SameNameIgnoringCase { .. } => {
                "; rename one of them, or choose a place elsewhere"
            }
            FileError::FileAsSource { .. } => "; compare it with the folder that it was made from",
            FileError::Exists { .. } => "; choose another name, or set force to replace it",
            FileError::IsInput { .. }
            | FileError::HoldsInput { .. }
            | FileError::LiesInInput { .. }
            | FileError::NoName { .. } => OTHER_NAME,
            FileError::NotReplacedByFolder { .. } | FileError::Held { .. } => {
                "; choose another name, or delete it yourself"
            }
            FileError::WouldLose { .. } => "; choose another name, or move it elsewhere",
            FileError::Busy { .. } => "; wait for its end, or choose another name",
            FileError::NotOurs { .. } => "; remove it, or choose another name",
            FileError::NoSpace { .. } => "; make room, or choose a place elsewhere",
            FileError::NotFlushed { .. } => "; verify it before the source is deleted",
            _ => "",
        }
    }
}

struct Problem<'a>(&'a FileError);

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FileError::NotAFile { path, kind } => {
                write!(f, "{} is a {kind}, expected a file", path.display())
            }
            FileError::NotAFolder { path, kind } => {
                write!(f, "{} is a {kind}, expected a folder", path.display())
            }
            FileError::NotOfModel { path, kind } => write!(
                f,
                "{} is a {kind}, which has no place in a model folder",
                path.display()
            ),
            FileError::LinkLoop { path } => write!(
                f,
                "{}: a link that leads back to a folder that contains it",
                path.display()
            ),
            FileError::NothingToConvert { folder, extension } => {
                write!(f, "{} holds no .{extension} file", folder.display())
            }
            FileError::LooksConverted { folder, file } => write!(
                f,
                "{} holds {}, which could not be told from a converted file",
                folder.display(),
                file.display()
            ),
            FileError::SameName { folder, name } => write!(
                f,
                "{} holds two entries that would both be called {}",
                folder.display(),
                name.display()
            ),
            FileError::SameNameIgnoringCase { output, one, other } => write!(
                f,
                "{} and {} would be one name on the file system of {}",
                one.display(),
                other.display(),
                output.display()
            ),
            FileError::MissingShards { folder, indexes } => {
                write!(f, "{}: {}", folder.display(), MissingShards::all(indexes))
            }
            FileError::UnusableIndex { path, problem } => {
                write!(f, "{}: {problem}", path.display())
            }
            FileError::MissingEntries { folder, entries } => {
                let verb = if entries.len() == 1 { "is" } else { "are" };
                let names = entries.iter().map(|entry| entry.display().to_string());
                write!(f, "{}: {} {verb} missing", folder.display(), listed(names))
            }
            FileError::FileAsSource { source, folder } => write!(
                f,
                "{} is a file, but {} is a folder",
                source.display(),
                folder.display()
            ),
            FileError::Differs {
                path,
                source,
                offset,
            } => write!(
                f,
                "{}: differs from {} at byte {offset}",
                path.display(),
                source.display()
            ),
            FileError::DiffersInLength {
                path,
                restored_bytes,
                source,
                source_bytes,
            } => write!(
                f,
                "{}: restores {restored_bytes} bytes, but {} has {source_bytes}",
                path.display(),
                source.display()
            ),
            FileError::Exists { path } => write!(f, "{} exists already", path.display()),
            FileError::NamesFolder { path } => write!(
                f,
                "{} is the name of a folder, expected the name of a file",
                path.display()
            ),
            FileError::IsFolder { path } => write!(
                f,
                "{} is a folder, expected the name of a file",
                path.display()
            ),
            FileError::IsDevice { path, kind } => write!(
                f,
                "{} is a {kind}, expected the name of a file to make",
                path.display()
            ),
            FileError::IsInput { path } => write!(f, "{} is the input itself", path.display()),
            FileError::HoldsInput { path } => write!(f, "{} holds the input", path.display()),
            FileError::LiesInInput { path } => write!(f, "{} lies in the input", path.display()),
            FileError::NotReplacedByFolder { path, kind } => write!(
                f,
                "{} is a {kind}, which a folder does not replace",
                path.display()
            ),
            FileError::WouldLose {
                path,
                entries,
                has_more,
            } => {
                let names: Vec<_> = entries.iter().map(|entry| entry.display()).collect();
                write!(f, "{} holds ", path.display())?;
                for (number, name) in names.iter().enumerate() {
                    let separator = if number > 0 { ", " } else { "" };
                    write!(f, "{separator}{name}")?;
                }
                let more = if *has_more { " and more" } else { "" };
                write!(f, "{more}, which the new folder does not hold")
            }
            FileError::NoName { path } => write!(f, "{} has no name of its own", path.display()),
            FileError::Busy { path } => write!(
                f,
                "{} is being made by another run that can be resumed",
                path.display()
            ),
            FileError::NotOurs { path, found } => write!(
                f,
                "{} is {found}, expected the private folder of an earlier run that can be resumed",
                path.display()
            ),
            FileError::NoSpace {
                path,
                needed_bytes,
                is_exact,
                free_bytes,
            } => {
                let least = if *is_exact { "" } else { "at least " };
                write!(
                    f,
                    "{}: {least}{} bytes are needed, but {} are free",
                    path.display(),
                    bytes(*needed_bytes),
                    bytes(*free_bytes)
                )
            }
            FileError::Held { path, error } => write!(
                f,
                "{}: what has this name cannot be renamed here: {error}",
                path.display()
            ),
            FileError::NotFlushed { path, error } => write!(
                f,
                "{}: the output is complete, but its name could not be flushed to the disk: {error}",
                path.display()
            ),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.problem(), self.advice())
    }
}

impl StdError for FileError {
    /// The message already contains the text of the system's error, so `source` skips to the cause
    /// of that error.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            FileError::Held { error, .. } | FileError::NotFlushed { error, .. } => error.source(),
            _ => None,
        }
    }
}
