//! A matrix in fragment form, in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DevicePtr, LaunchConfig, PushKernelArg};
use unweight_format::Palette;
use unweight_gpu::kernels::{DeviceBuffer, Handover, WARP, WaitAtEnd, require_context};
use unweight_gpu::{Device, DeviceTensor};

use crate::decoded::{coded_exponents, decode, most_frequent_exponents, require_matrix};
use crate::fragments_kernels::{INDEX_TABLE_BYTES, RESTORING_WARPS};
use crate::job::FragmentsJob;
use crate::kernels::MatmulKernels;
use crate::layout::{Arranged, Shape};
use crate::{MatmulError, View, ViewMut};

/// Patches of a matrix in device memory.
#[derive(Debug)]
pub(crate) struct Patches {
    words: DeviceBuffer<u32>,
    ends: DeviceBuffer<u32>,
    count: u64,
}

/// Addresses of patches, and of the ends of each row panel's patches.
#[derive(Clone, Copy)]
pub(crate) struct PatchAddresses {
    pub(crate) words: u64,
    pub(crate) ends: u64,
}

impl Patches {
    pub(crate) fn bytes(&self) -> u64 {
        (self.words.memory().num_bytes() + self.ends.memory().num_bytes()) as u64
    }

    pub(crate) const fn addresses(&self) -> PatchAddresses {
        PatchAddresses {
            words: self.words.address(),
            ends: self.ends.address(),
        }
    }
}

/// A matrix in [fragment form](crate::layout), in device memory.
#[derive(Debug)]
pub struct Fragments {
    kernels: Arc<MatmulKernels>,
    shape: Shape,
    palette: Palette,
    k_tiles: DeviceBuffer<u8>,
    patches: Patches,
}

impl Fragments {
    /// Decodes a BF16 tensor of this shape in any forms, with a check of every record and of all
    /// chunk and block checksums, and converts it to fragment form. The palette is that of the
    /// tensor's exponents if these are coded, and otherwise one of the most frequent exponents.
    /// Waits for that, so it is meant for load time. It takes 2 bytes of device memory for each
    /// weight meanwhile.
    ///
    /// # Errors
    /// [`MatmulError::NotBf16`] for a tensor of another type;
    /// [`GpuError::BadChunk`](unweight_gpu::GpuError::BadChunk); the errors of
    /// [`Fragments::arrange`].
    pub fn of_tensor(
        device: &Device,
        tensor: &Arc<DeviceTensor>,
        shape: Shape,
    ) -> Result<Fragments, MatmulError> {
        require_matrix(tensor, shape)?;
        let weights = decode(device, tensor)?;
        let palette = match coded_exponents(tensor.palettes()) {
            Some(palette) => *palette,
            None => most_frequent_exponents(&weights)?,
        };
        let matrix = View::slice(&weights, weights.stream());
        Fragments::arrange(device, &matrix, shape, palette)
    }

    /// Converts a row-major BF16 matrix to fragment form with this palette of exponents, for
    /// instance that of its tensor. Waits for that, so it is meant for load time.
    ///
    /// # Errors
    /// [`MatmulError::NotOfExponents`] for the palette of another field;
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) if the length of the matrix does not match the shape;
    /// [`MatmulError::TooManyPatches`] if the palette lacks the exponents of more than one weight
    /// in 16; [`GpuError::OtherContext`](unweight_gpu::GpuError::OtherContext); [`GpuError::NoKernels`](unweight_gpu::GpuError::NoKernels) and [`GpuError::Compile`](unweight_gpu::GpuError::Compile); the
    /// errors of the driver.
    pub fn arrange(
        device: &Device,
        matrix: &View<'_>,
        shape: Shape,
        palette: Palette,
    ) -> Result<Fragments, MatmulError> {
        matrix.require(shape.weights())?;
        if palette.width() != u8::BITS {
            return Err(MatmulError::NotOfExponents(palette.width()));
        }
        // SAFETY: nobody captures the stream, and its memory stays in this type.
        let stream = unsafe { device.private_stream() };
        if let Some(memory) = matrix.memory() {
            require_context(memory.context(), device.context())?;
            let handover = Handover::new(device.context())?;
            // The matrix may still be in the process of being written.
            let _ = memory.device_ptr(handover.stream());
            handover.finish()?;
        }
        // The matrix is borrowed, and two launches assume that it does not change between them.
        let _waiting = WaitAtEnd(stream);
        let kernels = device.kernels::<MatmulKernels>()?;
        let panels = shape.panels() as usize;
        // SAFETY: `arrange` writes every byte of the K tiles, and `count_patches` every count,
        // before anything reads them.
        let (k_tiles, mut patch_ends) = unsafe {
            (
                stream.alloc::<u8>(shape.k_tile_bytes() as usize)?,
                stream.alloc::<u32>(panels)?,
            )
        };
        let mut job = FragmentsJob {
            matrix: matrix.address(),
            weights: k_tiles.device_ptr(stream).0,
            patch_ends: patch_ends.device_ptr(stream).0,
            ..FragmentsJob::new(shape, &palette)
        };
        let config = LaunchConfig {
            grid_dim: (panels as u32, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: INDEX_TABLE_BYTES,
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: `View` is aligned
        // and has the length of the shape, and `Shape` bounds everything else.
        unsafe {
            let mut launch = stream.launch_builder(&kernels.fragments.count_patches);
            launch.arg(&job).launch(config)?;
        }
        let mut ends = stream.clone_dtoh(&patch_ends)?;
        stream.synchronize()?;
        let patch_count = ends.iter().map(|&count| u64::from(count)).sum();
        shape.require_few_patches(patch_count)?;
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        stream.memcpy_htod(&ends, &mut patch_ends)?;
        // SAFETY: `arrange` writes as many patches as were counted.
        let patches = unsafe { stream.alloc::<u32>(patch_count.max(1) as usize)? };
        job.patches = patches.device_ptr(stream).0;
        // SAFETY: as above.
        unsafe {
            let mut launch = stream.launch_builder(&kernels.fragments.arrange);
            launch.arg(&job).launch(config)?;
        }
        // A matmul may read weights before the previous launch has ended, so they must be complete
        // here.
        stream.synchronize()?;
        Ok(Fragments {
            kernels,
            shape,
            palette,
            k_tiles: DeviceBuffer::new(k_tiles, stream),
            patches: Patches {
                words: DeviceBuffer::new(patches, stream),
                ends: DeviceBuffer::new(patch_ends, stream),
                count: patch_count,
            },
        })
    }

    /// Launches the conversion back to the row-major BF16 matrix. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an output that is too short; the errors of the driver.
    ///
    /// # Safety
    /// The matrix and the output must exist, and nobody else may use the output, until
    /// the launch is done. If the stream is capturing, that holds until the last launch of the
    /// graph is done.
    pub unsafe fn restore(
        &self,
        stream: &Arc<CudaStream>,
        to: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        to.require(2 * self.shape.weights())?;
        let PatchAddresses { words, ends } = self.patches.addresses();
        let job = FragmentsJob {
            matrix: to.address(),
            weights: self.k_tiles.address(),
            patches: words,
            patch_ends: ends,
            ..FragmentsJob::new(self.shape, &self.palette)
        };
        let config = LaunchConfig {
            grid_dim: (self.shape.panels() as u32 * RESTORING_WARPS, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = stream.launch_builder(&self.kernels.fragments.restore);
        // SAFETY: the same as in `arrange`; the output is aligned and long enough.
        unsafe { launch.arg(&job).launch(config)? };
        Ok(())
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The palette of the indices.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Its size in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.k_tiles.memory().num_bytes() as u64 + self.patches.bytes()
    }

    /// The number of weights whose exponents the palette lacks.
    pub const fn patch_count(&self) -> u64 {
        self.patches.count
    }

    /// The kernels that multiply by this matrix.
    pub(crate) fn kernels(&self) -> &MatmulKernels {
        &self.kernels
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        self.k_tiles.memory().context()
    }

    /// A copy in host memory. Waits for the copy.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn download(&self) -> Result<Arranged, MatmulError> {
        // The stream is the device's own.
        let stream = self.k_tiles.memory().stream();
        let mut patches = stream.clone_dtoh(self.patches.words.memory())?;
        let arranged = Arranged {
            k_tiles: stream.clone_dtoh(self.k_tiles.memory())?,
            patch_ends: stream.clone_dtoh(self.patches.ends.memory())?,
            patches: {
                stream.synchronize()?;
                patches.truncate(self.patches.count as usize);
                patches
            },
        };
        stream.synchronize()?;
        Ok(arranged)
    }

    pub(crate) const fn k_tiles_at(&self) -> u64 {
        self.k_tiles.address()
    }

    pub(crate) const fn patches(&self) -> &Patches {
        &self.patches
    }

    pub(crate) fn into_patches(self) -> Patches {
        self.patches
    }
}
