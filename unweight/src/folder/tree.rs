//! Files of a model folder: those that change their form, those that are copied, and those that are
//! left out.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::copy::copy;
use super::skipped::{LeftOut, Others};
use crate::Error;
use crate::diagnostics::{EntryKind, FileError};
use crate::error::{reading, writing};
use crate::file::{Action, Reporter, Step};
use crate::output::OutputFolder;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Amount {
    /// The number of files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

impl Tree {
    /// Lists the tree at `root`, with links followed. Files with the extension `from` are to become
    /// files with the extension `to`.
    pub(crate) fn of(
        root: &Path,
        from: &'static str,
        to: &str,
        others: Others,
    ) -> Result<Tree, Error> {
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
                        Some(error) => reading(&path)(error),
                        None => FileError::LinkLoop { path }.into(),
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
                let kind = EntryKind::of(entry.file_type());
                let path = entry.into_path();
                return Err(FileError::NotOfModel { path, kind }.into());
            }
            match relative.extension() {
                Some(extension) if extension == from => tree.converted.push(relative),
                Some(extension) if extension == to => {
                    let folder = root.to_owned();
                    let file = relative;
                    return Err(FileError::LooksConverted { folder, file }.into());
                }
                _ => tree.copied.push(relative),
            }
        }
        if tree.converted.is_empty() {
            return Err(FileError::NothingToConvert {
                folder: root.to_owned(),
                extension: from,
            }
            .into());
        }
        Ok(tree)
    }

    /// The files of the output, in which converted files have the extension `to`.
    pub(crate) fn file_names(&self, to: &str) -> impl Iterator<Item = PathBuf> {
        let converted = self
            .converted
            .iter()
            .map(move |file| file.with_extension(to));
        converted.chain(self.copied.iter().cloned())
    }

    /// Makes the folders in `to`, and copies the files of `from` that are not converted.
    pub(crate) fn copy_others(
        &self,
        from: &Path,
        to: &mut OutputFolder,
        reporter: &Reporter,
    ) -> Result<Amount, Error> {
        for relative in &self.folders {
            to.add_folder(relative, &from.join(relative))?;
        }
        let mut copied = Amount::default();
        for (number, relative) in self.copied.iter().enumerate() {
            let (place, name) = (to.path().join(relative), to.name_of(relative));
            let step = Step {
                action: Action::Copy,
                number: number + 1,
                count: self.copied.len(),
                name: relative,
            };
            copy(&from.join(relative), &place, &name, step, reporter)?;
            let made = fs::metadata(&place).map_err(writing(&name))?;
            copied.files += 1;
            copied.bytes += made.len();
        }
        Ok(copied)
    }
}
