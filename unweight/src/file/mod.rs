//! Compressing, decompressing, transcoding and verifying files on a disk.
//!
//! ```no_run
//! # fn main() -> Result<(), unweight::Error> {
//! use unweight::file::{self, FileOptions};
//!
//! let options = FileOptions::new().verify(true);
//! let report = file::compress("model.safetensors", "model.unw", &options)?;
//! println!("{} to {} bytes", report.input_bytes, report.output_bytes);
//! file::decompress("model.unw", "restored.safetensors", &FileOptions::new())?;
//! # Ok(())
//! # }
//! ```
//!
//! An output gets its name when it is complete and on the disk, with the permissions and the times
//! of its input. It replaces nothing unless [`FileOptions::force`] is set. An operation that fails
//! or is cancelled leaves nothing behind. [`folder`](crate::folder) does the same with whole model
//! folders.
//!
//! A relative path is resolved again at each step. A program that changes its current folder while
//! an operation runs must give absolute paths.

mod comparison;
mod compress;
mod event;
mod gain;
mod input;
mod options;
mod report;
mod restore;
mod transcode;

use std::path::Path;

pub(crate) use comparison::require_equal;
pub(crate) use compress::Compression;
pub use event::{Action, Event, Step};
pub(crate) use event::{Position, Reporter};
pub use gain::NoGain;
pub use input::open;
pub use options::FileOptions;
pub use report::{DtypeReport, FileReport};
pub(crate) use restore::Restoration;
pub(crate) use transcode::Transcoding;

pub use crate::diagnostics::{EntryKind, FileError, FileErrorKind, MissingShards};
pub use crate::diagnostics::{RefusedCall, Warning};

use unweight_format::Encoding;

use crate::Error;
use crate::output::{Target, require_absent, require_apart};

/// The extension of safetensors files.
pub const SAFETENSORS_EXTENSION: &str = "safetensors";
/// The extension of Unweight files.
pub const UNW_EXTENSION: &str = "unw";

/// Compresses the safetensors file `source` to the file `output`.
///
/// # Errors
/// [`Error::File`] if the output cannot be made as asked; the errors of
/// [`compress_to`](crate::compress_to), with the path of the file that they concern.
pub fn compress(
    source: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &FileOptions,
) -> Result<FileReport, Error> {
    let source = source.as_ref();
    let target = target(source, output.as_ref(), options)?;
    let reporter = options.reporter();
    Compression::new(options, &reporter).compress(source, target, Position::alone(source))
}

/// Restores the source of the container `container` to the file `output`, byte for byte, and checks
/// every rule of the specification.
///
/// # Errors
/// [`Error::File`] if the output cannot be made as asked; the errors of
/// [`Model::restore`](crate::Model::restore), with the path of the file that they concern.
pub fn decompress(
    container: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &FileOptions,
) -> Result<FileReport, Error> {
    let container = container.as_ref();
    let target = target(container, output.as_ref(), options)?;
    let reporter = &options.reporter();
    Restoration { options, reporter }.decompress(container, target, Position::alone(container))
}

/// Makes the container `output` of the container `container`, with the same tensors, and with their
/// coded fields in this encoding (section 11.9). Checks every rule of the specification.
/// [`FileOptions::verify`] has no effect.
///
/// # Errors
/// [`Error::File`] if the output cannot be made as asked; the errors of
/// [`Model::transcode`](crate::Model::transcode), with the path of the file that they concern.
pub fn transcode(
    container: impl AsRef<Path>,
    output: impl AsRef<Path>,
    encoding: Encoding,
    options: &FileOptions,
) -> Result<FileReport, Error> {
    let container = container.as_ref();
    let target = target(container, output.as_ref(), options)?;
    let transcoding = Transcoding {
        encoding,
        options,
        reporter: &options.reporter(),
    };
    transcoding.transcode(container, target, Position::alone(container))
}

/// Checks every rule of the specification and every checksum of a container. Returns the number of
/// bytes that it restores.
///
/// # Errors
/// The errors of [`Model::verify`](crate::Model::verify), with the path.
pub fn verify(container: impl AsRef<Path>, options: &FileOptions) -> Result<u64, Error> {
    verified(container.as_ref(), None, options)
}

/// Does the same as [`verify`], and compares the bytes that the container restores with the file
/// `source`.
///
/// # Errors
/// The errors of [`verify`]; [`FileError::Differs`], [`FileError::DiffersInLength`].
pub fn verify_against(
    container: impl AsRef<Path>,
    source: impl AsRef<Path>,
    options: &FileOptions,
) -> Result<u64, Error> {
    verified(container.as_ref(), Some(source.as_ref()), options)
}

fn verified(container: &Path, source: Option<&Path>, options: &FileOptions) -> Result<u64, Error> {
    let reporter = &options.reporter();
    let restoration = Restoration { options, reporter };
    restoration.verify(container, source, Position::alone(container))
}

/// The place of an output that is made of one input.
///
/// # Errors
/// [`Error::File`] if the output cannot be made as asked.
fn target<'a>(input: &Path, output: &'a Path, options: &FileOptions) -> Result<Target<'a>, Error> {
    require_absent(output, options.force)?;
    require_apart(input, output)?;
    Ok(Target::alone(output, options.force))
}
