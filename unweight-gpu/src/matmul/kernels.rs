//! The matmul kernels of a device.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule, CudaStream, DeviceRepr, LaunchConfig};

use super::Kernel;
use super::layout::Shape;
use super::plan::{
    Division, LARGE_KERNELS, LargeKernel, PLANES_KERNELS, SMALL_KERNELS, SmallKernel,
};
use crate::kernels::{KernelSet, Launch, load_with_shared, own};
use crate::{ComputeCapability, Device, GpuError};

/// A kernel in two versions: for palettes of consecutive exponents, and for any palette.
#[derive(Debug)]
pub(super) struct ForPalettes {
    pub(super) consecutive: CudaFunction,
    pub(super) any: CudaFunction,
}

impl ForPalettes {
    fn load(
        module: &Arc<CudaModule>,
        name: &str,
        shared_bytes: u32,
    ) -> Result<ForPalettes, GpuError> {
        let load =
            |palette: &str| load_with_shared(module, &format!("{name}_{palette}"), shared_bytes);
        Ok(ForPalettes {
            consecutive: load("consecutive")?,
            any: load("any")?,
        })
    }
}

/// The kernels for Hopper only.
#[derive(Debug)]
pub(super) struct LargeKernels {
    kernels: Vec<(LargeKernel, ForPalettes)>,
}

impl LargeKernels {
    fn load(device: &Device) -> Result<LargeKernels, GpuError> {
        let module = device.load_module(&own::LARGE_BATCH_MATMUL)?;
        let kernels = LARGE_KERNELS.map(|kernel| {
            let name = format!("matmul_{}_rows", kernel.tile);
            let functions = ForPalettes::load(&module, &name, kernel.shared_bytes)?;
            Ok::<_, GpuError>((kernel, functions))
        });
        let kernels: Result<_, _> = kernels.into_iter().collect();
        Ok(LargeKernels { kernels: kernels? })
    }

    /// The names of the kernels that support this matmul, without those whose tiles are much too
    /// small or too large.
    pub(super) fn names(&self, shape: Shape, batch: u32) -> impl Iterator<Item = Kernel> {
        let kernels = self.kernels.iter().map(|&(kernel, _)| kernel);
        let fits = move |kernel: &LargeKernel| LargeKernel::takes(shape) && kernel.suits(batch);
        kernels.filter(fits).map(LargeKernel::name)
    }

    /// The kernel of this name. Otherwise the fastest for this matmul on this many multiprocessors,
    /// by estimate.
    pub(super) fn chosen<'k>(
        &'k self,
        name: Kernel,
        shape: Shape,
        batch: u32,
        multiprocessors: u32,
    ) -> Option<DividedKernel<'k>> {
        let divided = |(kernel, functions): &'k (LargeKernel, ForPalettes)| DividedKernel {
            kernel: *kernel,
            functions,
            division: kernel.division(shape, batch, multiprocessors),
        };
        let named = self
            .kernels
            .iter()
            .find(|(kernel, _)| kernel.name() == name);
        let fastest = || {
            let all = self.kernels.iter().map(divided);
            all.min_by_key(|divided| divided.division.cycles)
        };
        named.map(divided).or_else(fastest)
    }
}

/// A large-batch kernel and its division of a matmul.
pub(super) struct DividedKernel<'k> {
    pub(super) kernel: LargeKernel,
    pub(super) functions: &'k ForPalettes,
    pub(super) division: Division,
}

/// The matmul kernels that fit the device.
#[derive(Debug)]
pub(crate) struct MatmulKernels {
    small: Vec<(SmallKernel, ForPalettes)>,
    /// The kernels that read planes. There are none if a block has too little shared memory.
    planes: Vec<(SmallKernel, CudaFunction)>,
    pub(super) large: Option<LargeKernels>,
    overlap: bool,
}

impl KernelSet for MatmulKernels {
    fn load(device: &Device) -> Result<MatmulKernels, GpuError> {
        let module = device.load_module(&own::SMALL_BATCH_MATMUL)?;
        let room = device.most_shared_bytes()?;
        let fitting = SMALL_KERNELS
            .into_iter()
            .filter(|kernel| kernel.shared_bytes() <= room);
        let small = fitting.map(|kernel| {
            let name = format!("matmul_{}", kernel.rows);
            let functions = ForPalettes::load(&module, &name, kernel.shared_bytes())?;
            Ok::<_, GpuError>((kernel, functions))
        });
        let module = device.load_module(&own::PLANES_MATMUL)?;
        let fitting = PLANES_KERNELS
            .into_iter()
            .filter(|kernel| kernel.shared_bytes() <= room);
        let planes = fitting.map(|kernel| {
            let name = format!("matmul_planes_{}", kernel.rows);
            let function = load_with_shared(&module, &name, kernel.shared_bytes())?;
            Ok::<_, GpuError>((kernel, function))
        });
        Ok(MatmulKernels {
            planes: planes.collect::<Result<_, _>>()?,
            small: small.collect::<Result<_, _>>()?,
            large: match device.compute_capability() {
                ComputeCapability::HOPPER => Some(LargeKernels::load(device)?),
                _ => None,
            },
            overlap: device.compute_capability().overlaps_launches(),
        })
    }
}

impl MatmulKernels {
    /// The smallest kernel that takes this many rows of x, or else the largest.
    pub(super) fn small(&self, batch: u32) -> &(SmallKernel, ForPalettes) {
        let enough = self.small.iter().find(|(kernel, _)| kernel.rows >= batch);
        // Every supported device has enough shared memory for the first kernel.
        enough.or(self.small.last()).expect("there are kernels")
    }

    /// Same as `small`, but for the kernels that read planes.
    pub(super) fn planes(&self, batch: u32) -> Option<&(SmallKernel, CudaFunction)> {
        let enough = self.planes.iter().find(|(kernel, _)| kernel.rows >= batch);
        enough.or(self.planes.last())
    }

    /// Launches a kernel that takes a job by value. `early` allows it to begin before the previous
    /// launch has ended, if the device supports that. All these kernels wait for that launch before
    /// they read x, but not before they read weights.
    ///
    /// # Safety
    /// The preconditions of the kernel.
    pub(super) unsafe fn launch<J: DeviceRepr>(
        &self,
        stream: &CudaStream,
        function: &CudaFunction,
        config: LaunchConfig,
        job: &J,
        early: bool,
    ) -> Result<(), GpuError> {
        let launch = Launch::of(function)
            .overlapping(self.overlap && early)
            .arg(job);
        // SAFETY: the kernel takes one job by value; the caller keeps the other preconditions.
        unsafe { launch.launch(stream, config) }
    }
}
