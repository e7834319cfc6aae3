//! A linear layer whose weights stay compressed.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaStream, LaunchConfig, sys};

use super::job::MatmulJob;
use super::layout::Shape;
use super::plan::{Parts, SMALL_KERNELS, SMALL_THREADS, SmallKernel};
use super::{Fragments, Workspace, fragments};
use crate::{Device, GpuError, Output, Source, image};

/// The oldest compute capability where a launch may begin before the one in front of it has ended.
const OVERLAPS: (i32, i32) = (9, 0);

/// A kernel, for palettes of consecutive exponents and for any.
#[derive(Debug)]
struct ForPalettes {
    consecutive: CudaFunction,
    any: CudaFunction,
}

/// The kernels of `kernels/small_batch_matmul.cu` that the device has room for.
#[derive(Debug)]
pub(crate) struct MatmulKernels {
    small: Vec<(SmallKernel, ForPalettes)>,
    overlap: bool,
}

impl MatmulKernels {
    pub(crate) fn load(
        context: &Arc<CudaContext>,
        capability: (i32, i32),
    ) -> Result<MatmulKernels, GpuError> {
        let module = context.load_module(image::SMALL_BATCH_MATMUL.load(capability)?)?;
        let room = context.attribute(
            sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        )? as u32;
        let load = |kernel: SmallKernel, palette: &str| {
            let function = module.load_function(&format!("matmul_{}_{palette}", kernel.rows))?;
            function.set_attribute(
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                kernel.shared_bytes() as i32,
            )?;
            Ok::<_, GpuError>(function)
        };
        let fitting = SMALL_KERNELS
            .into_iter()
            .filter(|kernel| kernel.shared_bytes() <= room);
        let small = fitting.map(|kernel| {
            let palettes = ForPalettes {
                consecutive: load(kernel, "consecutive")?,
                any: load(kernel, "any")?,
            };
            Ok::<_, GpuError>((kernel, palettes))
        });
        Ok(MatmulKernels {
            small: small.collect::<Result<_, _>>()?,
            overlap: capability >= OVERLAPS,
        })
    }

    /// The smallest kernel that takes so many rows of x, or else the largest.
    fn small(&self, batch: u32) -> &(SmallKernel, ForPalettes) {
        let enough = self.small.iter().find(|(kernel, _)| kernel.rows >= batch);
        // Every supported device has room for the first.
        enough.or(self.small.last()).expect("there are kernels")
    }
}

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

    /// The pipeline that is fastest for so many rows of x, as measured on H100 and H200 (docs/performance-gpu.md).
    pub const fn advised(batch: u32) -> Pipeline {
        if batch <= ADVISED_DIRECT {
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
    pub fn multiply(
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
        let palette = self.fragments.palette();
        let mut first = 0;
        while first < batch {
            let (kernel, functions) = self.kernels.small(batch - first);
            let rows = (batch - first).min(kernel.rows);
            let function = match palette.base() {
                Some(_) => &functions.consecutive,
                None => &functions.any,
            };
            let job = MatmulJob {
                weights,
                patches,
                patch_ends,
                x: x.address + u64::from(first) * shape.columns() * 2,
                y: y.address() + u64::from(first) * shape.rows() * 2,
                partials,
                arrived,
                rows: shape.rows() as u32,
                columns: shape.columns() as u32,
                batch: rows,
                units: shape.units() as u32,
                part: parts.part,
                longer_parts: parts.longer_parts,
                palette: fragments::words_of(palette),
            };
            let config = LaunchConfig {
                grid_dim: (parts.blocks, 1, 1),
                block_dim: (SMALL_THREADS, 1, 1),
                shared_mem_bytes: kernel.shared_bytes(),
            };
            // SAFETY: the preconditions at the head of kernels/small_batch_matmul.cu: addresses are aligned and lengths were checked, `Parts` has no empty
            // part, the workspace has the slots and counters.
            unsafe { launch(stream, function, config, &job, self.kernels.overlap)? };
            first += rows;
        }
        Ok(())
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
        self.fragments.restore(self.device, stream, &decoded)?;
        // SAFETY: the workspace has that much for cuBLASLt.
        unsafe {
            workspace
                .plain(shape, batch)?
                .multiply(stream, &matrix, x, y, cublas)
        }
    }
}

/// Beyond so many rows of x, a whole decode is faster.
const ADVISED_DIRECT: u32 = 128;

pub(super) fn require_lengths(
    shape: Shape,
    batch: u64,
    x: &Source<'_>,
    y: &Output<'_>,
) -> Result<(), GpuError> {
    let lengths = [
        (
            x.weights == batch * shape.columns(),
            batch * shape.columns(),
            2 * x.weights,
        ),
        (
            y.bytes() >= 2 * batch * shape.rows(),
            batch * shape.rows(),
            y.bytes(),
        ),
    ];
    for (right, needed, given_bytes) in lengths {
        if !right {
            return Err(GpuError::WrongLength {
                needed_bytes: 2 * needed,
                given_bytes,
            });
        }
    }
    Ok(())
}

/// Launches a kernel that takes a job by value. With `overlap` it may begin before the launch in front of it has ended, as its kernel knows to wait.
///
/// # Safety
/// The kernel's preconditions.
unsafe fn launch(
    stream: &CudaStream,
    function: &CudaFunction,
    config: LaunchConfig,
    job: &MatmulJob,
    overlap: bool,
) -> Result<(), GpuError> {
    let mut attribute = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue {
            programmaticStreamSerializationAllowed: 1,
        },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: config.grid_dim.0,
        gridDimY: config.grid_dim.1,
        gridDimZ: config.grid_dim.2,
        blockDimX: config.block_dim.0,
        blockDimY: config.block_dim.1,
        blockDimZ: config.block_dim.2,
        sharedMemBytes: config.shared_mem_bytes,
        hStream: stream.cu_stream(),
        attrs: &raw mut attribute,
        numAttrs: overlap.into(),
    };
    let mut arguments = [(&raw const *job).cast_mut().cast::<c_void>()];
    stream.context().bind_to_thread()?;
    // SAFETY: the kernel takes one job, by value, which the driver copies before it returns; the rest is the caller's.
    unsafe {
        sys::cuLaunchKernelEx(
            &raw const config,
            function.cu_function(),
            arguments.as_mut_ptr(),
            std::ptr::null_mut(),
        )
        .result()?;
    }
    Ok(())
}
