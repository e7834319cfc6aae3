//! Warnings of operations on files and folders.

use std::path::PathBuf;
use std::{fmt, io};

use super::missing_shards::MissingShards;
use super::words::bytes;

/// Something that does not make an operation fail, and that its caller should know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning {
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
    /// The free space may not suffice.
    LittleSpace {
        /// The output.
        path: PathBuf,
        /// The number of free bytes.
        free_bytes: u64,
        /// The least number of bytes that the output needs.
        least_bytes: u64,
        /// The greatest number of bytes that the output needs.
        most_bytes: u64,
    },
    /// An earlier run with [`resume`](crate::file::FileOptions::resume) left finished files. This
    /// run does not use them.
    EarlierRun {
        /// The folder that holds the files.
        work_folder: PathBuf,
    },
    /// The file system has no locks, so that another run could make the same output.
    NoLocks {
        /// The output.
        path: PathBuf,
    },
    /// The finished files of an earlier run were made with other settings, and are made again.
    OtherSettings {
        /// The output.
        path: PathBuf,
    },
    /// A finished file of an earlier run is not equal to its source, and is made again.
    MadeAgain {
        /// The output file.
        path: PathBuf,
    },
    /// The folder of a run that can be resumed could not be removed. The output is complete.
    WorkFolderLeft {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file system refuses a call that an output can do without.
    Refused {
        /// The output.
        path: PathBuf,
        /// The call.
        call: RefusedCall,
        /// The error of the system.
        error: io::Error,
    },
    /// A replaced folder could not be deleted. The output is complete.
    NotDeleted {
        /// The output.
        path: PathBuf,
        /// Path of the replaced folder.
        place: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// An entry that was to be replaced has another name now.
    Renamed {
        /// The output, which had been the name of the entry.
        path: PathBuf,
        /// The path of the entry.
        place: PathBuf,
    },
}

/// System call that a file system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedCall {
    /// `fchmod`: the output keeps the permissions with which it was created.
    SetMode,
    /// `futimens`: the output has the present time.
    SetTimes,
    /// `fsync`: a power failure soon after may lose the output.
    Flush,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::MissingShards { folder, indexes } => {
                write!(f, "{}: {}", folder.display(), MissingShards::all(indexes))
            }
            Warning::UnusableIndex { path, problem } => write!(f, "{}: {problem}", path.display()),
            Warning::LittleSpace {
                path,
                free_bytes,
                least_bytes,
                most_bytes,
            } => write!(
                f,
                "{}: {} bytes are free, which may not suffice: between {} and {} are needed",
                path.display(),
                bytes(*free_bytes),
                bytes(*least_bytes),
                bytes(*most_bytes)
            ),
            Warning::EarlierRun { work_folder } => write!(
                f,
                "{} holds finished files of an earlier run; a run that resumes goes on with them",
                work_folder.display()
            ),
            Warning::NoLocks { path } => write!(
                f,
                "{}: the file system has no locks; see to it that no other run makes the same output",
                path.display()
            ),
            Warning::OtherSettings { path } => write!(
                f,
                "{}: the earlier run had other settings; its finished files are made again",
                path.display()
            ),
            Warning::MadeAgain { path } => write!(
                f,
                "{}: what an earlier run made does not hold; it is made again",
                path.display()
            ),
            Warning::WorkFolderLeft { path, error } => write!(
                f,
                "{}: {error}; the output is complete, so look at what is left there and remove it",
                path.display()
            ),
            Warning::Refused { path, call, error } => {
                let consequence = match call {
                    RefusedCall::SetMode => {
                        "its permissions could not be set here and stay as they were created"
                    }
                    RefusedCall::SetTimes => "its modification time could not be set here",
                    RefusedCall::Flush => {
                        "it could not be flushed to the disk here; a power failure soon after may lose it"
                    }
                };
                write!(f, "{}: {consequence}: {error}", path.display())
            }
            Warning::NotDeleted { path, place, error } => write!(
                f,
                "{}: what it replaced could not be deleted and is now {}: {error}",
                path.display(),
                place.display()
            ),
            Warning::Renamed { path, place } => write!(
                f,
                "{}: what had this name is now {}",
                path.display(),
                place.display()
            ),
        }
    }
}
