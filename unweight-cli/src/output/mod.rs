//! Files and folders that commands make. An output gets its name only when it is complete and on
//! the disk, and replaces only what was to be replaced.

mod attributes;
mod file;
mod flush;
mod folder;
mod preconditions;
mod refusal;
mod rename;
mod successors;

use std::path::Path;

pub(crate) use attributes::{Attributes, read_mask};
pub(crate) use file::{OutputFile, Target, create_private};
pub(crate) use flush::{flush_file, tolerate_flush};
pub(crate) use folder::{OutputFolder, make_private};
pub(crate) use preconditions::{require_absent, require_apart};
pub(crate) use successors::require_replaceable;

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
