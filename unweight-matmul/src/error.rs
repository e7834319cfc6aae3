//! The error type of matmuls.

use std::fmt;

use cudarc::cublaslt::result::CublasError;
use cudarc::driver::DriverError;
use unweight_format::{Dtype, Forms};
use unweight_gpu::GpuError;

use crate::fused::MOST_SCALED_BATCH;
use crate::{PlanName, WeightForm};

/// The error of a matmul or of its preparation.
#[derive(Debug)]
#[non_exhaustive]
pub enum MatmulError {
    /// The error of a device operation.
    Gpu(GpuError),
    /// The tensor has another type than BF16.
    NotBf16(Dtype),
    /// The palette is that of a field of this many bits, and not of exponents.
    NotOfExponents(u32),
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
    /// The matrix is not one of this many experts, with the same multiple of 16 rows each.
    NotOfExperts {
        /// The rows of the matrix.
        rows: u64,
        /// The number of experts.
        experts: u32,
    },
    /// There is no routing with these numbers.
    NoRouting {
        /// The number of tokens.
        tokens: u32,
        /// The number of experts of each token.
        top_k: u32,
        /// The number of all experts.
        experts: u32,
    },
    /// One launch does not take this many slots: tokens times the experts of each.
    TooManySlots {
        /// The number of slots.
        slots: u32,
    },
    /// No kernel scales the sums of so many rows of x.
    TooManyScaledRows {
        /// The number of rows.
        batch: u32,
    },
    /// The rows of a matrix before a norm are not a multiple of 16.
    NoResidual {
        /// The rows of the matrix.
        rows: u64,
    },
    /// The matrix is not one of gate and up, with the same multiple of 32 rows each.
    NotGated {
        /// The rows of the matrix.
        rows: u64,
    },
    /// The matrix or the device has no such plan.
    NoSuchPlan {
        /// The plan that was asked for.
        plan: PlanName,
        /// What the plan lacks.
        reason: NoPlan,
    },
    /// cuBLASLt is not installed, or it has no algorithm for a matmul.
    NoCublas,
    /// cuBLASLt failed.
    Cublas(CublasError),
}

/// Why a matrix has no plan of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPlan {
    /// The pipeline does not take matrices in this form.
    Form(WeightForm),
    /// The pipeline takes tensors of which the exponent is coded and nothing else is coded or
    /// constant. The tensor's fields have these forms.
    Fields(Forms),
    /// The palette lacks the exponents of too many weights for fragment form.
    Patches,
    /// A block of the device has too little shared memory.
    SharedMemory,
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
            MatmulError::NotBf16(dtype) => write!(
                f,
                "a matrix of {dtype}, expected BF16: decode it, and convert its weights to BF16"
            ),
            MatmulError::NotOfExponents(width) => write!(
                f,
                "the palette is of a field of {width} bits, expected that of BF16 exponents, 8 \
                 bits: use Fragments::of_tensor, which finds it"
            ),
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
            MatmulError::NotOfExperts { rows, experts } => write!(
                f,
                "a matrix of {rows} rows for {experts} experts, expected the same multiple of 16 \
                 rows for each: pack the matrices of all experts as one"
            ),
            MatmulError::NoRouting {
                tokens,
                top_k,
                experts,
            } => write!(
                f,
                "a routing of {tokens} tokens to {top_k} of {experts} experts, expected 1 to 4096 \
                 experts, at least one for a token, and at most 2^30 of them for all"
            ),
            MatmulError::TooManySlots { slots } => write!(
                f,
                "{slots} tokens and experts in one matmul are more than 32 bits can number: \
                 multiply fewer tokens at a time"
            ),
            MatmulError::TooManyScaledRows { batch } => write!(
                f,
                "{batch} rows of x in a matmul after a norm, expected at most {MOST_SCALED_BATCH}: \
                 calculate the norm before it"
            ),
            MatmulError::NoResidual { rows } => write!(
                f,
                "a matrix of {rows} rows in a matmul before a norm, expected a multiple of 16: \
                 calculate the norm after it"
            ),
            MatmulError::NotGated { rows } => write!(
                f,
                "a matrix of {rows} rows in a gated matmul, expected the same multiple of 32 rows \
                 of gate and of up: multiply, and apply the activation to the result"
            ),
            MatmulError::NoSuchPlan { plan, reason } => write!(
                f,
                "this matrix has no plan \"{plan}\" on this device, {reason}: choose one of \
                 Linear::plans"
            ),
            MatmulError::NoCublas => f.write_str(
                "there is no cuBLASLt (libcublasLt) on this machine, or it has no algorithm for \
                 this matmul",
            ),
            MatmulError::Cublas(error) => write!(f, "cuBLASLt failed: {error:?}"),
        }
    }
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPlan::Form(form) => {
                write!(
                    f,
                    "its form is \"{}\", which this pipeline does not take",
                    form.name()
                )
            }
            NoPlan::Fields(forms) => {
                f.write_str("the forms of its fields are")?;
                for (number, (_, form)) in forms.iter().enumerate() {
                    write!(f, "{} {form}", if number == 0 { "" } else { "," })?;
                }
                f.write_str(", expected a coded exponent and all else plain")
            }
            NoPlan::Patches => {
                f.write_str("its palette lacks the exponents of more than one weight in 16")
            }
            NoPlan::SharedMemory => f.write_str("a block of it has too little shared memory"),
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

#[cfg(test)]
mod tests {
    use unweight_format::Form;

    use super::*;
    use crate::Pipeline;

    #[test]
    fn a_plan_that_does_not_exist_is_refused_with_its_reason() {
        let message = |pipeline: Pipeline, reason| {
            let plan = pipeline.into();
            MatmulError::NoSuchPlan { plan, reason }.to_string()
        };
        assert_eq!(
            message(Pipeline::Direct, NoPlan::Form(WeightForm::Coded)),
            "this matrix has no plan \"direct\" on this device, its form is \"coded\", which this \
             pipeline does not take: choose one of Linear::plans"
        );
        let forms = [Form::Huffman, Form::Huffman, Form::Constant];
        let forms = (0..)
            .zip(forms)
            .fold(Forms::raw(Dtype::Bf16), |forms, (number, form)| {
                forms.with(number, form).unwrap()
            });
        assert_eq!(
            message(Pipeline::ExponentDecode, NoPlan::Fields(forms)),
            "this matrix has no plan \"exponent_decode\" on this device, the forms of its fields \
             are huffman, huffman, constant, expected a coded exponent and all else plain: choose \
             one of Linear::plans"
        );
    }
}
