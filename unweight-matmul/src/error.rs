//! The error type of matmuls.

use std::fmt;

use cudarc::cublaslt::result::CublasError;
use cudarc::driver::DriverError;
use unweight_gpu::GpuError;

use crate::PlanName;

/// The error of a matmul or of its preparation.
#[derive(Debug)]
#[non_exhaustive]
pub enum MatmulError {
    /// The error of a device operation.
    Gpu(GpuError),
    /// The shape has no fragment form.
    NoFragmentForm {
        /// The rows of the matrix.
        rows: u64,
        /// The columns of the matrix.
        columns: u64,
    },
    /// The palette lacks the exponents of too many weights for fragment form.
    TooManyPatches {
        /// The number of weights whose exponents the palette lacks.
        patches: u64,
        /// The number of all weights.
        weights: u64,
    },
    /// A workspace was created for smaller matrices, or for other pipelines.
    WorkspaceTooSmall,
    /// The matrix or the device has no such plan.
    NoSuchPlan(PlanName),
    /// cuBLASLt is not installed, or it has no algorithm for a matmul.
    NoCublas,
    /// cuBLASLt failed.
    Cublas(CublasError),
}

impl From<GpuError> for MatmulError {
    fn from(error: GpuError) -> MatmulError {
        MatmulError::Gpu(error)
    }
}

impl From<DriverError> for MatmulError {
    fn from(error: DriverError) -> MatmulError {
        MatmulError::Gpu(error.into())
    }
}

impl From<CublasError> for MatmulError {
    fn from(error: CublasError) -> MatmulError {
        MatmulError::Cublas(error)
    }
}

impl fmt::Display for MatmulError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MatmulError::Gpu(error) => error.fmt(f),
            MatmulError::NoFragmentForm { rows, columns } => write!(
                f,
                "a matrix of {rows} x {columns} has no fragment form, expected at least a row, and \
                 columns in multiples of 64 up to 1,048,512"
            ),
            MatmulError::TooManyPatches { patches, weights } => write!(
                f,
                "the palette lacks the exponents of {patches} of {weights} weights, expected at \
                 most one in 16: decode the matrix whole"
            ),
            MatmulError::WorkspaceTooSmall => f.write_str(
                "the workspace was made for smaller matrices or other pipelines: give it the \
                 WorkspaceNeed of every plan",
            ),
            MatmulError::NoSuchPlan(name) => write!(
                f,
                "this matrix has no plan \"{name}\" on this device: choose one of Linear::plans"
            ),
            MatmulError::NoCublas => f.write_str(
                "there is no cuBLASLt (libcublasLt) on this machine, or it has no algorithm for \
                 this matmul",
            ),
            MatmulError::Cublas(error) => write!(f, "cuBLASLt failed: {error:?}"),
        }
    }
}

impl std::error::Error for MatmulError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text stands in this error's text.
            MatmulError::Gpu(error) => error.source(),
            _ => None,
        }
    }
}
