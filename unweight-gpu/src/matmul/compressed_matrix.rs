//! A coded matrix in device memory, in the layout of its file.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, LaunchConfig};
use unweight_format::Palette;

use super::fragments::{Patches, PlanesKernel};
use super::job::{FragmentsJob, PlanesJob};
use super::layout::Shape;
use super::{Fragments, MatmulError};
use crate::device::OneOrFewBlocks;
use crate::job::{Addresses, TensorJob};
use crate::launch::{DeviceBuffer, Launch};
use crate::plan::{TABLE_BYTES, WARP, stage_bytes, warps_of_block};
use crate::{Batch, Device, DeviceTensor, GpuError, View, status};

/// A coded tensor of two dimensions in device memory. It takes some 10.7 bits for each weight if
/// its records are Huffman-coded, and 4 bytes for each patch.
///
/// Its records were checked when it was created, so launches that decode it need no status.
#[derive(Debug)]
pub struct CompressedMatrix {
    tensor: Arc<DeviceTensor>,
    at: Addresses,
    shape: Shape,
    chunks: u32,
    stage_bytes: u32,
    /// The patches; None if the palette lacks too many exponents for fragment form.
    patches: Option<Patches>,
    /// The status word of launches. It stays unused, because the records were checked before.
    status: DeviceBuffer<u64>,
}

impl CompressedMatrix {
    /// Takes a tensor of this shape, decodes it once to check every record, and finds its patches.
    /// Waits for that, so it is meant for load time. It takes 3.5 bytes of device memory for each
    /// weight meanwhile.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if the numbers of weights of tensor and shape differ;
    /// [`GpuError::BadChunk`]; [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and
    /// [`GpuError::Compile`]; the errors of the driver.
    pub fn new(
        device: &Device,
        tensor: Arc<DeviceTensor>,
        shape: Shape,
    ) -> Result<CompressedMatrix, MatmulError> {
        let planes = *tensor.planes();
        if planes.weights() != shape.weights() {
            return Err(MatmulError::Gpu(GpuError::WrongLength {
                needed_bytes: 2 * shape.weights(),
                given_bytes: 2 * planes.weights(),
            }));
        }
        let own = device.own_stream();
        // SAFETY: the decoder writes every weight before anything reads it.
        let decoded = unsafe { own.alloc::<u8>(2 * shape.weights() as usize)? };
        let mut batch = Batch::to_weights(device, vec![(&tensor, decoded)])?;
        batch.check_chunks(own)?;
        batch.decode(own)?;
        batch.status()?;
        let decoded = batch.into_outputs()?.remove(0);
        let matrix = View::slice(&decoded, own);
        let patches = match Fragments::arrange(device, &matrix, shape, *planes.palette()) {
            Ok(fragments) => Some(fragments.into_patches()),
            Err(MatmulError::TooManyPatches { .. }) => None,
            Err(error) => return Err(error),
        };
        let chunk_weights = planes.weights().min(1 << planes.chunk_size_log2());
        let no_status = own.clone_htod(&[status::GOOD])?;
        let status = DeviceBuffer::new(no_status, own);
        own.synchronize()?;
        Ok(CompressedMatrix {
            at: tensor.addresses(),
            stage_bytes: stage_bytes(tensor.longest_record_bytes(), chunk_weights),
            // A tensor has at most 2^23 chunks.
            chunks: planes.chunk_count() as u32,
            tensor,
            shape,
            patches,
            status,
        })
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        self.tensor.context()
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The tensor's palette.
    pub fn palette(&self) -> &Palette {
        self.tensor.planes().palette()
    }

    /// Whether it can be converted to fragment form. It cannot if its palette lacks the exponents
    /// of more than one weight in 16.
    pub const fn has_fragment_form(&self) -> bool {
        self.patches.is_some()
    }

    /// Its size in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tensor.bytes() + self.patches.as_ref().map_or(0, Patches::bytes)
    }

    pub(crate) const fn sign_mantissa(&self) -> u64 {
        self.at.sign_mantissa
    }

    pub(crate) const fn patches(&self) -> Option<&Patches> {
        self.patches.as_ref()
    }

    /// Launches the decoder with row-major BF16 weights as output.
    ///
    /// # Safety
    /// The matrix must exist until the launch is done. The 2 bytes for each weight at `to` must be
    /// 16-byte aligned, and nobody else may use them until then.
    pub(crate) unsafe fn decode(
        &self,
        device: &Device,
        stream: &Arc<CudaStream>,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), MatmulError> {
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.launch(&device.state.decode_weights_of, stream, to, multiprocessors) }
    }

    /// Launches the decoder with a plane of exponents as output.
    ///
    /// # Safety
    /// The preconditions of [`CompressedMatrix::decode`], with one byte for each weight.
    pub(crate) unsafe fn decode_exponents(
        &self,
        device: &Device,
        stream: &Arc<CudaStream>,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), MatmulError> {
        // SAFETY: the caller keeps the preconditions.
        unsafe {
            self.launch(
                &device.state.decode_exponents_of,
                stream,
                to,
                multiprocessors,
            )
        }
    }

    unsafe fn launch(
        &self,
        kernels: &OneOrFewBlocks,
        stream: &Arc<CudaStream>,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), MatmulError> {
        let job = TensorJob::new(self.tensor.planes(), self.at, to, 0, 0);
        let Some(blocks) = multiprocessors else {
            let config = LaunchConfig {
                grid_dim: (self.chunks, 1, 1),
                block_dim: (WARP, 1, 1),
                shared_mem_bytes: TABLE_BYTES + self.stage_bytes,
            };
            let launch = Launch::of(&kernels.block_for_each_chunk)
                .arg(&job)
                .arg(&self.stage_bytes)
                .arg(&self.status.address);
            // SAFETY: the same as in `Batch`; the job is given by value, and the status word is the
            // matrix's own.
            unsafe { launch.launch(stream, config)? };
            return Ok(());
        };
        let warps = warps_of_block(kernels.room, self.stage_bytes);
        let blocks = blocks.min(self.chunks.div_ceil(warps));
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (WARP * warps, 1, 1),
            // The block takes all shared memory, so that it is alone on its multiprocessor.
            shared_mem_bytes: kernels.room,
        };
        let launch = Launch::of(&kernels.few_blocks)
            .arg(&job)
            .arg(&self.chunks)
            .arg(&blocks)
            .arg(&warps)
            .arg(&self.stage_bytes)
            .arg(&self.status.address);
        // SAFETY: the same as above; every warp has a table and a stage.
        unsafe { launch.launch(stream, config)? };
        Ok(())
    }

    /// Launches the conversion of both planes to K tiles.
    ///
    /// # Safety
    /// The matrix and a plane of its exponents must exist until the launch is done. Nobody else may
    /// use the memory of its K tiles at `k_tiles` until then.
    pub(crate) unsafe fn arrange(
        &self,
        kernel: &PlanesKernel,
        stream: &Arc<CudaStream>,
        exponents: u64,
        k_tiles: u64,
    ) -> Result<(), MatmulError> {
        let job = PlanesJob {
            exponents,
            sign_mantissa: self.at.sign_mantissa,
            fragments: FragmentsJob {
                weights: k_tiles,
                ..FragmentsJob::new(self.shape, self.palette())
            },
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: both planes are
        // aligned and have the length of the shape.
        unsafe { kernel.launch(stream, self.shape, &job) }
    }
}
