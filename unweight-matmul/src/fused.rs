//! Matmuls that calculate the operations before and after them.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use unweight_gpu::kernels::LaunchStream;

use crate::job::NormJob;
use crate::layout::Shape;
use crate::workspace::Sums;
use crate::{
    Activations, Direct, FragmentsRef, Kernel, MatmulError, SharedWorkspace, View, ViewMut,
};

/// The RMS norm of the rows of x before a matmul:
/// bf16(bf16(s / sqrt(mean(s²) + epsilon)) * weight), where s is x, or x + residual.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// A factor for each column of the matrix, BF16.
    pub weight: View<'a>,
    /// It is added to the mean of the squares.
    pub epsilon: f32,
    /// It is added to x before the norm.
    pub residual: Option<Residual<'a>>,
    /// Memory of the normalized rows, as long as x. They are the x of the matmul.
    pub normalized: &'a ViewMut<'a>,
}

/// A residual connection before a norm.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a> {
    /// As many values as x has.
    pub values: View<'a>,
    /// x + residual, as long as x. It is rounded to BF16 here, and not for the norm.
    pub sum: &'a ViewMut<'a>,
}

impl Norm<'_> {
    /// Returns an error unless all lengths are those of x and of the shape.
    fn require(&self, shape: Shape, x: Activations<'_>) -> Result<(), MatmulError> {
        let values = x.values_for(shape);
        self.weight.require(shape.columns())?;
        self.normalized.require(2 * values)?;
        if let Some(residual) = &self.residual {
            residual.values.require(values)?;
            residual.sum.require(2 * values)?;
        }
        Ok(())
    }

    pub(crate) fn job(&self, x: Activations<'_>, sums: Sums) -> NormJob {
        let residual = self.residual.as_ref();
        NormJob {
            input: x.values.address(),
            residual: residual.map_or(0, |residual| residual.values.address()),
            sum: residual.map_or(0, |residual| residual.sum.address()),
            weight: self.weight.address(),
            normalized: self.normalized.address(),
            ready: sums.of_norm(),
            epsilon: self.epsilon,
            // Known at each launch.
            blocks: 0,
        }
    }
}

/// The most rows of x that a norm and an activation are calculated with in one launch.
const MOST_FUSED_BATCH: u32 = 256;

/// What a matmul calculates before and after it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fusion<'a> {
    pub(crate) norm: Option<Norm<'a>>,
    pub(crate) gated: bool,
}

/// A matmul with a matrix in fragment form, with an RMS norm before it, an activation after it, or
/// both, in one launch.
#[derive(Clone, Copy, Debug)]
pub struct FusedMatmul<'a> {
    matrix: FragmentsRef<'a>,
    kernel: Kernel,
    fusion: Fusion<'a>,
}

impl<'a> FusedMatmul<'a> {
    /// The matmul y = x W^T.
    pub fn new(matrix: impl Into<FragmentsRef<'a>>) -> FusedMatmul<'a> {
        FusedMatmul {
            matrix: matrix.into(),
            kernel: Kernel::Estimated,
            fusion: Fusion::default(),
        }
    }

    /// The same with a norm of x before it.
    #[must_use]
    pub const fn with_norm(mut self, norm: Norm<'a>) -> FusedMatmul<'a> {
        self.fusion.norm = Some(norm);
        self
    }

    /// The same with an activation: y = silu(gate) * up, where gate is x times the first half of the
    /// matrix's rows, and up x times the second half. Rows of y have half as many values as the
    /// matrix has rows.
    ///
    /// # Errors
    /// [`MatmulError::NotGated`] if the rows of the matrix are not a multiple of 64.
    pub const fn with_silu_mul(mut self) -> Result<FusedMatmul<'a>, MatmulError> {
        let rows = self.matrix.shape().rows();
        if !rows.is_multiple_of(64) {
            return Err(MatmulError::NotGated { rows });
        }
        self.fusion.gated = true;
        Ok(self)
    }

    /// The same with this kernel.
    #[must_use]
    pub const fn with_kernel(mut self, kernel: Kernel) -> FusedMatmul<'a> {
        self.kernel = kernel;
        self
    }

    /// Whether it is expected to take less time than a norm, a matmul and an activation one after the
    /// other, for this many rows of x (docs/performance/engines.md).
    pub const fn is_advised(batch: u32) -> bool {
        batch <= MOST_FUSED_BATCH
    }

    /// Launches the matmul of x, or of its norm, to y, on a stream of the matrix's device. Returns
    /// at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an x, a weight or a
    /// residual of the wrong length, or another memory that is too short;
    /// [`MatmulError::WorkspaceTooSmall`]; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Direct::multiply_on`], where x includes the norm's weight and residual,
    /// and y the memory of the normalized rows and of the sum. None of these may overlap.
    pub unsafe fn multiply_on<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        workspace: &SharedWorkspace,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let shape = self.matrix.shape();
        x.require(shape)?;
        let outputs = shape.rows() >> u32::from(self.fusion.gated);
        y.require(2 * u64::from(x.batch) * outputs)?;
        if let Some(norm) = &self.fusion.norm {
            norm.require(shape, x)?;
        }
        let stream = stream.into();
        // Tensor maps need the context on this thread.
        stream.context().bind_to_thread()?;
        let plan = Direct::new(self.matrix).with_kernel(self.kernel);
        // SAFETY: the caller keeps the preconditions; lengths were checked.
        unsafe { plan.launch(stream, workspace.sums(), self.fusion, x, y) }
    }
}
