//! The kernels that make fragment form.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream, DeviceRepr, LaunchConfig};
use unweight_gpu::kernels::{Launch, LaunchStream, WARP};
use unweight_gpu::{Device, GpuError};

use crate::job::PlanesJob;
use crate::layout::Shape;
use crate::{MatmulError, modules};

/// Size of the kernels' index table in bytes.
const INDEX_TABLE_BYTES: u32 = 256;
/// Size of the counts of exponents in bytes.
const COUNTS_BYTES: u32 = 1024;
/// Number of warps that share a row panel when a matrix is restored.
pub(crate) const RESTORING_WARPS: u32 = 16;

/// The kernels of `kernels/matmul/fragments.cu`.
#[derive(Debug)]
pub(crate) struct FragmentsKernels {
    pub(crate) count_exponents: CudaFunction,
    pub(crate) count_patches: CudaFunction,
    pub(crate) arrange: CudaFunction,
    pub(crate) restore: CudaFunction,
    pub(crate) planes: PlanesKernel,
}

impl FragmentsKernels {
    pub(crate) fn load(device: &Device) -> Result<FragmentsKernels, GpuError> {
        let module = device.load_module(&modules::FRAGMENTS)?;
        Ok(FragmentsKernels {
            count_exponents: module.load_function("count_matrix_exponents")?,
            count_patches: module.load_function("count_patches")?,
            arrange: module.load_function("arrange")?,
            restore: module.load_function("restore")?,
            planes: PlanesKernel(module.load_function("arrange_planes")?),
        })
    }

    /// Launches one of these kernels with a warp for each row panel.
    ///
    /// # Safety
    /// The preconditions of the kernel, which takes this job.
    pub(crate) unsafe fn launch_panels<J: DeviceRepr>(
        &self,
        function: &CudaFunction,
        stream: LaunchStream<'_>,
        shape: Shape,
        job: &J,
    ) -> Result<(), MatmulError> {
        let config = LaunchConfig {
            grid_dim: (shape.panels() as u32, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: INDEX_TABLE_BYTES.max(COUNTS_BYTES),
        };
        // SAFETY: the caller keeps the preconditions.
        unsafe { Launch::of(function).arg(job).launch(stream, config)? };
        Ok(())
    }
}

/// The conversion of planes to K tiles.
#[derive(Debug)]
pub(crate) struct PlanesKernel(CudaFunction);

impl PlanesKernel {
    /// # Safety
    /// The preconditions of the kernel.
    pub(crate) unsafe fn launch(
        &self,
        stream: &Arc<CudaStream>,
        shape: Shape,
        job: &PlanesJob,
    ) -> Result<(), MatmulError> {
        let config = LaunchConfig {
            grid_dim: (shape.panels() as u32 * RESTORING_WARPS, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: INDEX_TABLE_BYTES,
        };
        // SAFETY: the caller keeps the preconditions.
        unsafe { Launch::of(&self.0).arg(job).launch(stream, config)? };
        Ok(())
    }
}
