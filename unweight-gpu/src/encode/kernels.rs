//! The encoder's kernels.

use cudarc::driver::CudaFunction;
use unweight_format::limits;

use super::plan::encode_shared_bytes;
use crate::kernels::{KernelSet, load_with_shared, own};
use crate::{Device, GpuError};

/// The encoder's kernels, in the order in which a batch launches them.
#[derive(Debug)]
pub(super) struct EncodeKernels {
    pub(super) of_weights: SourceKernels,
    pub(super) of_planes: SourceKernels,
    pub(super) choose_codes: CudaFunction,
}

/// The kernels that read the source.
#[derive(Debug)]
pub(super) struct SourceKernels {
    pub(super) count_exponents: CudaFunction,
    pub(super) encode_chunks: CudaFunction,
}

impl KernelSet for EncodeKernels {
    fn load(device: &Device) -> Result<EncodeKernels, GpuError> {
        let histogram = device.load_module(&own::HISTOGRAM)?;
        let code_lengths = device.load_module(&own::CODE_LENGTHS)?;
        Ok(EncodeKernels {
            of_weights: SourceKernels {
                count_exponents: histogram.load_function("count_exponents")?,
                encode_chunks: load_chunk_encoder(device, "encode_chunks")?,
            },
            of_planes: SourceKernels {
                count_exponents: histogram.load_function("count_exponents_of_planes")?,
                encode_chunks: load_chunk_encoder(device, "encode_chunks_of_planes")?,
            },
            choose_codes: code_lengths.load_function("choose_codes")?,
        })
    }
}

/// A kernel of `kernels/encode/encode.cu`, for chunks of every size.
pub(crate) fn load_chunk_encoder(device: &Device, name: &str) -> Result<CudaFunction, GpuError> {
    let largest = (*limits::CHUNK_SIZE_LOG2.end()).into();
    let module = device.load_module(&own::ENCODE)?;
    load_with_shared(&module, name, encode_shared_bytes(largest))
}
