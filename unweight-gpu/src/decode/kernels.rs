//! The decoder's kernels.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule};

use crate::kernels::{KernelSet, load_with_shared, own};
use crate::{Device, GpuError};

/// The kernels of `kernels/decode/decode.cu`.
#[derive(Debug)]
pub(crate) struct DecodeKernels {
    pub(crate) weights: CudaFunction,
    pub(crate) exponents: CudaFunction,
    pub(super) weights_of_tensor: TensorKernels,
    pub(super) exponents_of_tensor: TensorKernels,
}

/// The kernels of `kernels/decode/fields.cu`.
#[derive(Debug)]
pub(crate) struct FieldKernels {
    /// By the binary logarithm of a weight's bytes.
    pub(super) weights: [CudaFunction; 4],
    /// For weights of two bytes.
    pub(super) weights_of_tensor: TensorKernels,
}

/// Decoders of one tensor. One has a block for each chunk, the other has few blocks that each fill
/// a multiprocessor.
#[derive(Clone, Debug)]
pub(super) struct TensorKernels {
    pub(super) block_for_each_chunk: CudaFunction,
    pub(super) few_blocks: CudaFunction,
    /// Shared memory of each of the few blocks: all that a block may have.
    pub(super) shared_bytes: u32,
}

impl KernelSet for DecodeKernels {
    fn load(device: &Device) -> Result<DecodeKernels, GpuError> {
        let module = device.load_module(&own::DECODE)?;
        let shared_bytes = device.most_shared_bytes()?;
        Ok(DecodeKernels {
            weights: module.load_function("decode_weights")?,
            exponents: module.load_function("decode_exponents")?,
            weights_of_tensor: TensorKernels::load(&module, "decode_weights", shared_bytes)?,
            exponents_of_tensor: TensorKernels::load(&module, "decode_exponents", shared_bytes)?,
        })
    }
}

impl KernelSet for FieldKernels {
    fn load(device: &Device) -> Result<FieldKernels, GpuError> {
        let module = device.load_module(&own::FIELDS)?;
        let shared_bytes = device.most_shared_bytes()?;
        let of_size = |bytes: u32| module.load_function(&format!("decode_fields_{bytes}"));
        Ok(FieldKernels {
            weights: [of_size(1)?, of_size(2)?, of_size(4)?, of_size(8)?],
            weights_of_tensor: TensorKernels::load(&module, "decode_fields_2", shared_bytes)?,
        })
    }
}

impl TensorKernels {
    fn load(
        module: &Arc<CudaModule>,
        name: &str,
        shared_bytes: u32,
    ) -> Result<TensorKernels, GpuError> {
        Ok(TensorKernels {
            block_for_each_chunk: module.load_function(&format!("{name}_of"))?,
            few_blocks: load_with_shared(module, &format!("{name}_in_few_blocks"), shared_bytes)?,
            shared_bytes,
        })
    }
}
