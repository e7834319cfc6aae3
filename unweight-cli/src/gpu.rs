//! `--gpu`: the device of the command line, and the messages where it fails. The library decodes
//! with it.

use unweight::gpu::{GpuError, search_system_folders_only};
use unweight::{CudaOptions, Disagreement};

use crate::failure::Failure;

pub(crate) use unweight::CudaDevice as Gpu;

/// Opens the device of this number for a command.
pub(crate) fn open(ordinal: u16) -> Result<Gpu, unweight::Error> {
    // The search path is set before the first library is looked for. The program may run in a
    // model's folder, and must not load libraries from there.
    search_system_folders_only()?;
    Gpu::open(ordinal.into(), &CudaOptions::new().users_kernel_cache())
}

/// Failure of a command whose device is missing or fails.
pub(crate) fn failed(error: impl Into<GpuError>) -> Failure {
    unusable(error.into().into())
}

/// Failure of a command for which [`open`] fails, and which could use the CPU.
pub(crate) fn unusable(error: unweight::Error) -> Failure {
    Failure::Io(format!("GPU: {error}; run without --gpu to use the CPU"))
}

/// Failure of a command where the CPU does not confirm what the device reports about a file.
pub(crate) fn disagreement(Disagreement { tensor, report, .. }: &Disagreement) -> Failure {
    Failure::Io(format!(
        "internal error: the GPU reports \"{report}\" in tensor {tensor:?}, but the CPU finds no error; run without --gpu"
    ))
}
