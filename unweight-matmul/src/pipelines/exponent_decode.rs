//! Matmul of a coded matrix from two planes.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream};
use unweight_gpu::CheckedTensor;

use super::Phases;
use super::from_k_tiles::small_batch_config;
use crate::Activations;
use crate::job::{MatmulJob, PlanesMatmulJob};
use crate::kernels::SmallKernels;
use crate::layout::Shape;
use crate::schedule::StreamK;
use crate::workspace::WorkspaceNeed;
use crate::{CompressedMatrix, MatmulError, Pipeline, PlanName, ViewMut, Workspace};

/// Decodes the exponents of a matrix to the workspace, and rebuilds weights from both planes on the
/// way to the tensor cores. The exponent must be coded, and nothing else coded or constant.
#[derive(Clone, Copy, Debug)]
pub struct ExponentDecode<'a> {
    kernels: &'a SmallKernels<CudaFunction>,
    matrix: &'a CompressedMatrix,
    tensor: &'a CheckedTensor,
}

impl<'a> ExponentDecode<'a> {
    /// The plan for this matrix. None if not its exponent alone is coded, or if a block of the
    /// device has too little shared memory.
    pub fn new(matrix: &'a CompressedMatrix) -> Option<ExponentDecode<'a>> {
        let tensor = &matrix.coded_exponent().ok()?.tensor;
        let kernels = matrix.kernels().planes.as_ref();
        kernels.map(|kernels| ExponentDecode {
            kernels,
            matrix,
            tensor,
        })
    }

    pub(crate) const fn need(shape: Shape) -> WorkspaceNeed {
        WorkspaceNeed {
            prepared_bytes: shape.weights(),
            ..WorkspaceNeed::of_sums(shape)
        }
    }
}

impl Phases for ExponentDecode<'_> {
    fn name(&self) -> PlanName {
        Pipeline::ExponentDecode.into()
    }

    fn shape(&self) -> Shape {
        self.matrix.shape()
    }

    fn need(&self) -> WorkspaceNeed {
        ExponentDecode::need(self.shape())
    }

    unsafe fn prepare(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        to: u64,
    ) -> Result<(), MatmulError> {
        let multiprocessors = workspace.decoding_multiprocessors();
        // SAFETY: the caller keeps the preconditions; the slot has a byte for each weight.
        unsafe { (self.tensor).decode_exponents(stream, to, multiprocessors)? };
        Ok(())
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
        let schedule = StreamK::new(shape, workspace.multiplying_multiprocessors());
        let mut job = MatmulJob::new(shape, schedule, workspace.sums().of(schedule)?, x, y);
        let mut left = x.batch;
        while left > 0 {
            let (kernel, function) = self.kernels.for_batch(left);
            job.batch = left.min(kernel.batch);
            let config = small_batch_config(*kernel, schedule);
            let planes = PlanesMatmulJob {
                exponents: prepared,
                sign_mantissa: self.tensor.plain(),
                matmul: job,
            };
            // SAFETY: the preconditions at the head of kernels/matmul/planes_matmul.cu: addresses
            // are aligned, lengths were checked, `StreamK` has no empty range
            // (`ranges_make_up_all_k_tiles_and_none_is_empty`), the workspace has the slots and
            // counters (`a_layout_has_room_for_the_largest_of_each_and_for_no_more`), and both
            // planes are as long as the matrix.
            unsafe {
                let kernels = self.matrix.kernels();
                kernels.launch(stream.into(), function, config, &planes, false)?;
            }
            left -= job.batch;
            job.skip_batch();
        }
        Ok(())
    }
}
