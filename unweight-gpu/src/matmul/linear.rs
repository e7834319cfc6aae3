//! A linear layer whose weights stay compressed.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream, LaunchConfig};

use super::job::{LargeMatmulJob, MatmulJob};
use super::kernels::{FittingKernel, ForPalettes, MatmulKernels};
use super::layout::Shape;
use super::plan::{MOST_ROWS, MOST_SMALL_ROWS, Parts, SMALL_THREADS};
use super::tensor_map::TensorMap;
use super::{Fragments, Workspace, fragments};
use crate::{Device, GpuError, Output, Source};

/// Beyond so many rows of x, the kernels for many are faster where they take the shape.
const SMALL_BATCH: u32 = 16;

/// How a product is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipeline {
    /// Weights are rebuilt on the way to the tensor cores.
    Direct,
    /// The matrix is decoded to the workspace, and cuBLASLt multiplies.
    WholeDecode,
}

impl Pipeline {
    /// All of them.
    pub const ALL: [Pipeline; 2] = [Pipeline::Direct, Pipeline::WholeDecode];

    /// Its name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Pipeline::Direct => "direct",
            Pipeline::WholeDecode => "whole_decode",
        }
    }
}

/// y = x W^T, W in fragment form.
#[derive(Debug)]
pub struct Linear<'a> {
    device: &'a Device,
    kernels: &'a MatmulKernels,
    fragments: &'a Fragments,
}

impl<'a> Linear<'a> {
    /// The layer of this matrix.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`], [`GpuError::Compile`]; the driver's.
    pub fn new(device: &'a Device, fragments: &'a Fragments) -> Result<Linear<'a>, GpuError> {
        Ok(Linear {
            device,
            kernels: device.matmul_kernels()?,
            fragments,
        })
    }

    /// The pipeline that is fastest for so many rows of x, as measured on an H100 (docs/performance-matmul.md).
    pub fn advised(&self, batch: u32) -> Pipeline {
        let large = self.kernels.large.as_ref();
        let takes =
            large.is_some_and(|large| large.fastest(self.fragments.shape(), batch).is_some());
        if batch <= MOST_SMALL_ROWS || takes {
            Pipeline::Direct
        } else {
            Pipeline::WholeDecode
        }
    }

    /// Launches the product of `batch` rows of x, `columns` each, to `batch` rows of y, `rows` each, both BF16 and row-major. Returns at once, but that the
    /// workspace's first whole decode of a shape and batch asks cuBLASLt for an algorithm.
    ///
    /// What is launched on the stream in front of it has to be done before x is read, which the stream sees to; on a Hopper GPU, weights are read before.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an x of another length or a y that is too short; [`GpuError::WorkspaceTooSmall`]; [`GpuError::NoCublas`]; the driver's
    /// and cuBLASLt's.
    ///
    /// # Safety
    /// The matrix, the workspace, x and y must be there, and nobody else may write them or read y, until the product is done. The stream is the one that
    /// the workspace was made on, or waits for it; so for whatever else was written on another.
    pub unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        pipeline: Pipeline,
        (x, batch): (&Source<'_>, u32),
        y: &Output<'_>,
    ) -> Result<(), GpuError> {
        require_lengths(self.fragments.shape(), batch.into(), x, y)?;
        if batch == 0 {
            return Ok(());
        }
        match pipeline {
            Pipeline::Direct => self.direct(stream, workspace, (x, batch), y)?,
            Pipeline::WholeDecode => self.whole_decode(stream, workspace, (x, batch), y)?,
        }
        Ok(workspace.running.on(stream)?)
    }

    fn direct(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        (x, batch): (&Source<'_>, u32),
        y: &Output<'_>,
    ) -> Result<(), GpuError> {
        let shape = self.fragments.shape();
        let parts = Parts::new(shape, workspace.multiprocessors());
        let (weights, patches, patch_ends) = self.fragments.addresses(stream);
        let (partials, arrived) = workspace.sums(stream, parts)?;
        let mut job = MatmulJob {
            weights,
            patches,
            patch_ends,
            x: x.address,
            y: y.address(),
            partials,
            arrived,
            rows: shape.rows() as u32,
            columns: shape.columns() as u32,
            batch: 0,
            units: shape.units() as u32,
            part: parts.part,
            longer_parts: parts.longer_parts,
            palette: fragments::words_of(self.fragments.palette()),
        };
        let mut left = batch;
        while left > 0 {
            let large = self.kernels.large.as_ref().filter(|_| left > SMALL_BATCH);
            let large = large.and_then(|large| large.fastest(shape, left.min(MOST_ROWS)));
            job.batch = match large {
                Some(kernel) => self.many(stream, job, left, kernel)?,
                None => self.few(stream, job, left, parts)?,
            };
            left -= job.batch;
            job.x += 2 * u64::from(job.batch) * shape.columns();
            job.y += 2 * u64::from(job.batch) * shape.rows();
        }
        Ok(())
    }

    fn function<'f>(&self, functions: &'f ForPalettes) -> &'f CudaFunction {
        match self.fragments.palette().base() {
            Some(_) => &functions.consecutive,
            None => &functions.any,
        }
    }

    /// Multiplies as many of the rows that are left as a kernel for few takes, and says how many.
    fn few(
        &self,
        stream: &CudaStream,
        mut job: MatmulJob,
        left: u32,
        parts: Parts,
    ) -> Result<u32, GpuError> {
        let (kernel, functions) = self.kernels.small(left);
        job.batch = left.min(kernel.rows);
        let config = LaunchConfig {
            grid_dim: (parts.blocks, 1, 1),
            block_dim: (SMALL_THREADS, 1, 1),
            shared_mem_bytes: kernel.shared_bytes(),
        };
        // SAFETY: the preconditions at the head of kernels/small_batch_matmul.cu: addresses are aligned and lengths were checked, `Parts` has no empty
        // part, the workspace has the slots and counters.
        unsafe { (self.kernels).launch(stream, self.function(functions), config, &job)? };
        Ok(job.batch)
    }

    /// As `few`, by a kernel for many.
    fn many(
        &self,
        stream: &CudaStream,
        mut job: MatmulJob,
        left: u32,
        fitting: &FittingKernel,
    ) -> Result<u32, GpuError> {
        let (shape, kernel) = (self.fragments.shape(), fitting.kernel);
        job.batch = left.min(MOST_ROWS);
        let x = TensorMap::of_rows(job.x, job.batch, shape.columns(), kernel.tile)?;
        let clusters = kernel.clusters(shape, job.batch, fitting.clusters);
        let config = LaunchConfig {
            grid_dim: (clusters * kernel.splits, 1, 1),
            block_dim: (kernel.threads(), 1, 1),
            shared_mem_bytes: kernel.shared_bytes,
        };
        let function = self.function(&fitting.functions);
        let large = LargeMatmulJob { x, product: job };
        // SAFETY: the preconditions at the head of kernels/large_batch_matmul.cu: as in `few`; the kernel takes the shape.
        unsafe { self.kernels.launch(stream, function, config, &large)? };
        Ok(job.batch)
    }

    fn whole_decode(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        (x, batch): (&Source<'_>, u32),
        y: &Output<'_>,
    ) -> Result<(), GpuError> {
        let shape = self.fragments.shape();
        let (weights, cublas) = workspace.whole(stream, shape)?;
        // SAFETY: of both: the workspace's memory, as long as the matrix, used on its stream alone.
        let (decoded, matrix) = unsafe {
            (
                Output::raw(weights, 2 * shape.weights()),
                Source::raw(weights, shape.weights()),
            )
        };
        // SAFETY: of both: the caller's of `multiply`; the workspace has that much for cuBLASLt.
        unsafe {
            self.fragments.restore(self.device, stream, &decoded)?;
            let plain = workspace.plain(shape, batch)?;
            plain.multiply(stream, &matrix, x, y, cublas)
        }
    }
}

pub(super) fn require_lengths(
    shape: Shape,
    batch: u64,
    x: &Source<'_>,
    y: &Output<'_>,
) -> Result<(), GpuError> {
    x.require(batch * shape.columns())?;
    y.require(2 * batch * shape.rows())
}
