//! Matmuls that calculate operations between them in their epilogues: the RMS norm of a residual
//! sum, and the gate of an MLP.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use unweight_gpu::kernels::LaunchStream;

use crate::job::{ResidualJob, ScaleJob, squares_bytes};
use crate::layout::PANEL_ROWS;
use crate::{
    Activations, Direct, FragmentsRef, Kernel, MatmulError, SharedWorkspace, View, ViewMut,
};

/// The most rows of x of a matmul after a norm: a constant of this name in
/// kernels/abi/matmul_jobs.cuh, too.
pub(crate) const MOST_SCALED_BATCH: u32 = 256;

/// A residual connection and the first half of an RMS norm after a matmul. All values are BF16 but
/// the squares; rows have as many values as the matrix has rows.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a> {
    /// A row for each row of x.
    pub values: View<'a>,
    /// The norm's factors, one row.
    pub weight: View<'a>,
    /// Memory of x W^T + residual, as long as the residual.
    pub sum: &'a ViewMut<'a>,
    /// Memory of the sums of squares, 4 bytes for each 16 values of the residual: FP32.
    pub squares: &'a ViewMut<'a>,
}

/// Rows that a matmul with a [`Residual`] has written: the x of the matmul after the norm.
#[derive(Clone, Copy, Debug)]
pub struct NormedRows<'a> {
    /// [`Residual::squares`].
    pub squares: &'a ViewMut<'a>,
    /// It is added to the mean of the squares.
    pub epsilon: f32,
}

/// What a matmul calculates before and after it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fusion {
    pub(crate) residual: ResidualJob,
    pub(crate) scale: ScaleJob,
    pub(crate) gated: bool,
}

/// A matmul with a matrix in fragment form that calculates what comes between matmuls of a model, so
/// that they follow each other directly.
///
/// The RMS norm of a residual sum is divided among the two matmuls around it. The first one, with a
/// [`Residual`], writes s = x W^T + residual, y = s * weight, and sums of s². The second one, with
/// [`NormedRows`], takes that y as its x, and multiplies its sums by 1 / sqrt(mean(s²) + epsilon).
#[derive(Clone, Copy, Debug)]
pub struct FusedMatmul<'a> {
    matrix: FragmentsRef<'a>,
    kernel: Kernel,
    residual: Option<Residual<'a>>,
    normed: Option<NormedRows<'a>>,
    gated: bool,
}

impl<'a> FusedMatmul<'a> {
    /// The matmul y = x W^T.
    pub fn new(matrix: impl Into<FragmentsRef<'a>>) -> FusedMatmul<'a> {
        FusedMatmul {
            matrix: matrix.into(),
            kernel: Kernel::Estimated,
            residual: None,
            normed: None,
            gated: false,
        }
    }

    /// The same with a residual and the first half of a norm after it.
    ///
    /// # Errors
    /// [`MatmulError::NoResidual`] if the rows of the matrix are not a multiple of 16, or if it is
    /// gated.
    pub const fn with_residual(
        mut self,
        residual: Residual<'a>,
    ) -> Result<FusedMatmul<'a>, MatmulError> {
        let rows = self.matrix.shape().rows();
        if !rows.is_multiple_of(PANEL_ROWS) || self.gated {
            return Err(MatmulError::NoResidual { rows });
        }
        self.residual = Some(residual);
        Ok(self)
    }

    /// The same with the second half of the norm of x.
    #[must_use]
    pub const fn with_normed_rows(mut self, normed: NormedRows<'a>) -> FusedMatmul<'a> {
        self.normed = Some(normed);
        self
    }

    /// The same with an activation: y = silu(gate) * up, where gate is x times the first half of the
    /// matrix's rows, and up x times the second half. Rows of y have half as many values as the
    /// matrix has rows.
    ///
    /// # Errors
    /// [`MatmulError::NotGated`] if the rows of the matrix are not a multiple of 64, or if it has a
    /// residual.
    pub const fn with_silu_mul(mut self) -> Result<FusedMatmul<'a>, MatmulError> {
        let rows = self.matrix.shape().rows();
        if !rows.is_multiple_of(64) || self.residual.is_some() {
            return Err(MatmulError::NotGated { rows });
        }
        self.gated = true;
        Ok(self)
    }

    /// The same with this kernel.
    #[must_use]
    pub const fn with_kernel(mut self, kernel: Kernel) -> FusedMatmul<'a> {
        self.kernel = kernel;
        self
    }

    /// With more rows of x than this, a norm of its own takes less time: the epilogues of the
    /// large-batch kernels take longer then, as measured on an H200 (docs/performance/engines.md).
    pub const MOST_NORM_ROWS: u32 = 16;

    /// Whether the gate in the matmul's epilogue is expected to take less time than a kernel of its
    /// own, for this many rows of x.
    pub const fn gate_is_advised(batch: u32) -> bool {
        batch <= 256
    }

    /// Launches the matmul on a stream of the matrix's device. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an x, a weight or a
    /// residual of the wrong length, or another memory that is too short;
    /// [`MatmulError::TooManyScaledRows`] for more than 256 rows after a norm;
    /// [`MatmulError::WorkspaceTooSmall`]; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Direct::multiply_on`], where x includes the residual, its weight and
    /// the squares of [`NormedRows`], and y the memory of the sum and of the squares of
    /// [`Residual`]. None of the memory that is written may overlap another.
    pub unsafe fn multiply_on<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        workspace: &SharedWorkspace,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let (shape, batch) = (self.matrix.shape(), u64::from(x.batch));
        x.require(shape)?;
        let outputs = shape.rows() >> u32::from(self.gated);
        y.require(2 * batch * outputs)?;
        let fusion = Fusion {
            residual: self.residual_job(x.batch)?,
            scale: self.scale_job(x.batch)?,
            gated: self.gated,
        };
        let plan = Direct::new(self.matrix).with_kernel(self.kernel);
        // SAFETY: the caller keeps the preconditions; lengths were checked.
        unsafe { plan.launch_on(stream, workspace, fusion, x, y) }
    }

    /// The residual's part of the job, after a check of lengths.
    fn residual_job(&self, batch: u32) -> Result<ResidualJob, MatmulError> {
        let Some(residual) = &self.residual else {
            return Ok(ResidualJob::default());
        };
        let (batch, rows) = (u64::from(batch), self.matrix.shape().rows());
        residual.values.require(batch * rows)?;
        residual.weight.require(rows)?;
        residual.sum.require(2 * batch * rows)?;
        residual.squares.require(batch * squares_bytes(rows))?;
        Ok(ResidualJob {
            residual: residual.values.address(),
            sum: residual.sum.address(),
            weight: residual.weight.address(),
            squares: residual.squares.address(),
        })
    }

    /// The norm's part of the job, after a check of lengths.
    fn scale_job(&self, batch: u32) -> Result<ScaleJob, MatmulError> {
        let Some(normed) = &self.normed else {
            return Ok(ScaleJob::default());
        };
        if batch > MOST_SCALED_BATCH {
            return Err(MatmulError::TooManyScaledRows { batch });
        }
        let columns = self.matrix.shape().columns();
        let bytes = u64::from(batch) * squares_bytes(columns);
        normed.squares.require(bytes)?;
        Ok(ScaleJob {
            squares: normed.squares.address(),
            epsilon: normed.epsilon,
            reserved: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_scale_as_many_rows_as_are_accepted() {
        let header = include_str!("../kernels/abi/matmul_jobs.cuh");
        let constant = format!("constexpr uint32_t MOST_SCALED_BATCH = {MOST_SCALED_BATCH};");
        assert!(header.contains(&constant));
    }
}
