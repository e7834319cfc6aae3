//! Output gets its name only when it is complete and on the disk, and takes it from nobody who was not to be replaced.

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

/// The end of temporary names.
const PARTIAL: &str = ".partial";
/// The end of temporary names of what is there until it gets its final name.
pub(crate) const LASTING: &str = ".result";

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
