//! CRC-32 of whole tensors in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, LaunchConfig, PushKernelArg};

use super::ChecksumKernels;
use super::constants::Advance;
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

    /// The CRC-32 of bytes that have the CRC-32 `before`, followed by these chunks, whose CRC-32s
    /// `of_chunks` begins with.
    pub(crate) fn combine(&self, before: u32, of_chunks: &[u32]) -> u32 {
        let Some(last) = self.count().checked_sub(1) else {
            return before;
        };
        let (whole, of_last) = (&of_chunks[..last as usize], of_chunks[last as usize]);
        let advance = Advance::of_bytes(self.chunk_bytes);
        let after = whole
            .iter()
            .fold(before, |sum, chunk| advance.advance(sum) ^ chunk);
        Advance::of_bytes(self.bytes - last * self.chunk_bytes).advance(after) ^ of_last
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
    let combined = tensors
        .iter()
        .map(|tensor| tensor.combine(0, &of_chunks[tensor.first_chunk as usize..]));
    Ok(combined.collect())
}

#[cfg(test)]
mod tests {
    use unweight_format::crc32;

    use super::*;

    #[test]
    fn checksums_of_chunks_combine_to_that_of_the_whole() {
        let bytes: Vec<u8> = (0..3000u32)
            .map(|number| (number * 7 % 251) as u8)
            .collect();
        for length in [0, 1, 511, 512, 513, 1024, 2999] {
            let chunks = TensorChunks::of_bytes(length, 9, 0);
            let (before, behind) = bytes.split_at(bytes.len() - length as usize);
            let of_chunks: Vec<u32> = behind.chunks(512).map(crc32).collect();
            assert_eq!(chunks.combine(crc32(before), &of_chunks), crc32(&bytes));
        }
    }
}
