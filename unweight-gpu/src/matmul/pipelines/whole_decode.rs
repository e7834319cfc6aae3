//! Matmul of a matrix that is decoded first.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;

use crate::matmul::kernels::DeviceKernels;
use crate::matmul::layout::Shape;
use crate::matmul::plan::{Activations, Phases};
use crate::matmul::workspace::{CUBLAS_BYTES, WorkspaceNeed};
use crate::matmul::{MatmulError, Pipeline, PlanName, Weights, Workspace};
use crate::{Device, View, ViewMut};

/// Decodes a matrix in any form to the workspace, and cuBLASLt multiplies.
#[derive(Clone, Copy, Debug)]
pub struct WholeDecode<'a> {
    device: &'a Device,
    matrix: Weights<'a>,
}

impl<'a> WholeDecode<'a> {
    /// The plan for this matrix.
    ///
    /// # Errors
    /// The errors of [`Direct::new`](super::Direct::new). Whether there is cuBLASLt shows when it
    /// multiplies.
    pub fn new(
        device: &'a Device,
        matrix: impl Into<Weights<'a>>,
    ) -> Result<WholeDecode<'a>, MatmulError> {
        let matrix = matrix.into();
        let kernels = DeviceKernels::new(device, matrix.context())?;
        Ok(WholeDecode::of(kernels, matrix))
    }

    pub(crate) const fn of(kernels: DeviceKernels<'a>, matrix: Weights<'a>) -> WholeDecode<'a> {
        let device = kernels.device;
        WholeDecode { device, matrix }
    }

    pub(crate) const fn need(shape: Shape) -> WorkspaceNeed {
        WorkspaceNeed {
            prepared_bytes: 2 * shape.weights(),
            cublas_bytes: CUBLAS_BYTES as u64,
            ..WorkspaceNeed::of_sums(shape)
        }
    }
}

impl Phases for WholeDecode<'_> {
    fn name(&self) -> PlanName {
        Pipeline::WholeDecode.into()
    }

    fn shape(&self) -> Shape {
        self.matrix.shape()
    }

    fn need(&self) -> WorkspaceNeed {
        WholeDecode::need(self.shape())
    }

    unsafe fn prepare(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        to: u64,
    ) -> Result<(), MatmulError> {
        match self.matrix {
            Weights::Fragments(fragments) => {
                let decoded = ViewMut::at(to, 2 * self.shape().weights());
                // SAFETY: the caller keeps the preconditions.
                unsafe { fragments.restore(self.device, stream, &decoded) }
            }
            Weights::Coded(matrix) => {
                let multiprocessors = workspace.decoding_multiprocessors();
                // SAFETY: the caller keeps the preconditions; the slot has 2 bytes for each weight.
                unsafe { matrix.decode(self.device, stream, to, multiprocessors) }
            }
        }
    }

    unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        prepared: u64,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let shape = self.shape();
        let cublas = workspace.cublas(shape, x.batch)?;
        let matrix = View::at(prepared, shape.weights());
        // SAFETY: the caller keeps the preconditions; the slot is as long as the matrix, and the
        // workspace has enough memory for cuBLASLt.
        unsafe { (cublas.matmul).multiply(stream, &matrix, &x.values, y, cublas.memory) }
    }
}
