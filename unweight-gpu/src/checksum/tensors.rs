//! CRC-32 of whole tensors in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, LaunchConfig, PushKernelArg};

use super::ChecksumKernels;
use crate::GpuError;
use crate::decode::job::TensorJob;
use crate::kernels::WARP;

/// A tensor's chunks in a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorChunks {
    /// Length of the tensor, or of its chunks in the launch, in bytes.
    pub(crate) bytes: u64,
    /// Length of each chunk except the last, in bytes.
    pub(crate) chunk_bytes: u64,
    pub(crate) first_chunk: u32,
}

impl TensorChunks {
    pub(crate) const fn of_weights(
        weights: u64,
        weight_bytes: u64,
        chunk_size_log2: u8,
        first_chunk: u32,
    ) -> Self {
        TensorChunks {
            bytes: weights * weight_bytes,
            chunk_bytes: weight_bytes << chunk_size_log2,
            first_chunk,
        }
    }

    pub(crate) const fn of_bytes(bytes: u64, chunk_bytes_log2: u8, first_chunk: u32) -> Self {
        TensorChunks::of_weights(bytes, 1, chunk_bytes_log2, first_chunk)
    }

    pub(crate) const fn count(&self) -> u64 {
        self.bytes.div_ceil(self.chunk_bytes)
    }

    fn bytes_of(&self, number: u64) -> u64 {
        (self.bytes - number * self.chunk_bytes).min(self.chunk_bytes)
    }
}

/// Warps of a block of `kernels/checksum/checksum.cu`.
const WARPS: u32 = 8;

/// The launch configuration for kernels of `kernels/checksum/checksum.cu`.
pub(crate) fn checksum_config(chunk_count: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (chunk_count.div_ceil(WARPS), 1, 1),
        block_dim: (WARPS * WARP, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// The CRC-32 of every tensor's weights. Waits for its own launch. Other launches on this memory
/// must be done.
///
/// # Safety
/// The first of `jobs` must be the `TensorJob`s of these tensors, in any order, with chunks that are
/// numbered consecutively. The outputs must have all weights.
pub(crate) unsafe fn weight_checksums(
    stream: &Arc<CudaStream>,
    kernels: &ChecksumKernels,
    jobs: &CudaSlice<TensorJob>,
    tensors: &[TensorChunks],
) -> Result<Vec<u32>, GpuError> {
    let (job_count, constants) = (tensors.len() as u32, kernels.constants.address());
    let chunk_count = tensors.iter().map(TensorChunks::count).sum::<u64>() as u32;
    let mut of_chunks = stream.alloc_zeros::<u32>(chunk_count.max(1) as usize)?;
    if chunk_count > 0 {
        let mut launch = stream.launch_builder(&kernels.weights);
        launch
            .arg(jobs)
            .arg(&job_count)
            .arg(&chunk_count)
            .arg(&constants)
            .arg(&mut of_chunks);
        // SAFETY: the caller keeps the preconditions, and there is a word for each chunk; the
        // constants are those that the kernel's head names.
        unsafe { launch.launch(checksum_config(chunk_count))? };
    }
    let of_chunks = stream.clone_dtoh(&of_chunks)?;
    stream.synchronize()?;
    let combined = tensors.iter().map(|tensor| {
        let mut whole = crc32fast::Hasher::new();
        for number in 0..tensor.count() {
            let checksum = of_chunks[(u64::from(tensor.first_chunk) + number) as usize];
            let bytes = tensor.bytes_of(number);
            whole.combine(&crc32fast::Hasher::new_with_initial_len(checksum, bytes));
        }
        whole.finalize()
    });
    Ok(combined.collect())
}
