//! Matmul from fragment form.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::Phases;
use super::from_k_tiles::{FromKTiles, KTiles};
use crate::Activations;
use crate::layout::Shape;
use crate::workspace::WorkspaceNeed;
use crate::{Fragments, Kernel, MatmulError, Pipeline, PlanName, ViewMut, Workspace};

/// Rebuilds weights in fragment form on the way to the tensor cores. Nothing is prepared.
#[derive(Clone, Copy, Debug)]
pub struct Direct<'a> {
    matmul: FromKTiles<'a>,
    matrix: &'a Fragments,
}

impl<'a> Direct<'a> {
    /// The plan for this matrix.
    pub fn new(matrix: &'a Fragments) -> Direct<'a> {
        Direct {
            matmul: FromKTiles::new(matrix.kernels(), matrix.shape()),
            matrix,
        }
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
        let k_tiles = KTiles {
            address: self.matrix.k_tiles_at(),
            patches: self.matrix.patches().addresses(),
            palette: self.matrix.palette(),
            is_resident: true,
        };
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.matmul.multiply(stream, workspace, &k_tiles, x, y) }
    }
}
