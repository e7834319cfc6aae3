//! A coded tensor that can be decoded again without a status.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, LaunchConfig};

use super::job::TensorJob;
use super::kernels::TensorKernels;
use super::plan::{TABLE_BYTES, stage_bytes, warps_of_block};
use super::{Batch, DecodeKernels, DecodeTask, DeviceTensor, status};
use crate::kernels::{Launch, WARP};
use crate::memory::DeviceBuffer;
use crate::{Device, GpuError};

/// A coded tensor in device memory whose records were all checked. Launches that decode it cannot
/// fail, so they need no status, and may be part of a graph.
///
/// It is for crates that use weights of a tensor again and again. [`Batch`] is for everything else.
#[derive(Debug)]
pub struct CheckedTensor {
    tensor: Arc<DeviceTensor>,
    kernels: Arc<DecodeKernels>,
    chunks: u32,
    stage_bytes: u32,
    /// The status word of launches. None writes it, because the records were checked before.
    status: DeviceBuffer<u64>,
}

/// The result of [`CheckedTensor::decode`].
#[derive(Debug)]
pub struct DecodedTensor {
    /// The tensor.
    pub tensor: CheckedTensor,
    /// Its weights: 2 little-endian bytes each, in row-major order.
    pub weights: CudaSlice<u8>,
}

impl CheckedTensor {
    /// Decodes a tensor with a check of every chunk checksum and every record. The checksum of the
    /// whole tensor is not compared. Waits for that, so it is meant for load time.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`]; [`GpuError::OtherContext`]; the errors of the driver, including out
    /// of memory.
    pub fn decode(device: &Device, tensor: Arc<DeviceTensor>) -> Result<DecodedTensor, GpuError> {
        let own = device.own_stream();
        let planes = tensor.planes();
        // The caller gets this memory, and with it its stream, which must not be the private one.
        let stream = device.stream()?;
        // SAFETY: the decoder writes every weight before anything reads it.
        let weights = unsafe { stream.alloc::<u8>(2 * planes.weights() as usize)? };
        let mut batch = Batch::to_weights(device, vec![DecodeTask::new(&tensor, weights)])?;
        batch.check_chunks(own)?.defer_status();
        batch.decode(own)?.finish()?;
        let weights = batch.into_outputs()?.remove(0);
        let chunk_weights = planes.weights().min(1 << planes.chunk_size_log2());
        let status = DeviceBuffer::new(own.clone_htod(&[status::GOOD])?, own);
        own.synchronize()?;
        let tensor = CheckedTensor {
            kernels: device.kernels()?,
            stage_bytes: stage_bytes(tensor.longest_record_bytes(), chunk_weights),
            // A tensor has at most 2^23 chunks.
            chunks: planes.chunk_count() as u32,
            tensor,
            status,
        };
        Ok(DecodedTensor { tensor, weights })
    }

    /// The tensor.
    pub const fn tensor(&self) -> &Arc<DeviceTensor> {
        &self.tensor
    }

    /// The device address of the sign-mantissa plane: a multiple of 256.
    pub fn sign_mantissa(&self) -> u64 {
        self.tensor.addresses().sign_mantissa
    }

    /// Launches the decoder with BF16 weights as output. Returns at once.
    ///
    /// With `multiprocessors`, it takes at most that many, and fills each of them, so that a
    /// concurrent launch has the others to itself.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// This value must exist until the launch is done. The 2 bytes for each weight at `to` must be
    /// 16-byte aligned, and nobody else may use them until then. If the stream is capturing, that
    /// holds until the last launch of the graph is done.
    pub unsafe fn decode_weights(
        &self,
        stream: &CudaStream,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), GpuError> {
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.launch(&self.kernels.weights_of_tensor, stream, to, multiprocessors) }
    }

    /// Same as [`CheckedTensor::decode_weights`], but with a plane of exponents as output.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`CheckedTensor::decode_weights`], with one byte for each weight.
    pub unsafe fn decode_exponents(
        &self,
        stream: &CudaStream,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), GpuError> {
        // SAFETY: the caller keeps the preconditions.
        unsafe {
            self.launch(
                &self.kernels.exponents_of_tensor,
                stream,
                to,
                multiprocessors,
            )
        }
    }

    /// # Safety
    /// The preconditions of the callers.
    unsafe fn launch(
        &self,
        kernels: &TensorKernels,
        stream: &CudaStream,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), GpuError> {
        let job = TensorJob::new(self.tensor.planes(), self.tensor.addresses(), to, 0, 0);
        let Some(blocks) = multiprocessors else {
            let config = LaunchConfig {
                grid_dim: (self.chunks, 1, 1),
                block_dim: (WARP, 1, 1),
                shared_mem_bytes: TABLE_BYTES + self.stage_bytes,
            };
            let launch = Launch::of(&kernels.block_for_each_chunk)
                .arg(&job)
                .arg(&self.stage_bytes)
                .buffer(&self.status);
            // SAFETY: the same as in `Batch`; the job is given by value, and the status word is the
            // tensor's own.
            return unsafe { launch.launch(stream, config) };
        };
        let warps = warps_of_block(kernels.shared_bytes, self.stage_bytes);
        let blocks = blocks.min(self.chunks.div_ceil(warps));
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (WARP * warps, 1, 1),
            // The block takes all shared memory, so that it is alone on its multiprocessor.
            shared_mem_bytes: kernels.shared_bytes,
        };
        let launch = Launch::of(&kernels.few_blocks)
            .arg(&job)
            .arg(&self.chunks)
            .arg(&blocks)
            .arg(&warps)
            .arg(&self.stage_bytes)
            .buffer(&self.status);
        // SAFETY: the same as above; every warp has a table and a stage.
        unsafe { launch.launch(stream, config) }
    }
}
