//! A model folder: which of its files change their form, and which are copied.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::failure::Failure;
use crate::input::{kind, open};

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
    pub(crate) fn copy_others(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        for relative in &self.folders {
            let folder = to.join(relative);
            fs::create_dir(&folder).map_err(|error| Failure::io(&folder, error))?;
        }
        for relative in &self.copied {
            copy(&from.join(relative), &to.join(relative))?;
        }
        Ok(())
    }
}

/// As `fs::copy` does, but with a source that is a file, whatever happens meanwhile.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let mut source = open(from)?;
    let failed = |error| Failure::io(from, error);
    let permissions = source.metadata().map_err(failed)?.permissions();
    let mut target = File::create_new(to).map_err(|error| Failure::io(to, error))?;
    io::copy(&mut source, &mut target).map_err(failed)?;
    fs::set_permissions(to, permissions).map_err(|error| Failure::io(to, error))
}
