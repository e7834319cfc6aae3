//! Errors and warnings about files and folders on a disk.

mod entry_kind;
mod file_error;
mod missing_shards;
mod warning;
mod words;

pub use entry_kind::EntryKind;
pub use file_error::{FileError, FileErrorKind};
pub use missing_shards::MissingShards;
pub use warning::{RefusedCall, Warning};
pub(crate) use words::cut;
