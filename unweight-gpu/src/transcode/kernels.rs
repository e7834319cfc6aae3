//! The kernels that convert records to records.

use cudarc::driver::CudaFunction;

use super::plan::MOST_TRANSCODE_SHARED_BYTES;
use crate::encode::load_chunk_encoder;
use crate::kernels::{KernelSet, load_with_shared, own};
use crate::{Device, GpuError};

/// The kernels of `kernels/transcode/transcode.cu`, and the encoder that reads records.
#[derive(Debug)]
pub(super) struct TranscodeKernels {
    pub(super) palette_record_ends: CudaFunction,
    pub(super) huffman_to_palette: CudaFunction,
    pub(super) count_indices: CudaFunction,
    pub(super) encode_chunks: CudaFunction,
}

impl KernelSet for TranscodeKernels {
    fn load(device: &Device) -> Result<TranscodeKernels, GpuError> {
        let module = device.load_module(&own::TRANSCODE)?;
        Ok(TranscodeKernels {
            palette_record_ends: module.load_function("palette_record_ends")?,
            huffman_to_palette: load_with_shared(
                &module,
                "huffman_to_palette",
                MOST_TRANSCODE_SHARED_BYTES,
            )?,
            count_indices: module.load_function("count_indices")?,
            encode_chunks: load_chunk_encoder(device, "encode_chunks_of_records")?,
        })
    }
}
