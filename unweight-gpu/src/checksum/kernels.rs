//! The kernels of checksums, and their constants.

use cudarc::driver::CudaFunction;

use super::constants;
use crate::kernels::{KernelSet, own};
use crate::memory::DeviceBuffer;
use crate::{Device, GpuError};

/// The kernels of `kernels/checksum/checksum.cu`.
#[derive(Debug)]
pub(crate) struct ChecksumKernels {
    pub(crate) check_chunks: CudaFunction,
    pub(crate) check_blocks: CudaFunction,
    pub(crate) weights: CudaFunction,
    /// `CrcConstants` in `kernels/abi/crc_constants.cuh`, which other kernels take too.
    pub(crate) constants: DeviceBuffer<u32>,
}

impl KernelSet for ChecksumKernels {
    fn load(device: &Device) -> Result<ChecksumKernels, GpuError> {
        let own = device.own_stream();
        let module = device.load_module(&own::CHECKSUM)?;
        let constants = own.clone_htod(constants::words())?;
        own.synchronize()?;
        Ok(ChecksumKernels {
            check_chunks: module.load_function("check_chunks")?,
            check_blocks: module.load_function("check_blocks")?,
            weights: module.load_function("checksum_weights")?,
            constants: DeviceBuffer::new(constants, own),
        })
    }
}
