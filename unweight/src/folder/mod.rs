//! Compressing, decompressing, transcoding and verifying whole model folders: shards, indexes and
//! all other files.
//!
//! ```no_run
//! # fn main() -> Result<(), unweight::Error> {
//! use unweight::file::FileOptions;
//! use unweight::folder;
//!
//! let options = FileOptions::new().verify(true).resume(true);
//! let report = folder::compress("Llama-3.1-8B", "Llama-3.1-8B.unw", &options)?;
//! println!("{} to {} bytes", report.input_bytes(), report.output_bytes());
//! report.warnings.iter().for_each(|warning| eprintln!("{warning}"));
//! folder::decompress("Llama-3.1-8B.unw", "restored", &FileOptions::new())?;
//! # Ok(())
//! # }
//! ```
//!
//! Each `.safetensors` file becomes a `.unw` file, and each other file is copied, but those that
//! [are not part of a model](FileOptions::all_files). Links are followed. An index keeps its bytes:
//! it names the shards by the names that they have in the source.
//!
//! What can be checked quickly is checked before any file is converted: names, free space, the
//! shards that an index names, and the headers of all files. The output gets its name when it is
//! complete and on the disk, with the permissions and the times of its input. An operation that
//! fails or is cancelled leaves nothing behind, or with [`FileOptions::resume`] the finished files.

mod against;
mod compression;
mod convert;
mod copy;
mod index;
mod names;
mod restoration;
mod resume;
mod skipped;
mod space;
mod transcoding;
mod tree;
mod verify;

use std::path::{Path, PathBuf};

pub use skipped::LeftOut;
pub use tree::Amount;
pub use verify::{VerifyReport, verify, verify_against};

use unweight_format::Encoding;

use crate::Error;
use crate::diagnostics::{EntryKind, FileError, Warning};
use crate::error::reading;
use crate::file::{
    FileOptions, FileReport, Reporter, Restoration, SAFETENSORS_EXTENSION, Transcoding,
    UNW_EXTENSION,
};
use crate::output::{require_absent, require_apart};
use compression::FolderCompression;
use convert::{Conversion, Outcome, Plan};
use skipped::Others;
use tree::Tree;

/// The result of compressing or decompressing a folder.
#[derive(Debug)]
#[non_exhaustive]
pub struct FolderReport {
    /// The converted files, in a fixed order.
    pub files: Vec<FileReport>,
    /// The files that were copied.
    pub copied: Amount,
    /// The files that are not part of the model.
    pub left_out: LeftOut,
    /// What the caller should know, though nothing failed.
    pub warnings: Vec<Warning>,
}

impl FolderReport {
    /// The length of the converted and copied files in bytes, before the conversion.
    pub fn input_bytes(&self) -> u64 {
        let converted = self.files.iter().map(|file| file.input_bytes);
        converted.sum::<u64>() + self.copied.bytes
    }

    /// The length of the converted and copied files in bytes, after the conversion.
    pub fn output_bytes(&self) -> u64 {
        let converted = self.files.iter().map(|file| file.output_bytes);
        converted.sum::<u64>() + self.copied.bytes
    }
}

/// Compresses the model folder `source` to the folder `output`.
///
/// # Errors
/// [`Error::File`] if the folder cannot be converted or the output cannot be made as asked; the
/// errors of [`file::compress`](crate::file::compress).
pub fn compress(
    source: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &FileOptions,
) -> Result<FolderReport, Error> {
    let reporter = &options.reporter();
    let mut compression = FolderCompression::new(options, reporter);
    let (source, output) = (source.as_ref(), output.as_ref());
    convert(source, output, options, reporter, &mut compression)
}

/// Restores the folder `output` from the folder `compressed`, byte for byte, and checks every rule
/// of the specification. All shards that an index names have to be there.
///
/// # Errors
/// [`Error::File`] if the folder cannot be converted or the output cannot be made as asked; the
/// errors of [`file::decompress`](crate::file::decompress).
pub fn decompress(
    compressed: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &FileOptions,
) -> Result<FolderReport, Error> {
    let reporter = &options.reporter();
    let mut restoration = Restoration { options, reporter };
    let (compressed, output) = (compressed.as_ref(), output.as_ref());
    convert(compressed, output, options, reporter, &mut restoration)
}

/// Makes the folder `output` of the compressed folder `folder`, with the coded fields of all
/// containers in this encoding. [`FileOptions::verify`] has no effect, and all files are made again
/// when an operation [resumes](FileOptions::resume).
///
/// # Errors
/// [`Error::File`] if the folder cannot be converted or the output cannot be made as asked; the
/// errors of [`file::transcode`](crate::file::transcode).
pub fn transcode(
    folder: impl AsRef<Path>,
    output: impl AsRef<Path>,
    encoding: Encoding,
    options: &FileOptions,
) -> Result<FolderReport, Error> {
    let reporter = &options.reporter();
    let mut transcoding = Transcoding {
        encoding,
        options,
        reporter,
    };
    let (folder, output) = (folder.as_ref(), output.as_ref());
    convert(folder, output, options, reporter, &mut transcoding)
}

/// The paths of the containers of the compressed folder `folder`, in a fixed order.
///
/// # Errors
/// [`Error::File`] if it is not a folder of containers; [`Error::Read`] at a path.
pub fn containers(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
    files_of(folder.as_ref(), UNW_EXTENSION, SAFETENSORS_EXTENSION)
}

/// The paths of the safetensors files of the model folder `folder`, in a fixed order.
///
/// # Errors
/// The errors of [`containers`].
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files_of(folder, SAFETENSORS_EXTENSION, UNW_EXTENSION)
}

fn files_of(folder: &Path, from: &'static str, to: &str) -> Result<Vec<PathBuf>, Error> {
    require_folder(folder)?;
    let tree = Tree::of(folder, from, to, Others::Model)?;
    let paths = tree.converted.iter().map(|relative| folder.join(relative));
    Ok(paths.collect())
}

/// Checks what is asked for, and makes the folder `output`.
fn convert<C: Conversion>(
    input: &Path,
    output: &Path,
    options: &FileOptions,
    reporter: &Reporter,
    conversion: &mut C,
) -> Result<FolderReport, Error> {
    let output = checked_output(input, output, options)?;
    let plan = Plan {
        input,
        output: &output,
        replaces: options.force,
        from: C::FROM,
        to: C::TO,
        others: others(options),
        requires_all_shards: C::REQUIRES_ALL_SHARDS,
        resumes: options.resume,
    };
    let Outcome {
        converted,
        copied,
        left_out,
    } = convert::convert(&plan, reporter, conversion)?;
    Ok(FolderReport {
        files: converted,
        copied,
        left_out,
        warnings: reporter.take_warnings(),
    })
}

/// Path of the output. The name of a folder is the same with a slash at its end.
fn checked_output(input: &Path, output: &Path, options: &FileOptions) -> Result<PathBuf, Error> {
    let output: PathBuf = output.components().collect();
    require_absent(&output, options.force)?;
    require_apart(input, &output)?;
    require_folder(input)?;
    Ok(output)
}

fn require_folder(path: &Path) -> Result<(), Error> {
    let found = path.metadata().map_err(reading(path))?;
    match EntryKind::of(found.file_type()) {
        EntryKind::Folder => Ok(()),
        kind => Err(FileError::NotAFolder {
            path: path.to_owned(),
            kind,
        }
        .into()),
    }
}

fn others(options: &FileOptions) -> Others {
    match options.all_files {
        true => Others::All,
        false => Others::Model,
    }
}
