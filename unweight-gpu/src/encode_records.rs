//! Records that are made of records, where nothing but their encoding differs.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, PushKernelArg};
use unweight_format::Encoding;

use crate::encode::config;
use crate::encode_plan::{
    COUNT_INDICES_SHARED_BYTES, COUNT_SHARED_BYTES, COUNT_THREADS, LENGTH_WARPS, PALETTE_THREADS,
    encode_threads_of_records, transcode_shared_bytes,
};
use crate::plan::WARP;
use crate::{EncodeBatch, GpuError};

impl EncodeBatch<'_> {
    /// Launches what makes records of the jobs' sources. `status` gets what is wrong with these, and `detour` a 1 if records have to be made by way of
    /// exponent planes instead. Returns at once.
    ///
    /// # Safety
    /// Every job has a source, of the other encoding, which `Resident` has checked; its longest record, within reason, has `stage_bytes` bytes, a multiple of 16.
    pub(crate) unsafe fn encode_records(
        &mut self,
        stream: &Arc<CudaStream>,
        stage_bytes: u32,
        status: &mut CudaSlice<u64>,
        detour: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        if self.chunk_count == 0 {
            return Ok(());
        }
        let (job_count, chunk_count) = (self.tensors.len() as u32, self.chunk_count);
        let kernels = &self.kernels.of_records;
        stream.memset_zeros(&mut self.totals)?;
        // SAFETY: the preconditions at the heads of transcode.cu, histogram.cu, code_lengths.cu and encode.cu: the caller's, and those of `EncodeBatch::encode`.
        unsafe {
            if self.encoding == Encoding::Palette {
                stream
                    .launch_builder(&kernels.palette_record_lengths)
                    .arg(&self.jobs)
                    .arg(&job_count)
                    .arg(&chunk_count)
                    .arg(&mut *detour)
                    .launch(config(
                        chunk_count.div_ceil(LENGTH_WARPS),
                        LENGTH_WARPS * WARP,
                        0,
                    ))?;
                self.end_records(stream)?;
                stream
                    .launch_builder(&kernels.huffman_to_palette)
                    .arg(&self.jobs)
                    .arg(&job_count)
                    .arg(&stage_bytes)
                    .arg(&self.device.crc_constants)
                    .arg(status)
                    .launch(config(
                        chunk_count,
                        WARP,
                        transcode_shared_bytes(stage_bytes),
                    ))?;
            } else {
                stream
                    .launch_builder(&kernels.count_indices)
                    .arg(&self.jobs)
                    .arg(&job_count)
                    .arg(&self.device.crc_constants)
                    .arg(status)
                    .launch(config(
                        chunk_count,
                        COUNT_THREADS,
                        COUNT_INDICES_SHARED_BYTES,
                    ))?;
            }
            stream
                .launch_builder(&kernels.confirm_palettes)
                .arg(&mut self.jobs)
                .arg(detour)
                .launch(config(job_count, PALETTE_THREADS, COUNT_SHARED_BYTES))?;
            if self.encoding == Encoding::Huffman {
                self.choose_codes(stream, false)?;
                let mut pack = self.pack_config();
                pack.block_dim.0 = encode_threads_of_records(self.largest_log2);
                stream
                    .launch_builder(&kernels.encode_chunks)
                    .arg(&self.jobs)
                    .arg(&job_count)
                    .arg(&self.tensor_codes)
                    .arg(&self.device.crc_constants)
                    .launch(pack)?;
            }
        }
        Ok(self.running.on(stream)?)
    }
}
