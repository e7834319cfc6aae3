//! What every pipeline does.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;

use crate::layout::Shape;
use crate::workspace::WorkspaceNeed;
use crate::{Activations, Kernel, MatmulError, PlanName, ViewMut, Workspace};

/// What a pipeline does: the phases of its matmuls.
pub(crate) trait Phases {
    fn name(&self) -> PlanName;

    fn shape(&self) -> Shape;

    fn need(&self) -> WorkspaceNeed;

    /// The kernels to choose from, without those that cannot be fast for this many rows of x. None
    /// for a pipeline with a single kernel.
    fn kernels(&self, _batch: u32) -> Vec<Kernel> {
        vec![]
    }

    /// Launches the preparation.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`]; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Plan::prepare`](crate::Plan), with a slot as long as the prepared matrix at `to`.
    unsafe fn prepare(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        to: u64,
    ) -> Result<(), MatmulError>;

    /// Launches the matmul, with the prepared matrix at `prepared`.
    ///
    /// # Errors
    /// The errors of [`Plan::multiply`](crate::Plan::multiply).
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`](crate::Plan::multiply). x and y must have the lengths that the shape says,
    /// and x at least one row.
    unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        prepared: u64,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError>;
}
