//! A matrix in fragment form in device memory, whoever owns that.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, LaunchConfig};
use unweight_gpu::Device;
use unweight_gpu::kernels::{LaunchStream, WARP};

use crate::exponent_tables::{StoredPalette, TableAddresses};
use crate::fragments_kernels::RESTORING_WARPS;
use crate::job::{ExponentCountsJob, FragmentsJob};
use crate::kernels::MatmulKernels;
use crate::layout::Shape;
use crate::{Fragments, MatmulError, View, ViewMut};

/// The kernels of a device for matrices in memory that others own ([`FragmentsRef::at`]).
#[derive(Clone, Debug)]
pub struct MatmulDevice {
    context: Arc<CudaContext>,
    kernels: Arc<MatmulKernels>,
}

impl MatmulDevice {
    /// Loads the kernels, if the device has not done so.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`](unweight_gpu::GpuError::NoKernels);
    /// [`GpuError::Compile`](unweight_gpu::GpuError::Compile); the errors of the driver.
    pub fn new(device: &Device) -> Result<MatmulDevice, MatmulError> {
        Ok(MatmulDevice {
            context: device.context().clone(),
            kernels: device.kernels()?,
        })
    }

    /// The context of the device, for streams
    /// ([`CallerStream::for_launches`](unweight_gpu::load::CallerStream::for_launches)).
    pub const fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Launches the addition of the counts of a matrix's exponents to 256 numbers of 64 bits.
    /// Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for a matrix of another shape
    /// or counts that are too short; the errors of the driver.
    ///
    /// # Safety
    /// The stream must be of this device. The matrix and the counts must exist, and nobody else may
    /// use the counts, until the launch is done.
    pub unsafe fn count_exponents<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        matrix: &View<'_>,
        shape: Shape,
        counts: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        matrix.require(shape.weights())?;
        counts.require(ExponentCountsJob::COUNTS_BYTES)?;
        let job = ExponentCountsJob::new(shape, matrix.address(), counts.address());
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: `View` is aligned
        // and has the length of the shape, and `Shape` bounds everything else.
        unsafe {
            let kernels = &self.kernels.fragments;
            kernels.launch_panels(&kernels.count_exponents, stream.into(), shape, &job)
        }
    }
}

/// Memory of a matrix in fragment form, by device address. [`layout`](crate::layout) defines the
/// contents. Wrong contents give wrong weights, but kernels stay within this memory and end.
#[derive(Clone, Copy, Debug)]
pub struct FragmentsMemory {
    /// [`Shape::k_tile_bytes`] bytes, at a multiple of 16.
    pub k_tiles: u64,
    /// `patch_count` words of 4 bytes.
    pub patches: u64,
    /// The number of patches.
    pub patch_count: u32,
    /// A word of 4 bytes for each row panel: the end of its patches.
    pub patch_ends: u64,
    /// The palette, in the way that `stored` says.
    pub palette: u64,
    /// How the palette is stored.
    pub stored: StoredPalette,
}

/// A matrix in fragment form: [`Fragments`], or memory that others own.
#[derive(Clone, Copy, Debug)]
pub struct FragmentsRef<'a> {
    kernels: &'a MatmulKernels,
    context: &'a Arc<CudaContext>,
    shape: Shape,
    k_tiles: u64,
    tables: TableAddresses,
}

impl<'a> FragmentsRef<'a> {
    /// The matrix of this shape in the caller's memory.
    ///
    /// # Safety
    /// The memory must be of this device, and exist until every launch that gets this matrix is
    /// done. Launches of matmuls and of [`FragmentsRef::restore`] read it: it must have been written
    /// before the launch on their stream that precedes the last one before them, because a launch may
    /// read weights while the one before it ends. A copy, or a kernel that does not let others begin
    /// early, is in order in any case.
    ///
    /// # Panics
    /// If an address is not the multiple that [`FragmentsMemory`] says, or words are not at a
    /// multiple of 4.
    pub unsafe fn at(
        device: &'a MatmulDevice,
        shape: Shape,
        memory: FragmentsMemory,
    ) -> FragmentsRef<'a> {
        assert!(memory.k_tiles.is_multiple_of(16), "16-byte loads");
        let words = [memory.patches, memory.patch_ends, memory.palette];
        let palette_is_aligned = memory.stored == StoredPalette::Consecutive;
        let aligned = words.map(|address| address.is_multiple_of(4));
        assert!(aligned[0] && aligned[1], "4-byte loads");
        assert!(aligned[2] || palette_is_aligned, "4-byte loads");
        FragmentsRef {
            kernels: &device.kernels,
            context: &device.context,
            shape,
            k_tiles: memory.k_tiles,
            tables: TableAddresses {
                palette: memory.palette,
                stored: memory.stored,
                patches: memory.patches,
                patch_count: memory.patch_count,
                patch_ends: memory.patch_ends,
            },
        }
    }

    /// `k_tiles` are those of the shape, and all addresses aligned.
    pub(crate) const fn new(
        kernels: &'a MatmulKernels,
        context: &'a Arc<CudaContext>,
        shape: Shape,
        k_tiles: u64,
        tables: TableAddresses,
    ) -> FragmentsRef<'a> {
        FragmentsRef {
            kernels,
            context,
            shape,
            k_tiles,
            tables,
        }
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) const fn kernels(&self) -> &'a MatmulKernels {
        self.kernels
    }

    pub(crate) const fn context(&self) -> &'a Arc<CudaContext> {
        self.context
    }

    pub(crate) const fn k_tiles_at(&self) -> u64 {
        self.k_tiles
    }

    pub(crate) const fn tables(&self) -> &TableAddresses {
        &self.tables
    }

    fn job(&self, matrix: u64) -> FragmentsJob {
        FragmentsJob::new(self.shape, matrix, self.k_tiles, &self.tables)
    }

    /// Launches the conversion back to the row-major BF16 matrix. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an output that is too
    /// short; the errors of the driver.
    ///
    /// # Safety
    /// The stream must be of the matrix's device. The matrix and the output must exist, and nobody
    /// else may use the output, until the launch is done. If the stream is capturing, that holds
    /// until the last launch of the graph is done.
    pub unsafe fn restore<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        to: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        to.require(2 * self.shape.weights())?;
        let config = LaunchConfig {
            grid_dim: (self.shape.panels() as u32 * RESTORING_WARPS, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: 0,
        };
        let (kernels, job) = (&self.kernels.fragments, self.job(to.address()));
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: addresses are
        // aligned, and lengths are those of the shape: `every_pattern_comes_back_from_every_shape`.
        unsafe {
            self.kernels
                .launch(stream.into(), &kernels.restore, config, &job, false)
        }
    }

    /// Launches the count of the weights of a row-major BF16 matrix that take a patch: a word for
    /// each row panel, where the ends of its patches will be. The palette is read, and must be
    /// written. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for a matrix of another
    /// shape; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`FragmentsRef::restore`], with the fragment form in place of the
    /// output.
    pub unsafe fn count_patches<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        matrix: &View<'_>,
    ) -> Result<(), MatmulError> {
        matrix.require(self.shape.weights())?;
        let kernels = &self.kernels.fragments;
        let (function, job) = (&kernels.count_patches, self.job(matrix.address()));
        // SAFETY: as in `restore`.
        unsafe { kernels.launch_panels(function, stream.into(), self.shape, &job) }
    }

    /// Launches the conversion of a row-major BF16 matrix: writes K tiles and patches. The palette
    /// and the ends of each row panel's patches are read: the sums of what
    /// [`FragmentsRef::count_patches`] wrote for this matrix. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for a matrix of another
    /// shape; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`FragmentsRef::count_patches`].
    pub unsafe fn arrange<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        matrix: &View<'_>,
    ) -> Result<(), MatmulError> {
        matrix.require(self.shape.weights())?;
        let kernels = &self.kernels.fragments;
        let (function, job) = (&kernels.arrange, self.job(matrix.address()));
        // SAFETY: as in `restore`.
        unsafe { kernels.launch_panels(function, stream.into(), self.shape, &job) }
    }
}

impl<'a> From<&'a Fragments> for FragmentsRef<'a> {
    fn from(matrix: &'a Fragments) -> FragmentsRef<'a> {
        matrix.by_ref()
    }
}
