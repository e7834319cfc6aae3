//! A matrix in fragment form, in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use unweight_format::Palette;

use super::job::{FragmentsJob, PlanesJob};
use super::layout::{Arranged, Shape};
use crate::image::Images;
use crate::in_flight::{Handover, WaitAtEnd, require_context};
use crate::plan::WARP;
use crate::{Device, GpuError, View, ViewMut, image};

/// A patch takes 4 bytes and some ten instructions; a matrix with more of them than one weight in this many is not worth having in fragment form.
const WEIGHTS_PER_PATCH: u64 = 16;
/// Bytes of the kernels' table of indices.
const INDEX_TABLE_BYTES: u32 = 256;
/// Warps that share a strip when a matrix is restored.
const RESTORING_WARPS: u32 = 16;

/// The kernels of `kernels/matmul/fragments.cu`.
#[derive(Debug)]
pub(crate) struct FragmentsKernels {
    count_patches: CudaFunction,
    arrange: CudaFunction,
    restore: CudaFunction,
    pub(super) planes: PlanesKernel,
}

impl FragmentsKernels {
    pub(crate) fn load(
        context: &Arc<CudaContext>,
        images: &Images,
    ) -> Result<FragmentsKernels, GpuError> {
        let module = images.load(context, &image::FRAGMENTS)?;
        Ok(FragmentsKernels {
            count_patches: module.load_function("count_patches")?,
            arrange: module.load_function("arrange")?,
            restore: module.load_function("restore")?,
            planes: PlanesKernel(module.load_function("arrange_planes")?),
        })
    }
}

/// Units out of planes.
#[derive(Debug)]
pub(super) struct PlanesKernel(CudaFunction);

impl PlanesKernel {
    /// # Safety
    /// The kernel's preconditions.
    pub(super) unsafe fn launch(
        &self,
        stream: &Arc<CudaStream>,
        shape: Shape,
        job: &PlanesJob,
    ) -> Result<(), GpuError> {
        let config = LaunchConfig {
            grid_dim: (shape.strips() as u32 * RESTORING_WARPS, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: INDEX_TABLE_BYTES,
        };
        let mut launch = stream.launch_builder(&self.0);
        // SAFETY: the caller's.
        unsafe { launch.arg(job).launch(config)? };
        Ok(())
    }
}

/// Patches of a matrix, in device memory. Addresses are kept, as launches ask for nothing else.
#[derive(Debug)]
pub(super) struct Patches {
    words: CudaSlice<u32>,
    ends: CudaSlice<u32>,
    count: u64,
    words_at: u64,
    ends_at: u64,
}

impl Patches {
    fn new(
        stream: &CudaStream,
        words: CudaSlice<u32>,
        ends: CudaSlice<u32>,
        count: u64,
    ) -> Patches {
        let words_at = words.device_ptr(stream).0;
        let ends_at = ends.device_ptr(stream).0;
        Patches {
            words_at,
            ends_at,
            words,
            ends,
            count,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.words.num_bytes() + self.ends.num_bytes()) as u64
    }

    /// Of patches, and of their ends.
    pub(super) const fn addresses(&self) -> (u64, u64) {
        (self.words_at, self.ends_at)
    }
}

/// A matrix in [fragment form](super::layout), in device memory.
#[derive(Debug)]
pub struct Fragments {
    shape: Shape,
    palette: Palette,
    units: CudaSlice<u8>,
    units_at: u64,
    patches: Patches,
}

impl Fragments {
    /// Brings a row-major BF16 matrix into fragment form, under the palette of its tensor. Waits for that: this is for load time.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if the matrix is not as long as the shape says; [`GpuError::TooManyPatches`] if the palette lacks the exponents of more than
    /// one weight in 16; [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and [`GpuError::Compile`]; the driver's.
    pub fn arrange(
        device: &Device,
        matrix: &View<'_>,
        shape: Shape,
        palette: Palette,
    ) -> Result<Fragments, GpuError> {
        matrix.require(shape.weights())?;
        let stream = device.own_stream();
        if let Some(memory) = matrix.memory() {
            require_context(memory.context(), device.context())?;
            let handover = Handover::new(device.context())?;
            // It may be written still.
            let _ = memory.device_ptr(handover.stream());
            handover.finish()?;
        }
        // The matrix is lent, and two launches suppose that it does not change between them.
        let _waiting = WaitAtEnd(stream);
        let kernels = device.fragments_kernels()?;
        let strips = shape.strips() as usize;
        // SAFETY: `arrange` writes every byte of the units, and `count_patches` every count, before anything reads them.
        let (units, mut patch_ends) = unsafe {
            (
                stream.alloc::<u8>(shape.unit_bytes() as usize)?,
                stream.alloc::<u32>(strips)?,
            )
        };
        let mut job = FragmentsJob {
            matrix: matrix.address(),
            weights: units.device_ptr(stream).0,
            patch_ends: patch_ends.device_ptr(stream).0,
            ..FragmentsJob::new(shape, &palette)
        };
        let config = LaunchConfig {
            grid_dim: (strips as u32, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: INDEX_TABLE_BYTES,
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: `View` is aligned and as long as the shape says, `Shape` bounds the rest.
        unsafe {
            let mut launch = stream.launch_builder(&kernels.count_patches);
            launch.arg(&job).launch(config)?;
        }
        let mut ends = stream.clone_dtoh(&patch_ends)?;
        stream.synchronize()?;
        let patch_count = ends.iter().map(|&count| u64::from(count)).sum();
        if patch_count > shape.weights() / WEIGHTS_PER_PATCH || patch_count > u32::MAX.into() {
            return Err(GpuError::TooManyPatches {
                patches: patch_count,
                weights: shape.weights(),
            });
        }
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        stream.memcpy_htod(&ends, &mut patch_ends)?;
        // SAFETY: `arrange` writes as many as were counted.
        let patches = unsafe { stream.alloc::<u32>(patch_count.max(1) as usize)? };
        job.patches = patches.device_ptr(stream).0;
        // SAFETY: as above.
        unsafe {
            let mut launch = stream.launch_builder(&kernels.arrange);
            launch.arg(&job).launch(config)?;
        }
        // A product may read weights before the launch in front of it has ended: they must be there by then.
        stream.synchronize()?;
        Ok(Fragments {
            shape,
            palette,
            units_at: job.weights,
            units,
            patches: Patches::new(stream, patches, patch_ends, patch_count),
        })
    }

    /// Launches what writes the row-major BF16 matrix again. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; the driver's.
    ///
    /// # Safety
    /// The device, the matrix and the output are there, and the output is nobody else's, until the launch is done; where the stream is capturing, until the
    /// last launch of the graph is.
    pub unsafe fn restore(
        &self,
        device: &Device,
        stream: &Arc<CudaStream>,
        to: &ViewMut<'_>,
    ) -> Result<(), GpuError> {
        to.require(2 * self.shape.weights())?;
        let (patches, patch_ends) = self.patches.addresses();
        let job = FragmentsJob {
            matrix: to.address(),
            weights: self.units_at,
            patches,
            patch_ends,
            ..FragmentsJob::new(self.shape, &self.palette)
        };
        let config = LaunchConfig {
            grid_dim: (self.shape.strips() as u32 * RESTORING_WARPS, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = stream.launch_builder(&device.fragments_kernels()?.restore);
        // SAFETY: as in `arrange`; the output is aligned and long enough.
        unsafe { launch.arg(&job).launch(config)? };
        Ok(())
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The palette of its indices.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Device memory that it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        self.units.num_bytes() as u64 + self.patches.bytes()
    }

    /// Weights whose exponents the palette lacks.
    pub const fn patch_count(&self) -> u64 {
        self.patches.count
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        self.units.context()
    }

    /// A copy in host memory. Waits for it.
    ///
    /// # Errors
    /// The driver's.
    pub fn download(&self) -> Result<Arranged, GpuError> {
        // The device's own.
        let stream = self.units.stream();
        let mut patches = stream.clone_dtoh(&self.patches.words)?;
        let arranged = Arranged {
            units: stream.clone_dtoh(&self.units)?,
            patch_ends: stream.clone_dtoh(&self.patches.ends)?,
            patches: {
                stream.synchronize()?;
                patches.truncate(self.patches.count as usize);
                patches
            },
        };
        stream.synchronize()?;
        Ok(arranged)
    }

    pub(super) const fn units_at(&self) -> u64 {
        self.units_at
    }

    pub(super) const fn patches(&self) -> &Patches {
        &self.patches
    }

    /// Without units.
    pub(super) fn into_patches(self) -> Patches {
        self.patches
    }
}
