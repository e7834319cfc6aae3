//! An Unweight file that is open for reading, with its path for messages.

use std::fs::File;
use std::path::Path;

use unweight_cpu::{Container, OpenFile, ReadError, Storage};

use crate::executor::Parallel;
use crate::failure::Failure;

/// Opens a file for reading; what is not a file is wrong use, not a bad file.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let failed = |error| Failure::io(path, error);
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_file() {
        return Ok(file);
    }
    let kind = match found.is_dir() {
        true => "folder",
        false => "device or a pipe",
    };
    Err(Failure::Usage(format!(
        "{} is a {kind}, expected a file",
        path.display()
    )))
}

/// Why restoring stopped.
pub(crate) enum RestoreError {
    Read(ReadError),
    Output(Failure),
}

impl From<ReadError> for RestoreError {
    fn from(error: ReadError) -> Self {
        RestoreError::Read(error)
    }
}

impl RestoreError {
    pub(crate) fn at(self, path: &Path) -> Failure {
        match self {
            RestoreError::Read(error) => Failure::reading(path, error),
            RestoreError::Output(failure) => failure,
        }
    }
}

/// Gives the restored source to `output`, in order and in pieces, checking every rule (section 7).
pub(crate) fn restore<S: Storage + ?Sized>(
    storage: &S,
    executor: &Parallel,
    mut output: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), RestoreError> {
    let open = OpenFile::read(storage)?;
    let container = Container::parse(&open)?;
    unweight_cpu::restore(&container, executor, |bytes| {
        output(bytes).map_err(RestoreError::Output)
    })
}
