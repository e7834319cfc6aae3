//! A BF16 tensor that can be decoded again without a status.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, LaunchConfig};

use super::job::{TensorJob, has_coded_exponent};
use super::jobs::{Class, table_bytes};
use super::kernels::{FieldKernels, TensorKernels};
use super::plan::{stage_bytes, warps_of_block};
use super::{Batch, DecodeKernels, DecodeTask, DeviceTensor, status};
use crate::kernels::{Launch, WARP};
use crate::memory::DeviceBuffer;
use crate::{Device, GpuError};

/// A BF16 tensor with a coded exponent in device memory, whose records were all checked. Launches
/// that decode it cannot fail, so they need no status, and may be part of a graph.
///
/// It is for crates that use weights of a tensor again and again. [`Batch`] is for everything else.
#[derive(Debug)]
pub struct CheckedTensor {
    tensor: Arc<DeviceTensor>,
    to_weights: Decoder,
    to_exponents: Decoder,
    chunks: u32,
    /// The status word of launches. None writes it, because the records were checked before.
    status: DeviceBuffer<u64>,
}

/// Kernels of the tensor, and the shared memory of a warp.
#[derive(Debug)]
struct Decoder {
    kernels: TensorKernels,
    /// The number of coded fields, if the kernels take it.
    fields: Option<u32>,
    table_bytes: u32,
    stage_bytes: u32,
}

impl Decoder {
    fn new(tensor: &DeviceTensor, class: Class, kernels: TensorKernels) -> Decoder {
        let payload = tensor.payload();
        let fields = payload.forms().coded_count() as u32;
        let table_bytes = table_bytes(class, fields);
        let chunk_weights = payload.weights().min(1 << payload.chunk_size_log2());
        Decoder {
            kernels,
            fields: matches!(class, Class::Fields(_)).then_some(fields),
            table_bytes,
            stage_bytes: stage_bytes(tensor.longest_records_bytes(), chunk_weights, table_bytes),
        }
    }
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
    ///
    /// # Panics
    /// If the tensor has another type than BF16, or its exponent is not coded.
    pub fn decode(device: &Device, tensor: Arc<DeviceTensor>) -> Result<DecodedTensor, GpuError> {
        let (own, payload) = (device.own_stream(), tensor.payload());
        assert!(
            has_coded_exponent(payload),
            "a tensor of {:?}, expected BF16 with a coded exponent",
            payload.forms()
        );
        // The caller gets this memory, and with it its stream, which must not be the private one.
        let stream = device.stream()?;
        // SAFETY: the decoder writes every weight before anything reads it.
        let weights = unsafe { stream.alloc::<u8>(tensor.data_bytes() as usize)? };
        let mut batch = Batch::to_weights(device, vec![DecodeTask::new(&tensor, weights)])?;
        batch.check_chunks(own)?.defer_status();
        batch.decode(own)?.finish()?;
        let weights = batch.into_outputs()?.remove(0);
        let status = DeviceBuffer::new(own.clone_htod(&[status::GOOD])?, own);
        own.synchronize()?;
        let kernels = device.kernels::<DecodeKernels>()?;
        let to_exponents = kernels.exponents_of_tensor.clone();
        let (class, to_weights) = match payload.forms().is_bf16_exponent() {
            true => (Class::Bf16, kernels.weights_of_tensor.clone()),
            false => {
                let kernels = device.kernels::<FieldKernels>()?;
                (Class::Fields(1), kernels.weights_of_tensor.clone())
            }
        };
        let tensor = CheckedTensor {
            to_weights: Decoder::new(&tensor, class, to_weights),
            to_exponents: Decoder::new(&tensor, Class::Exponents, to_exponents),
            // A tensor has at most 2^23 chunks.
            chunks: payload.chunk_count() as u32,
            tensor,
            status,
        };
        Ok(DecodedTensor { tensor, weights })
    }

    /// The tensor.
    pub const fn tensor(&self) -> &Arc<DeviceTensor> {
        &self.tensor
    }

    /// The device address of the plain plane: a multiple of 256. It consists of sign-mantissa bytes
    /// if nothing but the exponent is coded or constant.
    pub fn plain(&self) -> u64 {
        self.tensor.addresses().plain
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
        unsafe { self.launch(&self.to_weights, stream, to, multiprocessors) }
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
        unsafe { self.launch(&self.to_exponents, stream, to, multiprocessors) }
    }

    /// # Safety
    /// The preconditions of the callers.
    unsafe fn launch(
        &self,
        decoder: &Decoder,
        stream: &CudaStream,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), GpuError> {
        let tensor = &self.tensor;
        let (payload, palettes) = (tensor.payload(), tensor.palettes());
        let job = TensorJob::new(payload, palettes, tensor.addresses(), to, 0, 0);
        let kernels = &decoder.kernels;
        let warp_bytes = decoder.table_bytes + decoder.stage_bytes;
        let with_memory = |launch: Launch<'_>, config| {
            let launch = launch.arg(&decoder.stage_bytes);
            let launch = match &decoder.fields {
                Some(fields) => launch.arg(fields),
                None => launch,
            };
            // SAFETY: the same as in `Batch`; the job is given by value, and the status word is the
            // tensor's own. Every warp has tables and a stage.
            unsafe { launch.buffer(&self.status).launch(stream, config) }
        };
        let Some(blocks) = multiprocessors else {
            let config = LaunchConfig {
                grid_dim: (self.chunks, 1, 1),
                block_dim: (WARP, 1, 1),
                shared_mem_bytes: warp_bytes,
            };
            return with_memory(Launch::of(&kernels.block_for_each_chunk).arg(&job), config);
        };
        let warps = warps_of_block(kernels.shared_bytes, warp_bytes);
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
            .arg(&warps);
        with_memory(launch, config)
    }
}
