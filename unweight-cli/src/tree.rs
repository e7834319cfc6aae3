//! Files of a model folder: those that change their form, those that are copied, and those that are
//! left out.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::copy::copy;
use crate::failure::Failure;
use crate::input::kind;
use crate::model_folder::{LeftOut, Others};
use crate::output::OutputFolder;

/// The extension of safetensors files.
pub(crate) const SAFETENSORS: &str = "safetensors";
/// The extension of Unweight files.
pub(crate) const UNW: &str = "unw";

/// The files of a folder, by paths relative to it, in a fixed order.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Files with the extension that is converted.
    pub(crate) converted: Vec<PathBuf>,
    /// All other files, which are copied.
    pub(crate) copied: Vec<PathBuf>,
    /// Folders, each before its content.
    pub(crate) folders: Vec<PathBuf>,
    /// Files and folders that are not part of the model.
    pub(crate) left_out: LeftOut,
}

/// Number of files and their total length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Amount {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Tree {
    /// Lists the tree at `root`, with links followed. Files with the extension `from` are to become
    /// files with the extension `to`.
    pub(crate) fn of(root: &Path, from: &str, to: &str, others: Others) -> Result<Tree, Failure> {
        let mut tree = Tree {
            converted: Vec::new(),
            copied: Vec::new(),
            folders: Vec::new(),
            left_out: LeftOut::default(),
        };
        let relative_to_root = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        let mut entries = WalkDir::new(root)
            .min_depth(1)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    // The entry may be a dangling link, for instance.
                    if path != root && path.file_name().is_some_and(|name| others.leave_out(name)) {
                        tree.left_out.add(&path, relative_to_root(&path));
                        continue;
                    }
                    return Err(match error.into_io_error() {
                        Some(error) => Failure::io(&path, error),
                        None => Failure::bad(
                            &path,
                            "a link that leads back to a folder that contains it",
                        ),
                    });
                }
            };
            let relative = relative_to_root(entry.path());
            if others.leave_out(entry.file_name()) {
                tree.left_out.add(entry.path(), relative);
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                continue;
            }
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

    /// Makes the folders in `to`, and copies the files of `from` that are not converted.
    pub(crate) fn copy_others(
        &self,
        from: &Path,
        to: &mut OutputFolder,
    ) -> Result<Amount, Failure> {
        for relative in &self.folders {
            to.add_folder(relative, &from.join(relative))?;
        }
        let mut copied = Amount::default();
        for relative in &self.copied {
            let (place, name) = (to.path().join(relative), to.name_of(relative));
            copy(&from.join(relative), &place, &name)?;
            let made = fs::metadata(&place).map_err(|error| Failure::io(&name, error))?;
            copied.files += 1;
            copied.bytes += made.len();
        }
        Ok(copied)
    }
}
