//! Verification of a folder, and its comparison with the folder that it was made from.

use std::path::{Path, PathBuf};

use super::against::Lone;
use super::index::{self, Findings};
use super::skipped::{LeftOut, Others};
use super::tree::Tree;
use super::{others, require_folder};
use crate::Error;
use crate::diagnostics::FileError;
use crate::file::{
    FileOptions, Position, Restoration, SAFETENSORS_EXTENSION, UNW_EXTENSION, require_equal,
};

/// The result of verifying a folder: everything is right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The paths of the containers.
    pub files: Vec<PathBuf>,
    /// The number of bytes that they restore.
    pub restored_bytes: u64,
    /// The files of the source folder that were not compared.
    pub left_out: LeftOut,
}

/// Checks every file of the compressed folder `folder`, and that it has every shard that an index
/// names.
///
/// # Errors
/// The errors of [`file::verify`](crate::file::verify); [`FileError::MissingShards`],
/// [`FileError::UnusableIndex`].
pub fn verify(folder: impl AsRef<Path>, options: &FileOptions) -> Result<VerifyReport, Error> {
    verified(folder.as_ref(), None, options)
}

/// Does the same as [`verify`], and compares the folder with the folder `source` that it was made
/// from: the same files and folders, the same bytes.
///
/// # Errors
/// The errors of [`verify`]; [`FileError::MissingEntries`], [`FileError::Differs`],
/// [`FileError::DiffersInLength`].
pub fn verify_against(
    folder: impl AsRef<Path>,
    source: impl AsRef<Path>,
    options: &FileOptions,
) -> Result<VerifyReport, Error> {
    verified(folder.as_ref(), Some(source.as_ref()), options)
}

fn verified(
    folder: &Path,
    source: Option<&Path>,
    options: &FileOptions,
) -> Result<VerifyReport, Error> {
    require_folder(folder)?;
    let others = others(options);
    let tree = Tree::of(folder, UNW_EXTENSION, SAFETENSORS_EXTENSION, others)?;
    // Quick checks come first.
    require_all_shards(folder, index::check(folder, &tree)?)?;
    let left_out = match source {
        Some(source) => require_same_others(folder, &tree, source, others)?,
        None => LeftOut::default(),
    };
    let reporter = &options.reporter();
    let restoration = Restoration { options, reporter };
    let mut files = Vec::with_capacity(tree.converted.len());
    let mut restored_bytes = 0;
    for (number, relative) in tree.converted.iter().enumerate() {
        reporter.require_not_cancelled()?;
        let path = folder.join(relative);
        let source =
            source.map(|source| source.join(relative).with_extension(SAFETENSORS_EXTENSION));
        let position = Position {
            number: number + 1,
            count: tree.converted.len(),
            name: relative,
        };
        restored_bytes += restoration.verify(&path, source.as_deref(), position)?;
        files.push(path);
    }
    Ok(VerifyReport {
        files,
        restored_bytes,
        left_out,
    })
}

/// Checks that every shard that an index names exists.
fn require_all_shards(folder: &Path, findings: Findings) -> Result<(), FileError> {
    if !findings.missing.is_empty() {
        return Err(FileError::MissingShards {
            folder: folder.to_owned(),
            indexes: findings.missing,
        });
    }
    match findings.unusable.into_iter().next() {
        Some((index, problem)) => Err(FileError::UnusableIndex {
            path: folder.join(index),
            problem,
        }),
        None => Ok(()),
    }
}

/// Checks that the source folder has the same files and folders, and that copied files are equal.
/// Returns the files that were left out of this comparison.
fn require_same_others(
    folder: &Path,
    tree: &Tree,
    source: &Path,
    others: Others,
) -> Result<LeftOut, Error> {
    if source.is_file() {
        return Err(FileError::FileAsSource {
            source: source.to_owned(),
            folder: folder.to_owned(),
        }
        .into());
    }
    let source_tree = Tree::of(source, SAFETENSORS_EXTENSION, UNW_EXTENSION, others)?;
    let lone = Lone::of(tree, &source_tree, SAFETENSORS_EXTENSION);
    for (lacks, entries) in [(source, lone.first), (folder, lone.second)] {
        if !entries.is_empty() {
            return Err(FileError::MissingEntries {
                folder: lacks.to_owned(),
                entries,
            }
            .into());
        }
    }
    for relative in &tree.copied {
        require_equal(&folder.join(relative), &source.join(relative))?;
    }
    Ok(source_tree.left_out)
}
