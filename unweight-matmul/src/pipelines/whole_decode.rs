//! Matmul of a matrix that is decoded first.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::Phases;
use crate::Activations;
use crate::cublas::CUBLAS_BYTES;
use crate::layout::Shape;
use crate::workspace::WorkspaceNeed;
use crate::{MatmulError, Pipeline, PlanName, View, ViewMut, Weights, Workspace};

/// Decodes a matrix in any form to the workspace, and cuBLASLt multiplies. A
/// [`CompressedMatrix`](crate::CompressedMatrix) without a coded exponent is decoded already, and is
/// multiplied where it is.
#[derive(Clone, Copy, Debug)]
pub struct WholeDecode<'a> {
    matrix: Weights<'a>,
}

impl<'a> WholeDecode<'a> {
    /// The plan for this matrix. Whether there is cuBLASLt shows when it multiplies.
    pub fn new(matrix: impl Into<Weights<'a>>) -> WholeDecode<'a> {
        let matrix = matrix.into();
        WholeDecode { matrix }
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
        let need = WholeDecode::need(self.shape());
        match self.matrix.decoded_at() {
            Some(_) => WorkspaceNeed {
                prepared_bytes: 0,
                ..need
            },
            None => need,
        }
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
                unsafe { fragments.restore(stream, &decoded) }
            }
            Weights::Coded(matrix) => {
                let multiprocessors = workspace.decoding_multiprocessors();
                // SAFETY: the caller keeps the preconditions; the slot has 2 bytes for each weight.
                unsafe { matrix.decode(stream, to, multiprocessors) }
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
        let address = self.matrix.decoded_at().unwrap_or(prepared);
        let matrix = View::at(address, shape.weights());
        // SAFETY: the caller keeps the preconditions; the slot, or the decoded matrix, is as long as
        // the matrix, and the workspace has enough memory for cuBLASLt.
        unsafe { (cublas.matmul).multiply(stream, &matrix, &x.values, y, cublas.memory) }
    }
}
