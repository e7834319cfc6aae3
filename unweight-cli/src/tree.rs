//! A model folder: which of its files change their form, and which are copied.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::copy::copy;
use crate::failure::Failure;
use crate::input::kind;
use crate::output::OutputFolder;

/// The extension of safetensors files.
pub(crate) const SAFETENSORS: &str = "safetensors";
/// The extension of Unweight files.
pub(crate) const UNW: &str = "unw";

/// The files of a folder, by paths relative to it, in a fixed order.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Files with the extension that was looked for.
    pub(crate) converted: Vec<PathBuf>,
    /// All other files.
    pub(crate) copied: Vec<PathBuf>,
    /// Folders, each before what it holds.
    pub(crate) folders: Vec<PathBuf>,
}

impl Tree {
    /// The tree at `root`, links followed, where files with the extension `from` are to become files with the extension `to`.
    pub(crate) fn of(root: &Path, from: &str, to: &str) -> Result<Tree, Failure> {
        let mut tree = Tree {
            converted: Vec::new(),
            copied: Vec::new(),
            folders: Vec::new(),
        };
        for entry in WalkDir::new(root)
            .min_depth(1)
            .follow_links(true)
            .sort_by_file_name()
        {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(root).to_owned();
                match error.into_io_error() {
                    Some(error) => Failure::io(&path, error),
                    None => {
                        Failure::bad(&path, "a link that leads back to a folder that contains it")
                    }
                }
            })?;
            let relative = entry
                .path()
                .strip_prefix(root)
                .unwrap_or(entry.path())
                .to_owned();
            if entry.file_type().is_dir() {
                tree.folders.push(relative);
                continue;
            }
            if !entry.file_type().is_file() {
                return Err(Failure::Usage(format!(
                    "{} is a {}, which has no place in a model folder",
                    entry.path().display(),
                    kind(entry.file_type())
                )));
            }
            match relative.extension() {
                Some(extension) if extension == from => tree.converted.push(relative),
                Some(extension) if extension == to => {
                    return Err(Failure::Usage(format!(
                        "{} holds {}, which could not be told from a converted file; move it elsewhere",
                        root.display(),
                        relative.display()
                    )));
                }
                _ => tree.copied.push(relative),
            }
        }
        if tree.converted.is_empty() {
            return Err(Failure::Usage(format!(
                "{} holds no .{from} file",
                root.display()
            )));
        }
        Ok(tree)
    }

    /// Makes the folders in `to`, and copies what is copied from `from`.
    pub(crate) fn copy_others(&self, from: &Path, to: &mut OutputFolder) -> Result<(), Failure> {
        for relative in &self.folders {
            to.add_folder(relative, &from.join(relative))?;
        }
        for relative in &self.copied {
            let (place, name) = (to.path().join(relative), to.name_of(relative));
            copy(&from.join(relative), &place, &name)?;
        }
        Ok(())
    }
}
