//! Matmul with the K tiles of fragment form, whoever made them.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::{CudaFunction, LaunchConfig};
use unweight_gpu::kernels::LaunchStream;

use crate::Activations;
use crate::exponent_tables::{StoredPalette, TableAddresses};
use crate::fused::Fusion;
use crate::job::{LargeMatmulJob, MatmulJob};
use crate::kernels::{DividedKernel, ForPalettes, MatmulKernels};
use crate::layout::Shape;
use crate::schedule::{
    LARGE_THREADS, MOST_LARGE_BATCH, MOST_SMALL_BATCH, SMALL_THREADS, SmallKernel, StreamK,
};
use crate::tensor_map::TensorMap;
use crate::workspace::Sums;
use crate::{Kernel, MatmulError, View, ViewMut};

/// With more rows of x than this, the large-batch kernels are faster for the shapes that they
/// support.
const SMALL_BATCH: u32 = 16;
/// The large-batch kernels are also faster if more blocks than this would share a panel group, and
/// wait for each other's sums.
const MOST_SHARING_BLOCKS: u32 = 4;

/// K tiles in device memory.
pub(super) struct KTiles<'a> {
    pub(super) address: u64,
    pub(super) tables: &'a TableAddresses,
    /// As many values as the matrix has rows.
    pub(super) bias: Option<View<'a>>,
    /// Whether the K tiles were resident before the matmul. They may then be read early, unlike
    /// those that the preceding launch prepares.
    pub(super) is_resident: bool,
    /// What the matmul calculates before and after it.
    pub(super) fusion: Fusion,
}

impl KTiles<'_> {
    fn function<'f>(&self, functions: &'f ForPalettes) -> &'f CudaFunction {
        match self.tables.stored {
            StoredPalette::Consecutive => &functions.consecutive,
            StoredPalette::Any => &functions.any,
        }
    }
}

/// A matmul with a matrix of this shape, by a kernel that is named or estimated.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromKTiles<'a> {
    kernels: &'a MatmulKernels,
    shape: Shape,
    kernel: Kernel,
}

impl<'a> FromKTiles<'a> {
    pub(super) const fn new(kernels: &'a MatmulKernels, shape: Shape) -> FromKTiles<'a> {
        FromKTiles {
            kernels,
            shape,
            kernel: Kernel::Estimated,
        }
    }

    pub(super) const fn with_kernel(self, kernel: Kernel) -> FromKTiles<'a> {
        FromKTiles { kernel, ..self }
    }

    pub(super) const fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The kernels to choose from, without those that cannot be fast for this many rows of x.
    pub(super) fn kernels(&self, batch: u32) -> Vec<Kernel> {
        let large = self.kernels.large(self.shape);
        let large = large.into_iter().flat_map(|large| large.suiting(batch));
        let small = Some(Kernel::SmallBatch).filter(|_| batch <= MOST_SMALL_BATCH);
        large.chain(small).collect()
    }

    /// Launches the matmul, in several launches for more rows of x than a kernel takes.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`]; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Phases::multiply`](crate::plan::Phases::multiply), with K tiles
    /// of this shape.
    pub(super) unsafe fn multiply(
        &self,
        stream: LaunchStream<'_>,
        sums: Sums,
        k_tiles: &KTiles<'_>,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let schedule = StreamK::new(self.shape, sums.multiprocessors());
        let mut job = MatmulJob {
            weights: k_tiles.address,
            patches: k_tiles.tables.patches,
            patch_ends: k_tiles.tables.patch_ends,
            patch_count: k_tiles.tables.patch_count,
            palette: k_tiles.tables.palette,
            bias: k_tiles.bias.map_or(0, |bias| bias.address()),
            gated: k_tiles.fusion.gated.into(),
            residual: k_tiles.fusion.residual,
            scale: k_tiles.fusion.scale,
            ..MatmulJob::new(self.shape, schedule, sums.of(schedule)?, x, y)
        };
        let mut left = x.batch;
        while left > 0 {
            job.batch = match self.large_kernel(left, schedule) {
                // SAFETY: the caller keeps the preconditions.
                Some(kernel) => unsafe { self.large_batch(stream, job, k_tiles, left, &kernel)? },
                // SAFETY: as above.
                None => unsafe { self.small_batch(stream, job, k_tiles, left, schedule)? },
            };
            left -= job.batch;
            job.skip_batch();
        }
        Ok(())
    }

    /// The chosen large-batch kernel, if this many rows of x are not for the small-batch kernel.
    fn large_kernel(&self, left: u32, schedule: StreamK) -> Option<DividedKernel<'a>> {
        let large = self.kernels.large(self.shape)?;
        let is_small = match self.kernel {
            Kernel::SmallBatch => true,
            Kernel::Estimated => {
                left <= SMALL_BATCH && schedule.blocks_of_a_group() <= MOST_SHARING_BLOCKS
            }
            Kernel::LargeBatch { .. } => false,
        };
        if is_small {
            return None;
        }
        let batch = left.min(MOST_LARGE_BATCH);
        large.chosen(self.kernel, self.shape, batch, schedule.multiprocessors)
    }

    /// Multiplies as many of the remaining rows of x as a small-batch kernel takes. Returns their
    /// number.
    ///
    /// # Safety
    /// The preconditions of [`FromKTiles::multiply`].
    unsafe fn small_batch(
        &self,
        stream: LaunchStream<'_>,
        mut job: MatmulJob,
        k_tiles: &KTiles<'_>,
        left: u32,
        schedule: StreamK,
    ) -> Result<u32, MatmulError> {
        let kernels = self.kernels;
        let (kernel, functions) = kernels.small.for_batch(left);
        job.batch = left.min(kernel.batch);
        let config = small_batch_config(*kernel, schedule);
        let function = k_tiles.function(functions);
        // SAFETY: the preconditions at the head of kernels/matmul/small_batch_matmul.cu: addresses
        // are aligned, lengths were checked, `StreamK` has no empty range
        // (`ranges_make_up_all_k_tiles_and_none_is_empty`), and the workspace has the slots and
        // counters (`a_layout_has_room_for_the_largest_of_each_and_for_no_more`).
        unsafe { kernels.launch(stream, function, config, &job, k_tiles.is_resident)? };
        Ok(job.batch)
    }

    /// Same as `small_batch`, but with a large-batch kernel.
    ///
    /// # Safety
    /// The preconditions of [`FromKTiles::multiply`].
    unsafe fn large_batch(
        &self,
        stream: LaunchStream<'_>,
        mut job: MatmulJob,
        k_tiles: &KTiles<'_>,
        left: u32,
        divided: &DividedKernel<'_>,
    ) -> Result<u32, MatmulError> {
        let (kernel, division) = (divided.kernel, divided.division);
        job.batch = left.min(MOST_LARGE_BATCH);
        let config = LaunchConfig {
            grid_dim: (division.blocks, 1, 1),
            block_dim: (LARGE_THREADS, 1, 1),
            shared_mem_bytes: kernel.shared_bytes,
        };
        let large = LargeMatmulJob {
            x: TensorMap::of_rows(job.x, job.batch, self.shape.columns(), kernel.tile)?,
            matmul: job,
            whole_tiles: division.whole_tiles,
            stream_k_tiles: division.stream_k_tiles,
            ranges: division.ranges,
        };
        let (kernels, function) = (self.kernels, k_tiles.function(divided.functions));
        // SAFETY: the preconditions at the head of kernels/matmul/large_batch_matmul.cu: the same
        // as in `small_batch`; the kernel supports the shape, and its division covers all tiles.
        unsafe { kernels.launch(stream, function, config, &large, k_tiles.is_resident)? };
        Ok(job.batch)
    }
}

/// The launch configuration of a small-batch kernel.
pub(super) const fn small_batch_config(kernel: SmallKernel, schedule: StreamK) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (schedule.blocks, 1, 1),
        block_dim: (SMALL_THREADS, 1, 1),
        shared_mem_bytes: kernel.shared_bytes(),
    }
}
