//! An Unweight file that is open for reading, within the memory that the command line allows.

use std::path::Path;

use unweight::gpu::GpuError;
use unweight::{Disagreement, ReadError, Storage, container::OpenFile};

use crate::arguments::Memory;
use crate::commands::Context;
use crate::failure::Failure;
use crate::gpu::{Gpu, disagreement, failed};

/// Reads the header and the directory.
pub(crate) fn read<'s, S: Storage + ?Sized>(
    storage: &'s S,
    memory: &Memory,
    context: &Context,
) -> Result<OpenFile<'s, S>, ReadError> {
    OpenFile::read_with(storage, |length| context.budget(memory, length))
}

/// Reason why restoring stopped.
pub(crate) enum RestoreError {
    Read(ReadError),
    /// Failure of the output or of the device, not of the file.
    Failed(Failure),
}

impl From<ReadError> for RestoreError {
    fn from(error: ReadError) -> Self {
        RestoreError::Read(error)
    }
}

impl From<GpuError> for RestoreError {
    fn from(error: GpuError) -> Self {
        RestoreError::Failed(failed(error))
    }
}

impl From<Disagreement> for RestoreError {
    fn from(found: Disagreement) -> Self {
        RestoreError::Failed(disagreement(&found))
    }
}

impl RestoreError {
    pub(crate) fn at(self, path: &Path) -> Failure {
        match self {
            RestoreError::Read(error) => Failure::reading(path, error),
            RestoreError::Failed(failure) => failure,
        }
    }
}

/// Passes the restored source to `output`, in order and in pieces, and checks every rule (section
/// 7). Coded tensors are decoded on the device if one is given.
pub(crate) fn restore<S: Storage + ?Sized>(
    storage: &S,
    memory: &Memory,
    gpu: Option<&Gpu>,
    context: &Context,
    mut output: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), RestoreError> {
    let open = read(storage, memory, context)?;
    let container = open.container();
    let executor = &context.executor;
    let output = |bytes: &[u8]| output(bytes).map_err(RestoreError::Failed);
    match gpu {
        Some(gpu) => gpu.restore(&container, memory.budget(), executor, output),
        None => unweight::container::restore(&container, executor, output),
    }
}
