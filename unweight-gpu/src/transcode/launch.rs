//! Launches that convert records to records of the other encoding.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::CudaStream;
use unweight_format::Encoding;

use super::kernels::TranscodeKernels;
use super::plan::{
    LENGTH_WARPS, PALETTE_SHARED_BYTES, encode_threads_of_records, transcode_shared_bytes,
};
use crate::GpuError;
use crate::encode::{Encoder, config};
use crate::kernels::{Launch, WARP};
use crate::memory::DeviceBuffer;

/// Arguments of the launches, besides those of the encoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordLaunch<'a> {
    pub(super) kernels: &'a TranscodeKernels,
    /// The encoding of the outputs.
    pub(super) encoding: Encoding,
    /// Shared memory for a record: a multiple of 16.
    pub(super) stage_bytes: u32,
    /// The status word, which gets errors in the sources' records.
    pub(super) status: &'a DeviceBuffer<u64>,
    /// Becomes 1 if the fallback by weights is needed.
    pub(super) needs_fallback: &'a DeviceBuffer<u32>,
}

impl RecordLaunch<'_> {
    /// Launches the conversion of the sources' records. Returns at once.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// Every job must have a source of the other encoding that `DeviceTensor` has checked. The
    /// stage must have the length of the longest record, up to the usual limit. All memory must
    /// exist until the launches are done.
    pub(super) unsafe fn launch(
        self,
        encoder: &Encoder,
        stream: &CudaStream,
    ) -> Result<(), GpuError> {
        if encoder.direct().record_count == 0 {
            return Ok(());
        }
        encoder.zero(stream)?;
        // SAFETY: the caller keeps the preconditions.
        unsafe {
            match self.encoding {
                Encoding::Palette => self.huffman_to_palette(encoder, stream),
                Encoding::Huffman => self.palette_to_huffman(encoder, stream),
            }
        }
    }

    /// # Safety
    /// The preconditions of [`RecordLaunch::launch`].
    unsafe fn huffman_to_palette(
        self,
        encoder: &Encoder,
        stream: &CudaStream,
    ) -> Result<(), GpuError> {
        let group = encoder.direct();
        let (jobs, job_count) = (encoder.jobs_of(group), group.job_count);
        let chunk_count = group.record_count;
        let blocks = chunk_count.div_ceil(LENGTH_WARPS);
        let ends = Launch::of(&self.kernels.palette_record_ends)
            .arg(&jobs)
            .arg(&job_count)
            .arg(&chunk_count)
            .buffer(self.needs_fallback);
        let convert = Launch::of(&self.kernels.huffman_to_palette)
            .arg(&jobs)
            .arg(&job_count)
            .arg(&self.stage_bytes)
            .buffer(&encoder.checksum.constants)
            .buffer(self.status)
            .buffer(self.needs_fallback);
        let shared_bytes = transcode_shared_bytes(self.stage_bytes);
        // SAFETY: the preconditions at the head of transcode.cu are those of the caller and of
        // `EncodeBatch::encode`.
        unsafe {
            ends.launch(stream, config(blocks, LENGTH_WARPS * WARP, 0))?;
            convert.launch(stream, config(chunk_count, WARP, shared_bytes))
        }
    }

    /// # Safety
    /// The preconditions of [`RecordLaunch::launch`].
    unsafe fn palette_to_huffman(
        self,
        encoder: &Encoder,
        stream: &CudaStream,
    ) -> Result<(), GpuError> {
        let group = encoder.direct();
        let (jobs, job_count) = (encoder.jobs_of(group), group.job_count);
        let count = Launch::of(&self.kernels.count_indices)
            .arg(&jobs)
            .arg(&job_count)
            .buffer(&encoder.checksum.constants)
            .buffer(self.status)
            .buffer(self.needs_fallback);
        let threads = encode_threads_of_records(group.largest_log2);
        // SAFETY: the preconditions at the heads of transcode.cu, code_lengths.cu and encode.cu are
        // those of the caller and of `EncodeBatch::encode`.
        unsafe {
            count.launch(
                stream,
                config(group.record_count, WARP, PALETTE_SHARED_BYTES),
            )?;
            encoder.choose_codes(stream, group, false)?;
            encoder.pack(stream, group, &self.kernels.encode_chunks, threads)
        }
    }
}
