//! The encoder's kernels.

use cudarc::driver::CudaFunction;
use unweight_format::limits;

use super::plan::encode_shared_bytes;
use crate::kernels::{KernelSet, load_with_shared, own};
use crate::{Device, GpuError};

/// The encoder's kernels for tensors whose forms are known, in the order in which a batch launches
/// them.
#[derive(Debug)]
pub(super) struct EncodeKernels {
    pub(super) split: CudaFunction,
    pub(super) count_exponents: CudaFunction,
    pub(super) count_values: CudaFunction,
    pub(super) choose_codes: CudaFunction,
    pub(super) encode_chunks: CudaFunction,
    pub(super) encode_chunks_of_values: CudaFunction,
}

impl KernelSet for EncodeKernels {
    fn load(device: &Device) -> Result<EncodeKernels, GpuError> {
        let histogram = device.load_module(&own::HISTOGRAM)?;
        let code_lengths = device.load_module(&own::CODE_LENGTHS)?;
        Ok(EncodeKernels {
            split: device.load_module(&own::SPLIT)?.load_function("split")?,
            count_exponents: histogram.load_function("count_exponents")?,
            count_values: histogram.load_function("count_values")?,
            choose_codes: code_lengths.load_function("choose_codes")?,
            encode_chunks: load_chunk_encoder(device, "encode_chunks")?,
            encode_chunks_of_values: load_chunk_encoder(device, "encode_chunks_of_values")?,
        })
    }
}

/// A kernel of `kernels/encode/encode.cu`, for chunks of every size.
pub(crate) fn load_chunk_encoder(device: &Device, name: &str) -> Result<CudaFunction, GpuError> {
    let largest = (*limits::CHUNK_SIZE_LOG2.end()).into();
    let module = device.load_module(&own::ENCODE)?;
    load_with_shared(&module, name, encode_shared_bytes(largest))
}

/// The kernels that choose the forms of fields (`kernels/encode/sample.cu`).
#[derive(Debug)]
pub(super) struct SampleKernels {
    pub(super) count_sample: CudaFunction,
    pub(super) choose_forms: CudaFunction,
    pub(super) find_differing: CudaFunction,
}

impl KernelSet for SampleKernels {
    fn load(device: &Device) -> Result<SampleKernels, GpuError> {
        let module = device.load_module(&own::SAMPLE)?;
        Ok(SampleKernels {
            count_sample: module.load_function("count_sample")?,
            choose_forms: module.load_function("choose_forms")?,
            find_differing: module.load_function("find_differing")?,
        })
    }
}
