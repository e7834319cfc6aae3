//! Conversion of records to records of the other encoding.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_format::Encoding;

use crate::encode::{Encoder, config};
use crate::encode_plan::{
    LENGTH_WARPS, PALETTE_SHARED_BYTES, encode_threads_of_records, transcode_shared_bytes,
};
use crate::kernels::Launch;
use crate::plan::WARP;
use crate::{EncodeBatch, GpuError};

impl EncodeBatch {
    /// Launches the conversion of the sources' records. Errors in these are written to `status`.
    /// `detour` is set to 1 if the fallback by exponent planes is needed. Returns at once.
    ///
    /// # Errors
    /// The errors of [`EncodeBatch::encode`].
    ///
    /// # Safety
    /// Every job must have a source of the other encoding that `DeviceTensor` has checked.
    /// `stage_bytes` must be a multiple of 16, with room for the longest record up to the usual
    /// limit. This batch must keep the memory at `status` and `detour`.
    pub(crate) unsafe fn encode_records(
        &mut self,
        stream: &Arc<CudaStream>,
        stage_bytes: u32,
        status: u64,
        detour: u64,
    ) -> Result<(), GpuError> {
        self.0.launch(stream, |batch| {
            batch.is_encoded = false;
            // SAFETY: the caller keeps the preconditions.
            unsafe { batch.encode_records(stream, stage_bytes, status, detour)? };
            batch.is_encoded = true;
            Ok(())
        })
    }
}

impl Encoder {
    /// # Safety
    /// The caller's preconditions.
    unsafe fn encode_records(
        &self,
        stream: &CudaStream,
        stage_bytes: u32,
        status: u64,
        detour: u64,
    ) -> Result<(), GpuError> {
        if self.chunk_count == 0 {
            return Ok(());
        }
        let (job_count, chunk_count) = (self.tensors.len() as u32, self.chunk_count);
        let (jobs, kernels) = (&self.jobs, &self.kernels.of_records);
        let constants = &self.checksum.constants;
        self.zero_totals(stream)?;
        // SAFETY: the preconditions at the heads of transcode.cu, histogram.cu, code_lengths.cu and
        // encode.cu are those of the caller and of `EncodeBatch::encode`.
        unsafe {
            if self.encoding == Encoding::Palette {
                let blocks = chunk_count.div_ceil(LENGTH_WARPS);
                Launch::of(&kernels.palette_record_ends)
                    .buffer(jobs)
                    .arg(&job_count)
                    .arg(&chunk_count)
                    .arg(&detour)
                    .launch(stream, config(blocks, LENGTH_WARPS * WARP, 0))?;
                let shared_bytes = transcode_shared_bytes(stage_bytes);
                Launch::of(&kernels.huffman_to_palette)
                    .buffer(jobs)
                    .arg(&job_count)
                    .arg(&stage_bytes)
                    .buffer(constants)
                    .arg(&status)
                    .arg(&detour)
                    .launch(stream, config(chunk_count, WARP, shared_bytes))?;
            } else {
                let count = config(chunk_count, WARP, PALETTE_SHARED_BYTES);
                Launch::of(&kernels.count_indices)
                    .buffer(jobs)
                    .arg(&job_count)
                    .buffer(constants)
                    .arg(&status)
                    .arg(&detour)
                    .launch(stream, count)?;
                self.choose_codes(stream, false)?;
                let mut pack = self.pack_config();
                pack.block_dim.0 = encode_threads_of_records(self.largest_log2);
                self.pack(stream, &kernels.encode_chunks, pack)?;
            }
        }
        Ok(())
    }
}
