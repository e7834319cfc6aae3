//! Files and folders that are made with care. An output gets its name only when it is complete and
//! on the disk, and replaces only what was to be replaced.
//!
//! [`file`](crate::file) and [`folder`](crate::folder) make everything this way. [`OutputFile`] is
//! for other files of a program, and [`MemorySink`] for containers in memory.

mod attributes;
mod file;
mod flush;
mod folder;
mod memory;
mod pages;
mod preconditions;
mod refusal;
mod rename;
mod successors;
mod write_back;

use std::path::Path;

pub use attributes::Attributes;
pub use file::OutputFile;
pub(crate) use file::{Target, create_private};
pub(crate) use flush::flush_file;
pub(crate) use folder::{OutputFolder, make_private};
pub use memory::MemorySink;
pub use pages::prepare_pages;
pub use preconditions::{require_absent, require_apart};
pub(crate) use successors::require_replaceable;
pub(crate) use write_back::WriteBack;

/// End of temporary names.
const PARTIAL: &str = ".partial";
/// End of temporary names of entries that stay until they get their final names.
pub(crate) const LASTING: &str = ".result";

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
