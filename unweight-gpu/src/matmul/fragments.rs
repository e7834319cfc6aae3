//! A matrix in fragment form, in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use unweight_format::Palette;

use super::job::{FragmentsJob, PlanesJob};
use super::kernels::MatmulKernels;
use super::layout::{Arranged, Shape};
use crate::kernels::{Handover, KernelSet, WaitAtEnd, own, require_context};
use crate::plan::WARP;
use crate::{Device, GpuError, View, ViewMut};

/// The smallest number of weights for each patch. A patch takes 4 bytes and some ten instructions,
/// so a matrix with more patches is not worth converting to fragment form.
const WEIGHTS_PER_PATCH: u64 = 16;
/// Size of the kernels' index table in bytes.
const INDEX_TABLE_BYTES: u32 = 256;
/// Number of warps that share a row panel when a matrix is restored.
const RESTORING_WARPS: u32 = 16;

/// The kernels of `kernels/matmul/fragments.cu`.
#[derive(Debug)]
pub(crate) struct FragmentsKernels {
    count_patches: CudaFunction,
    arrange: CudaFunction,
    restore: CudaFunction,
    pub(super) planes: PlanesKernel,
}

impl KernelSet for FragmentsKernels {
    fn load(device: &Device) -> Result<FragmentsKernels, GpuError> {
        let module = device.load_module(&own::FRAGMENTS)?;
        Ok(FragmentsKernels {
            count_patches: module.load_function("count_patches")?,
            arrange: module.load_function("arrange")?,
            restore: module.load_function("restore")?,
            planes: PlanesKernel(module.load_function("arrange_planes")?),
        })
    }
}

/// The conversion of planes to K tiles.
#[derive(Debug)]
pub(super) struct PlanesKernel(CudaFunction);

impl PlanesKernel {
    /// # Safety
    /// The preconditions of the kernel.
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
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.arg(job).launch(config)? };
        Ok(())
    }
}

/// Patches of a matrix in device memory. Only addresses are kept, because launches need nothing
/// else.
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

    /// The addresses of the patches and of their ends.
    pub(super) const fn addresses(&self) -> (u64, u64) {
        (self.words_at, self.ends_at)
    }
}

/// A matrix in [fragment form](super::layout), in device memory.
#[derive(Debug)]
pub struct Fragments {
    kernels: Arc<FragmentsKernels>,
    matmul: Arc<MatmulKernels>,
    shape: Shape,
    palette: Palette,
    units: CudaSlice<u8>,
    units_at: u64,
    patches: Patches,
}

impl Fragments {
    /// Converts a row-major BF16 matrix to fragment form with the palette of its tensor. Waits for
    /// that, so it is meant for load time.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if the length of the matrix does not match the shape;
    /// [`GpuError::TooManyPatches`] if the palette lacks the exponents of more than one weight in
    /// 16; [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and [`GpuError::Compile`]; the
    /// errors of the driver.
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
            // The matrix may still be in the process of being written.
            let _ = memory.device_ptr(handover.stream());
            handover.finish()?;
        }
        // The matrix is borrowed, and two launches assume that it does not change between them.
        let _waiting = WaitAtEnd(stream);
        let kernels = device.kernels::<FragmentsKernels>()?;
        let strips = shape.strips() as usize;
        // SAFETY: `arrange` writes every byte of the K tiles, and `count_patches` every count,
        // before anything reads them.
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
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: `View` is aligned
        // and has the length of the shape, and `Shape` bounds everything else.
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
        // SAFETY: `arrange` writes as many patches as were counted.
        let patches = unsafe { stream.alloc::<u32>(patch_count.max(1) as usize)? };
        job.patches = patches.device_ptr(stream).0;
        // SAFETY: as above.
        unsafe {
            let mut launch = stream.launch_builder(&kernels.arrange);
            launch.arg(&job).launch(config)?;
        }
        // A matmul may read weights before the previous launch has ended, so they must be complete
        // here.
        stream.synchronize()?;
        Ok(Fragments {
            kernels,
            matmul: device.kernels()?,
            shape,
            palette,
            units_at: job.weights,
            units,
            patches: Patches::new(stream, patches, patch_ends, patch_count),
        })
    }

    /// Launches the conversion back to the row-major BF16 matrix. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; the errors of the driver.
    ///
    /// # Safety
    /// The device, the matrix and the output must exist, and nobody else may use the output, until
    /// the launch is done. If the stream is capturing, that holds until the last launch of the
    /// graph is done.
    pub unsafe fn restore(
        &self,
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
        let mut launch = stream.launch_builder(&self.kernels.restore);
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
        self.units.num_bytes() as u64 + self.patches.bytes()
    }

    /// The number of weights whose exponents the palette lacks.
    pub const fn patch_count(&self) -> u64 {
        self.patches.count
    }

    /// The kernels that multiply by this matrix.
    pub(super) fn matmul_kernels(&self) -> &MatmulKernels {
        &self.matmul
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        self.units.context()
    }

    /// A copy in host memory. Waits for the copy.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn download(&self) -> Result<Arranged, GpuError> {
        // The stream is the device's own.
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

    /// A job without K tiles.
    pub(super) fn into_patches(self) -> Patches {
        self.patches
    }
}
