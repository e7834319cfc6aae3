//! A linear layer whose weights stay compressed.

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
use crate::in_flight::require_context;
use crate::{Device, GpuError, View, ViewMut};

/// Beyond so many rows of x, the kernels for many are faster where they take the shape.
const SMALL_BATCH: u32 = 16;
/// So they are, if more blocks than these would share a group of rows of W, and wait for each other's sums.
const FEW_SHARE: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Matrix<'a> {
    Fragments(&'a Fragments),
    Coded(&'a Coded),
}

/// y = x W^T, W in fragment form or coded.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    device: &'a Device,
    kernels: &'a MatmulKernels,
    matrix: Matrix<'a>,
    kernel: Kernel,
}

impl<'a> Linear<'a> {
    /// The layer of this matrix.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`]; [`GpuError::NoKernels`], [`GpuError::Compile`]; the driver's.
    pub fn new(device: &'a Device, fragments: &'a Fragments) -> Result<Linear<'a>, GpuError> {
        require_context(fragments.context(), device.context())?;
        Ok(Linear {
            device,
            kernels: device.matmul_kernels()?,
            matrix: Matrix::Fragments(fragments),
            kernel: Kernel::Estimated,
        })
    }

    /// The layer of this coded matrix.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn of_coded(device: &'a Device, coded: &'a Coded) -> Result<Linear<'a>, GpuError> {
        require_context(coded.context(), device.context())?;
        // Loaded now, and not by the first launch.
        device.fragments_kernels()?;
        Ok(Linear {
            device,
            kernels: device.matmul_kernels()?,
            matrix: Matrix::Coded(coded),
            kernel: Kernel::Estimated,
        })
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        self.device.context()
    }

    /// The same layer, whose products from fragment form are this kernel's.
    #[must_use]
    pub const fn with_kernel(self, kernel: Kernel) -> Linear<'a> {
        Linear { kernel, ..self }
    }

    /// All ways to make its product with so many rows of x, but those that cannot be fast.
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

    /// The shape of its matrix.
    pub const fn shape(&self) -> Shape {
        match self.matrix {
            Matrix::Fragments(fragments) => fragments.shape(),
            Matrix::Coded(coded) => coded.shape(),
        }
    }

    /// The form of its matrix.
    pub const fn form(&self) -> Form {
        match self.matrix {
            Matrix::Fragments(_) => Form::Fragments,
            Matrix::Coded(_) => Form::Coded,
        }
    }

    /// Whether its matrix and the device have what this pipeline needs. Whole decodes need cuBLASLt too.
    pub fn takes(&self, pipeline: Pipeline) -> bool {
        match (self.matrix, pipeline) {
            (Matrix::Fragments(_), Pipeline::Direct) | (_, Pipeline::WholeDecode) => true,
            (Matrix::Coded(_), Pipeline::ExponentDecode) => self.kernels.planes(1).is_some(),
            (Matrix::Coded(coded), Pipeline::PaletteTranscode) => coded.has_fragment_form(),
            _ => false,
        }
    }

    /// The pipeline that is fastest for so many rows of x, as measured on an H100 (docs/performance/matmul.md).
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

    /// Launches the product of `batch` rows of x, `columns` each, to `batch` rows of y, `rows` each, both BF16 and row-major. Returns at once, but that the
    /// workspace's first whole decode of a shape and batch asks cuBLASLt for an algorithm.
    ///
    /// What is launched on the stream in front of it has to be done before x is read, which the stream sees to; on a Hopper GPU, weights are read before.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an x of another length or a y that is too short; [`GpuError::WorkspaceTooSmall`];
    /// [`GpuError::NotTaken`]; [`GpuError::NoCublas`]; the driver's and cuBLASLt's.
    ///
    /// # Safety
    /// - The device, the matrix, the workspace, x and y are there, and nobody else writes them or reads y, until the product is done.
    /// - The stream is one that the workspace was made on, or waits for it; so for whatever else was written on another.
    /// - If the stream is capturing, all that holds until the last launch of the graph is done, and no other product uses the workspace while one runs.
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
        // SAFETY: of all: the caller's; the product is behind what it needs on the same stream.
        unsafe {
            workspace.launched_on(stream)?;
            self.prepare(stream, workspace, 0, pipeline)?;
            self.multiply_prepared(stream, workspace, 0, pipeline, (x, batch), y)
        }
    }

    /// Launches what has to be done before the product, into a slot of the workspace. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::NotTaken`]; [`GpuError::WorkspaceTooSmall`]; the driver's.
    ///
    /// # Safety
    /// As [`Linear::multiply`]; the slot is nobody else's until the product is done, and all that is prepared in one workspace is launched on streams that wait
    /// for one another.
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
        let (device, shape) = (self.device, self.shape());
        let share = workspace.decoding_multiprocessors();
        let to = workspace.slot(slot, pipeline.prepared_bytes(shape))?;
        // SAFETY: of all: the caller's; the slot is as long as the prepared matrix.
        unsafe {
            match (self.matrix, pipeline) {
                (Matrix::Fragments(fragments), _) => {
                    let decoded = ViewMut::at(to, 2 * shape.weights());
                    fragments.restore(device, stream, &decoded)
                }
                (Matrix::Coded(coded), Pipeline::WholeDecode) => {
                    coded.decode(device, stream, to, share)
                }
                (Matrix::Coded(coded), Pipeline::ExponentDecode) => {
                    coded.decode_exponents(device, stream, to, share)
                }
                (Matrix::Coded(coded), _) => {
                    let exponents = workspace.exponents(shape.weights())?;
                    coded.decode_exponents(device, stream, exponents, share)?;
                    let kernel = &device.fragments_kernels()?.planes;
                    coded.arrange(kernel, stream, exponents, to)
                }
            }
        }
    }

    /// Launches the product with what was prepared in a slot, which the stream waits for.
    ///
    /// # Errors
    /// As [`Linear::multiply`].
    ///
    /// # Safety
    /// As [`Linear::multiply`].
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
        // SAFETY: the caller's. In front of the launches, as some may be made before another fails.
        unsafe { workspace.launched_on(stream)? };
        let prepared = match pipeline.prepares() {
            true => workspace.slot(slot, pipeline.prepared_bytes(shape))?,
            false => 0,
        };
        match (self.matrix, pipeline) {
            (_, Pipeline::WholeDecode) => {
                let (cublas, plain) = workspace.plain(shape, batch)?;
                // SAFETY: of both: the caller's; the slot is as long as the matrix, and the workspace has that much for cuBLASLt.
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

    /// What all kernels of products are told, but for weights and rows of x.
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

    /// The product of exponents and sign-mantissa bytes.
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
            // SAFETY: the preconditions at the head of kernels/matmul/planes_matmul.cu: as in `few`; both planes are as long as the matrix.
            unsafe { (self.kernels).launch(stream, function, config, &planes, false)? };
            left -= job.batch;
            job.skip_batch();
        }
        Ok(())
    }

    /// The kernel that was chosen, if so many rows of x are not for the one for few.
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

    /// Multiplies as many of the rows that are left as a kernel for few takes, and says how many.
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
        // SAFETY: the preconditions at the head of kernels/matmul/small_batch_matmul.cu: addresses are aligned and lengths were checked, `Parts` has no empty
        // part, the workspace has the slots and counters.
        unsafe {
            let function = function(units, functions);
            (self.kernels).launch(stream, function, config, &job, units.resident)?;
        }
        Ok(job.batch)
    }

    /// As `few`, by a kernel for many.
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
        // SAFETY: the preconditions at the head of kernels/matmul/large_batch_matmul.cu: as in `few`; the kernel takes the shape, and its division is of all tiles.
        unsafe { (self.kernels).launch(stream, function, config, &large, units.resident)? };
        Ok(job.batch)
    }
}

/// Units in device memory.
struct Units<'a> {
    weights: u64,
    /// And where those of each strip end.
    patches: (u64, u64),
    palette: &'a Palette,
    /// Not prepared by a launch in front of the product, so that they may be read early.
    resident: bool,
}

/// Of kernels for few rows of x.
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
