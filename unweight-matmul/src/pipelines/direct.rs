//! Matmul from fragment form.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_gpu::kernels::LaunchStream;

use super::Phases;
use super::from_k_tiles::{FromKTiles, KTiles};
use crate::Activations;
use crate::activations::require_lengths;
use crate::fused::Fusion;
use crate::layout::Shape;
use crate::workspace::{Sums, WorkspaceNeed};
use crate::{
    FragmentsRef, Kernel, MatmulError, Pipeline, PlanName, SharedWorkspace, View, ViewMut,
    Workspace,
};

/// Rebuilds weights in fragment form on the way to the tensor cores. Nothing is prepared.
#[derive(Clone, Copy, Debug)]
pub struct Direct<'a> {
    matmul: FromKTiles<'a>,
    matrix: FragmentsRef<'a>,
    bias: Option<View<'a>>,
}

impl<'a> Direct<'a> {
    /// The plan for this matrix.
    pub fn new(matrix: impl Into<FragmentsRef<'a>>) -> Direct<'a> {
        let matrix = matrix.into();
        Direct {
            matmul: FromKTiles::new(matrix.kernels(), matrix.shape()),
            matrix,
            bias: None,
        }
    }

    /// The same plan with a bias: y = x W^T + bias. It is added before sums are rounded to BF16.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for a bias with another number
    /// of values than the matrix has rows.
    pub fn with_bias(self, bias: View<'a>) -> Result<Direct<'a>, MatmulError> {
        bias.require(self.matrix.shape().rows())?;
        Ok(Direct {
            bias: Some(bias),
            ..self
        })
    }

    /// Same as [`Plan::multiply`](crate::Plan::multiply), but on any stream of the matrix's device,
    /// also one of another library.
    ///
    /// # Errors
    /// Those of [`Plan::multiply`](crate::Plan::multiply).
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`](crate::Plan::multiply). The workspace must not be
    /// dropped until the matmul is done, and no other matmul may use it at the same time.
    pub unsafe fn multiply_on<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        workspace: &SharedWorkspace,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        require_lengths(self.matrix.shape(), x, y)?;
        // SAFETY: the caller keeps the preconditions; lengths were checked.
        unsafe { self.launch_on(stream, workspace, Fusion::default(), x, y) }
    }

    /// Same as [`Direct::launch`], but on any stream of the matrix's device.
    ///
    /// # Errors
    /// The errors of [`Direct::multiply_on`] that are known at a launch.
    ///
    /// # Safety
    /// The preconditions of [`Direct::launch`].
    pub(crate) unsafe fn launch_on<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        workspace: &SharedWorkspace,
        fusion: Fusion,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let stream = stream.into();
        // Tensor maps need the context on this thread.
        stream.context().bind_to_thread()?;
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.launch(stream, workspace.sums(), fusion, x, y) }
    }

    /// # Errors
    /// The errors of [`Direct::multiply_on`] that are known at a launch.
    ///
    /// # Safety
    /// The preconditions of [`Direct::multiply_on`]; x and y, and all memory of the fusion, have the
    /// lengths that the shape says.
    unsafe fn launch(
        &self,
        stream: LaunchStream<'_>,
        sums: Sums,
        fusion: Fusion,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let k_tiles = KTiles {
            address: self.matrix.k_tiles_at(),
            tables: self.matrix.tables(),
            bias: self.bias,
            is_resident: true,
            fusion,
        };
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.matmul.multiply(stream, sums, &k_tiles, x, y) }
    }

    /// The same plan with this kernel.
    #[must_use]
    pub const fn with_kernel(self, kernel: Kernel) -> Direct<'a> {
        let matmul = self.matmul.with_kernel(kernel);
        Direct { matmul, ..self }
    }

    pub(crate) const fn need(shape: Shape) -> WorkspaceNeed {
        WorkspaceNeed::of_sums(shape)
    }
}

impl Phases for Direct<'_> {
    fn name(&self) -> PlanName {
        PlanName {
            pipeline: Pipeline::Direct,
            kernel: self.matmul.kernel(),
        }
    }

    fn shape(&self) -> Shape {
        self.matrix.shape()
    }

    fn need(&self) -> WorkspaceNeed {
        Direct::need(self.shape())
    }

    fn kernels(&self, batch: u32) -> Vec<Kernel> {
        self.matmul.kernels(batch)
    }

    unsafe fn prepare(
        &self,
        _stream: &Arc<CudaStream>,
        _workspace: &Workspace,
        _to: u64,
    ) -> Result<(), MatmulError> {
        Ok(())
    }

    unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        _prepared: u64,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.launch(stream.into(), workspace.sums(), Fusion::default(), x, y) }
    }
}
