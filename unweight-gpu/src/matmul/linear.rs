//! Linear layer with compressed weights.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaStream, LaunchConfig};
use unweight_format::Palette;

use super::job::{LargeMatmulJob, MatmulJob, PlanesMatmulJob, words_of};
use super::kernels::{DividedKernel, ForPalettes, MatmulKernels};
use super::layout::Shape;
use super::plan::{
    LARGE_THREADS, LargeKernel, MOST_PLANES_ROWS, MOST_ROWS, MOST_SMALL_ROWS, Parts, SMALL_THREADS,
    SmallKernel,
};
use super::tensor_map::TensorMap;
use super::{Coded, Form, Fragments, Kernel, Pipeline, Way, Workspace, fragments};
use crate::kernels::require_context;
use crate::{Device, GpuError, View, ViewMut};

/// With more rows of x than this, the large-batch kernels are faster for the shapes that they
/// support.
const SMALL_BATCH: u32 = 16;
/// The large-batch kernels are also faster if more blocks than this would share a group of rows of
/// W, and wait for each other's sums.
const FEW_SHARE: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Matrix<'a> {
    Fragments(&'a Fragments),
    Coded(&'a Coded),
}

/// y = x W^T, with W in fragment form or coded.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    device: &'a Device,
    kernels: &'a MatmulKernels,
    matrix: Matrix<'a>,
    kernel: Kernel,
}

impl<'a> Linear<'a> {
    /// The layer for this matrix.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`]; [`GpuError::NoKernels`], [`GpuError::Compile`]; the errors of
    /// the driver.
    pub fn new(device: &'a Device, fragments: &'a Fragments) -> Result<Linear<'a>, GpuError> {
        require_context(fragments.context(), device.context())?;
        Ok(Linear {
            device,
            kernels: fragments.matmul_kernels(),
            matrix: Matrix::Fragments(fragments),
            kernel: Kernel::Estimated,
        })
    }

    /// The layer for this coded matrix.
    ///
    /// # Errors
    /// The errors of [`Linear::new`].
    pub fn of_coded(device: &'a Device, coded: &'a Coded) -> Result<Linear<'a>, GpuError> {
        require_context(coded.context(), device.context())?;
        Ok(Linear {
            device,
            kernels: coded.matmul_kernels(),
            matrix: Matrix::Coded(coded),
            kernel: Kernel::Estimated,
        })
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        self.device.context()
    }

    /// The same layer, but with this kernel for its matmuls from fragment form.
    #[must_use]
    pub const fn with_kernel(self, kernel: Kernel) -> Linear<'a> {
        Linear { kernel, ..self }
    }

    /// All choices for a matmul with this many rows of x, without those that cannot be fast.
    pub fn ways(&self, batch: u32) -> Vec<Way> {
        let large = self.kernels.large.as_ref();
        let many = large.map(|large| large.names(self.shape(), batch));
        let few = Some(Kernel::FewRows).filter(|_| batch <= MOST_SMALL_ROWS);
        let kernels: Vec<Kernel> = many.into_iter().flatten().chain(few).collect();
        let taken = (Pipeline::ALL.into_iter()).filter(|&pipeline| self.takes(pipeline));
        taken
            .flat_map(|pipeline| {
                let chosen = match pipeline {
                    Pipeline::Direct | Pipeline::PaletteTranscode => kernels.as_slice(),
                    Pipeline::WholeDecode | Pipeline::ExponentDecode => &[],
                };
                let of_kernels = chosen.iter().map(move |&kernel| Way { pipeline, kernel });
                std::iter::once(Way::from(pipeline)).chain(of_kernels)
            })
            .collect()
    }

    /// The shape of the matrix.
    pub const fn shape(&self) -> Shape {
        match self.matrix {
            Matrix::Fragments(fragments) => fragments.shape(),
            Matrix::Coded(coded) => coded.shape(),
        }
    }

    /// The form of the matrix.
    pub const fn form(&self) -> Form {
        match self.matrix {
            Matrix::Fragments(_) => Form::Fragments,
            Matrix::Coded(_) => Form::Coded,
        }
    }

    /// Whether the matrix and the device support this pipeline. Whole decodes also need cuBLASLt.
    pub fn takes(&self, pipeline: Pipeline) -> bool {
        match (self.matrix, pipeline) {
            (Matrix::Fragments(_), Pipeline::Direct) | (_, Pipeline::WholeDecode) => true,
            (Matrix::Coded(_), Pipeline::ExponentDecode) => self.kernels.planes(1).is_some(),
            (Matrix::Coded(coded), Pipeline::PaletteTranscode) => coded.has_fragment_form(),
            _ => false,
        }
    }

    /// The fastest pipeline for this many rows of x, as measured on an H100
    /// (docs/performance/matmul.md).
    pub fn advised(&self, batch: u32) -> Pipeline {
        let Matrix::Fragments(fragments) = self.matrix else {
            let planes = batch <= MOST_PLANES_ROWS && self.takes(Pipeline::ExponentDecode);
            return match planes {
                true => Pipeline::ExponentDecode,
                false => Pipeline::WholeDecode,
            };
        };
        let large = self.kernels.large.as_ref();
        let takes = large.is_some() && LargeKernel::takes(fragments.shape());
        if batch <= MOST_SMALL_ROWS || takes {
            Pipeline::Direct
        } else {
            Pipeline::WholeDecode
        }
    }

    /// Launches the matmul of `batch` rows of x with `columns` values each, to `batch` rows of y
    /// with `rows` values each, both BF16 and row-major. Returns at once, except that the
    /// workspace's first whole decode of a shape and batch asks cuBLASLt for an algorithm.
    ///
    /// The stream ensures that x is read after the previous launches on it are done. On a Hopper
    /// GPU, weights may be read before.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an x of the wrong length or a y that is too short;
    /// [`GpuError::WorkspaceTooSmall`]; [`GpuError::NotTaken`]; [`GpuError::NoCublas`]; the errors
    /// of the driver and of cuBLASLt.
    ///
    /// # Safety
    /// - The device, the matrix, the workspace, x and y must exist, and nobody else may write them
    ///   or read y, until the matmul is done.
    /// - The workspace must have been created on this stream, or on one that it waits for. The same
    ///   holds for all other memory written on another stream.
    /// - If the stream is capturing, all of this must hold until the last launch of the graph is
    ///   done, and no other matmul may use the workspace during a launch.
    pub unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        pipeline: Pipeline,
        (x, batch): (&View<'_>, u32),
        y: &ViewMut<'_>,
    ) -> Result<(), GpuError> {
        require_lengths(self.shape(), batch.into(), x, y)?;
        if batch == 0 {
            return Ok(());
        }
        // SAFETY: for both calls: the caller keeps the preconditions; the matmul comes after the
        // launches that it needs on the same stream.
        unsafe {
            workspace.launched_on(stream)?;
            self.prepare(stream, workspace, 0, pipeline)?;
            self.multiply_prepared(stream, workspace, 0, pipeline, (x, batch), y)
        }
    }

    /// Launches the preparation of the matmul into a slot of the workspace. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::NotTaken`]; [`GpuError::WorkspaceTooSmall`]; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Linear::multiply`]. Nobody else may use the slot until the matmul is
    /// done. All preparations in one workspace must be launched on streams that wait for one
    /// another.
    pub(super) unsafe fn prepare(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        slot: u32,
        pipeline: Pipeline,
    ) -> Result<(), GpuError> {
        if !self.takes(pipeline) {
            return Err(GpuError::NotTaken(pipeline.name()));
        }
        if !pipeline.prepares() {
            return Ok(());
        }
        let shape = self.shape();
        let share = workspace.decoding_multiprocessors();
        let to = workspace.slot(slot, pipeline.prepared_bytes(shape))?;
        // SAFETY: for all calls: the caller keeps the preconditions; the slot is as long as the
        // prepared matrix.
        unsafe {
            match (self.matrix, pipeline) {
                (Matrix::Fragments(fragments), _) => {
                    let decoded = ViewMut::at(to, 2 * shape.weights());
                    fragments.restore(stream, &decoded)
                }
                (Matrix::Coded(coded), Pipeline::WholeDecode) => {
                    coded.tensor().decode_weights(stream, to, share)
                }
                (Matrix::Coded(coded), Pipeline::ExponentDecode) => {
                    coded.tensor().decode_exponents(stream, to, share)
                }
                (Matrix::Coded(coded), _) => {
                    let exponents = workspace.exponents(shape.weights())?;
                    coded.tensor().decode_exponents(stream, exponents, share)?;
                    coded.arrange(stream, exponents, to)
                }
            }
        }
    }

    /// Launches the matmul with the prepared matrix in a slot. The stream must wait for the
    /// preparation.
    ///
    /// # Errors
    /// The errors of [`Linear::multiply`].
    ///
    /// # Safety
    /// The preconditions of [`Linear::multiply`].
    pub(super) unsafe fn multiply_prepared(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        slot: u32,
        pipeline: Pipeline,
        (x, batch): (&View<'_>, u32),
        y: &ViewMut<'_>,
    ) -> Result<(), GpuError> {
        let shape = self.shape();
        require_lengths(shape, batch.into(), x, y)?;
        if batch == 0 {
            return Ok(());
        }
        // SAFETY: the caller keeps the preconditions. This call comes before the launches, because
        // some may be made before another fails.
        unsafe { workspace.launched_on(stream)? };
        let prepared = match pipeline.prepares() {
            true => workspace.slot(slot, pipeline.prepared_bytes(shape))?,
            false => 0,
        };
        match (self.matrix, pipeline) {
            (_, Pipeline::WholeDecode) => {
                let (cublas, plain) = workspace.plain(shape, batch)?;
                // SAFETY: for both calls: the caller keeps the preconditions; the slot is as long
                // as the matrix, and the workspace has enough memory for cuBLASLt.
                unsafe {
                    let matrix = View::at(prepared, shape.weights());
                    plain.multiply(stream, &matrix, x, y, cublas)?;
                }
            }
            (Matrix::Fragments(fragments), Pipeline::Direct) => {
                let (weights, patches) = (fragments.units_at(), fragments.patches().addresses());
                let units = Units {
                    weights,
                    patches,
                    palette: fragments.palette(),
                    resident: true,
                };
                self.direct(stream, workspace, &units, (x, batch), y)?;
            }
            (Matrix::Coded(coded), Pipeline::PaletteTranscode) => {
                let patches = coded.patches();
                let units = Units {
                    weights: prepared,
                    patches: patches.map_or((0, 0), fragments::Patches::addresses),
                    palette: coded.palette(),
                    resident: false,
                };
                self.direct(stream, workspace, &units, (x, batch), y)?;
            }
            (Matrix::Coded(coded), Pipeline::ExponentDecode) => {
                let planes = (prepared, coded.sign_mantissa());
                self.planes(stream, workspace, planes, (x, batch), y)?;
            }
            _ => return Err(GpuError::NotTaken(pipeline.name())),
        }
        Ok(())
    }

    /// The arguments of all matmul kernels, without weights and rows of x.
    fn job(
        &self,
        workspace: &Workspace,
        parts: Parts,
        x: &View<'_>,
        y: &ViewMut<'_>,
    ) -> Result<MatmulJob, GpuError> {
        let shape = self.shape();
        let (partials, arrived) = workspace.sums(parts)?;
        Ok(MatmulJob {
            weights: 0,
            patches: 0,
            patch_ends: 0,
            x: x.address(),
            y: y.address(),
            partials,
            arrived,
            rows: shape.rows() as u32,
            columns: shape.columns() as u32,
            batch: 0,
            units: shape.units() as u32,
            part: parts.part,
            longer_parts: parts.longer_parts,
            palette: [0; 4],
        })
    }

    fn direct(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        units: &Units<'_>,
        (x, batch): (&View<'_>, u32),
        y: &ViewMut<'_>,
    ) -> Result<(), GpuError> {
        let shape = self.shape();
        let parts = Parts::new(shape, workspace.multiprocessors());
        let (patches, patch_ends) = units.patches;
        let mut job = MatmulJob {
            weights: units.weights,
            patches,
            patch_ends,
            palette: words_of(units.palette),
            ..self.job(workspace, parts, x, y)?
        };
        let mut left = batch;
        while left > 0 {
            job.batch = match self.kernel_for_many(left, parts) {
                Some(kernel) => self.many(stream, job, units, left, &kernel)?,
                None => self.few(stream, job, units, left, parts)?,
            };
            left -= job.batch;
            job.skip_batch();
        }
        Ok(())
    }

    /// The matmul with exponents and sign-mantissa bytes.
    fn planes(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        (exponents, sign_mantissa): (u64, u64),
        (x, batch): (&View<'_>, u32),
        y: &ViewMut<'_>,
    ) -> Result<(), GpuError> {
        let shape = self.shape();
        let parts = Parts::new(shape, workspace.multiplying_multiprocessors());
        let mut job = self.job(workspace, parts, x, y)?;
        let mut left = batch;
        while left > 0 {
            let Some((kernel, function)) = self.kernels.planes(left) else {
                return Err(GpuError::NotTaken(Pipeline::ExponentDecode.name()));
            };
            job.batch = left.min(kernel.rows);
            let config = for_few(*kernel, parts);
            let planes = PlanesMatmulJob {
                exponents,
                sign_mantissa,
                product: job,
            };
            // SAFETY: the preconditions at the head of kernels/matmul/planes_matmul.cu: the same as
            // in `few`; both planes are as long as the matrix.
            unsafe { (self.kernels).launch(stream, function, config, &planes, false)? };
            left -= job.batch;
            job.skip_batch();
        }
        Ok(())
    }

    /// The chosen large-batch kernel, if this many rows of x are not for the small-batch kernel.
    fn kernel_for_many(&self, left: u32, parts: Parts) -> Option<DividedKernel<'_>> {
        let large = self.kernels.large.as_ref()?;
        let few = match self.kernel {
            Kernel::FewRows => true,
            Kernel::Estimated => left <= SMALL_BATCH && parts.sharing_a_group() <= FEW_SHARE,
            Kernel::ManyRows { .. } => false,
        };
        if few || !LargeKernel::takes(self.shape()) {
            return None;
        }
        let rows = left.min(MOST_ROWS);
        large.chosen(self.kernel, self.shape(), rows, parts.multiprocessors)
    }

    /// Multiplies as many of the remaining rows as a small-batch kernel takes. Returns their
    /// number.
    fn few(
        &self,
        stream: &CudaStream,
        mut job: MatmulJob,
        units: &Units<'_>,
        left: u32,
        parts: Parts,
    ) -> Result<u32, GpuError> {
        let (kernel, functions) = self.kernels.small(left);
        job.batch = left.min(kernel.rows);
        let config = for_few(*kernel, parts);
        // SAFETY: the preconditions at the head of kernels/matmul/small_batch_matmul.cu: addresses
        // are aligned, lengths were checked, `Parts` has no empty part, and the workspace has the
        // slots and counters.
        unsafe {
            let function = function(units, functions);
            (self.kernels).launch(stream, function, config, &job, units.resident)?;
        }
        Ok(job.batch)
    }

    /// Same as `few`, but with a large-batch kernel.
    fn many(
        &self,
        stream: &CudaStream,
        mut job: MatmulJob,
        units: &Units<'_>,
        left: u32,
        divided: &DividedKernel<'_>,
    ) -> Result<u32, GpuError> {
        let (kernel, division) = (divided.kernel, divided.division);
        job.batch = left.min(MOST_ROWS);
        let x = TensorMap::of_rows(job.x, job.batch, self.shape().columns(), kernel.tile)?;
        let config = LaunchConfig {
            grid_dim: (division.blocks, 1, 1),
            block_dim: (LARGE_THREADS, 1, 1),
            shared_mem_bytes: kernel.shared_bytes,
        };
        let function = function(units, divided.functions);
        let large = LargeMatmulJob {
            x,
            product: job,
            whole: division.whole,
            line: division.line,
            parts: division.parts,
        };
        // SAFETY: the preconditions at the head of kernels/matmul/large_batch_matmul.cu: the same
        // as in `few`; the kernel takes the shape, and its division covers all tiles.
        unsafe { (self.kernels).launch(stream, function, config, &large, units.resident)? };
        Ok(job.batch)
    }
}

/// A matrix of K tiles in device memory.
struct Units<'a> {
    weights: u64,
    /// The addresses of the patches and of the ends of each row panel's patches.
    patches: (u64, u64),
    palette: &'a Palette,
    /// Whether the K tiles were resident before the matmul. They may then be read early, unlike
    /// those that the preceding launch prepares.
    resident: bool,
}

/// The launch configuration of a small-batch kernel.
const fn for_few(kernel: SmallKernel, parts: Parts) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (parts.blocks, 1, 1),
        block_dim: (SMALL_THREADS, 1, 1),
        shared_mem_bytes: kernel.shared_bytes(),
    }
}

fn function<'f>(units: &Units<'_>, functions: &'f ForPalettes) -> &'f CudaFunction {
    match units.palette.base() {
        Some(_) => &functions.consecutive,
        None => &functions.any,
    }
}

pub(super) fn require_lengths(
    shape: Shape,
    batch: u64,
    x: &View<'_>,
    y: &ViewMut<'_>,
) -> Result<(), GpuError> {
    x.require(batch * shape.columns())?;
    y.require(2 * batch * shape.rows())
}
