//! A matrix that stays coded, as its file has it, in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, LaunchConfig};
use unweight_format::Palette;

use super::Fragments;
use super::fragments::{Patches, PlanesKernel};
use super::job::{FragmentsJob, PlanesJob};
use super::layout::Shape;
use crate::device::OneOrFewBlocks;
use crate::job::{Addresses, TensorJob};
use crate::launch::Launch;
use crate::plan::{TABLE_BYTES, WARP, stage_bytes, warps_of_block};
use crate::{Batch, Device, DeviceTensor, GpuError, View, status};

/// A coded tensor of two dimensions, in device memory: some 10.7 bits a weight where its records are Huffman-coded, and 4 bytes for each patch.
///
/// Its records were checked when it was made, so that launches that decode it need no status.
#[derive(Debug)]
pub struct Coded {
    tensor: Arc<DeviceTensor>,
    at: Addresses,
    shape: Shape,
    chunks: u32,
    stage_bytes: u32,
    /// None if the palette lacks too many exponents for fragment form.
    patches: Option<Patches>,
    /// Where decoding would report what was checked before.
    _status: CudaSlice<u64>,
    status_at: u64,
}

impl Coded {
    /// Takes a tensor of this shape, decodes it once to check every record, and finds its patches. Waits for that: this is for load time, and takes
    /// 3.5 bytes a weight of device memory meanwhile.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if the tensor has not as many weights as the shape; [`GpuError::BadChunk`]; [`GpuError::OtherContext`];
    /// [`GpuError::NoKernels`] and [`GpuError::Compile`]; the driver's.
    pub fn new(
        device: &Device,
        tensor: Arc<DeviceTensor>,
        shape: Shape,
    ) -> Result<Coded, GpuError> {
        let planes = *tensor.planes();
        if planes.weights() != shape.weights() {
            return Err(GpuError::WrongLength {
                needed_bytes: 2 * shape.weights(),
                given_bytes: 2 * planes.weights(),
            });
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
            Err(GpuError::TooManyPatches { .. }) => None,
            Err(error) => return Err(error),
        };
        let chunk_weights = planes.weights().min(1 << planes.chunk_size_log2());
        let no_status = own.clone_htod(&[status::GOOD])?;
        let status_at = no_status.device_ptr(own).0;
        own.synchronize()?;
        Ok(Coded {
            at: tensor.addresses(),
            stage_bytes: stage_bytes(tensor.longest_record_bytes(), chunk_weights),
            // At most 2^23 chunks a tensor.
            chunks: planes.chunk_count() as u32,
            tensor,
            shape,
            patches,
            status_at,
            _status: no_status,
        })
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
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

    /// Whether it can be brought into fragment form: not if its palette lacks the exponents of more than one weight in 16.
    pub const fn has_fragment_form(&self) -> bool {
        self.patches.is_some()
    }

    /// Device memory that it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tensor.bytes() + self.patches.as_ref().map_or(0, Patches::bytes)
    }

    pub(super) const fn sign_mantissa(&self) -> u64 {
        self.at.sign_mantissa
    }

    pub(super) const fn patches(&self) -> Option<&Patches> {
        self.patches.as_ref()
    }

    /// Launches the decoder, to row-major BF16 weights.
    ///
    /// # Safety
    /// The matrix must be there, and the 2 bytes a weight at `to`, 16-byte aligned, nobody else's, until the launch is done.
    pub(super) unsafe fn decode(
        &self,
        device: &Device,
        stream: &Arc<CudaStream>,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), GpuError> {
        // SAFETY: the caller's.
        unsafe { self.launch(&device.state.decode_weights_of, stream, to, multiprocessors) }
    }

    /// Launches the decoder, to a plane of exponents.
    ///
    /// # Safety
    /// As [`Coded::decode`], of one byte a weight.
    pub(super) unsafe fn decode_exponents(
        &self,
        device: &Device,
        stream: &Arc<CudaStream>,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), GpuError> {
        // SAFETY: the caller's.
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
    ) -> Result<(), GpuError> {
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
                .arg(&self.status_at);
            // SAFETY: as in `Batch`; the job is given by value, the status word is the matrix's own.
            unsafe { launch.launch(stream, config)? };
            return Ok(());
        };
        let warps = warps_of_block(kernels.room, self.stage_bytes);
        let blocks = blocks.min(self.chunks.div_ceil(warps));
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (WARP * warps, 1, 1),
            // All of it, so that there is one block on a multiprocessor, and nobody else's.
            shared_mem_bytes: kernels.room,
        };
        let launch = Launch::of(&kernels.few_blocks)
            .arg(&job)
            .arg(&self.chunks)
            .arg(&blocks)
            .arg(&warps)
            .arg(&self.stage_bytes)
            .arg(&self.status_at);
        // SAFETY: as above; every warp has a table and a stage.
        unsafe { launch.launch(stream, config)? };
        Ok(())
    }

    /// Launches what makes units of both planes.
    ///
    /// # Safety
    /// The matrix and a plane of its exponents must be there, and room for its units at `units` nobody else's, until the launch is done.
    pub(super) unsafe fn arrange(
        &self,
        kernel: &PlanesKernel,
        stream: &Arc<CudaStream>,
        exponents: u64,
        units: u64,
    ) -> Result<(), GpuError> {
        let job = PlanesJob {
            exponents,
            sign_mantissa: self.at.sign_mantissa,
            fragments: FragmentsJob {
                weights: units,
                ..FragmentsJob::new(self.shape, self.palette())
            },
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: both planes are aligned and as long as the shape says.
        unsafe { kernel.launch(stream, self.shape, &job) }
    }
}
