//! The matmul kernels of a device.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule, DeviceRepr, LaunchConfig};
use unweight_gpu::kernels::{KernelSet, Launch, LaunchStream, load_with_shared};
use unweight_gpu::{ComputeCapability, Device, GpuError};

use crate::fragments_kernels::FragmentsKernels;
use crate::layout::Shape;
use crate::schedule::{
    Division, LARGE_KERNELS, LargeKernel, PLANES_KERNELS, SMALL_KERNELS, SmallKernel,
};
use crate::{Kernel, MatmulError, modules};

/// A kernel in two versions: for palettes of consecutive exponents, and for any palette.
#[derive(Debug)]
pub(crate) struct ForPalettes {
    pub(crate) consecutive: CudaFunction,
    pub(crate) any: CudaFunction,
}

impl ForPalettes {
    pub(crate) fn load(
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
pub(crate) struct LargeKernels {
    kernels: Vec<(LargeKernel, ForPalettes)>,
}

impl LargeKernels {
    fn load(device: &Device) -> Result<LargeKernels, GpuError> {
        let module = device.load_module(&modules::LARGE_BATCH_MATMUL)?;
        let kernels = LARGE_KERNELS.map(|kernel| {
            let name = format!("matmul_{}_rows", kernel.tile);
            let functions = ForPalettes::load(&module, &name, kernel.shared_bytes)?;
            Ok::<_, GpuError>((kernel, functions))
        });
        let kernels: Result<_, _> = kernels.into_iter().collect();
        Ok(LargeKernels { kernels: kernels? })
    }

    /// The names of the kernels whose tiles are not much too small or too large for this batch.
    pub(crate) fn suiting(&self, batch: u32) -> impl Iterator<Item = Kernel> {
        let kernels = self.kernels.iter().map(|&(kernel, _)| kernel);
        let suiting = kernels.filter(move |kernel| kernel.suits(batch));
        suiting.map(LargeKernel::name)
    }

    /// The kernel of this name. Otherwise the fastest for this matmul on this many multiprocessors,
    /// by estimate.
    pub(crate) fn chosen<'k>(
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
        let mut kernels = self.kernels.iter();
        let named = kernels.find(|(kernel, _)| kernel.name() == name);
        let fastest = || {
            let all = self.kernels.iter().map(divided);
            all.min_by_key(|divided| divided.division.cycles)
        };
        named.map(divided).or_else(fastest)
    }
}

/// A large-batch kernel and its division of a matmul.
pub(crate) struct DividedKernel<'k> {
    pub(crate) kernel: LargeKernel,
    pub(crate) functions: &'k ForPalettes,
    pub(crate) division: Division,
}

/// Small-batch kernels in ascending order of their batch; at least one.
#[derive(Debug)]
pub(crate) struct SmallKernels<F>(Vec<(SmallKernel, F)>);

impl<F> SmallKernels<F> {
    /// Loads the kernels that fit the shared memory of a block. None if none fits.
    ///
    /// # Errors
    /// The errors of `load`.
    fn load(
        kernels: &[SmallKernel],
        shared_bytes: u32,
        load: impl Fn(SmallKernel) -> Result<F, GpuError>,
    ) -> Result<Option<SmallKernels<F>>, GpuError> {
        let fitting =
            (kernels.iter().copied()).filter(|kernel| kernel.shared_bytes() <= shared_bytes);
        let loaded = fitting.map(|kernel| Ok((kernel, load(kernel)?)));
        let loaded: Vec<_> = loaded.collect::<Result<_, GpuError>>()?;
        Ok(Some(SmallKernels(loaded)).filter(|kernels| !kernels.0.is_empty()))
    }

    /// The smallest kernel that takes this many rows of x, or else the largest.
    pub(crate) fn for_batch(&self, batch: u32) -> &(SmallKernel, F) {
        let enough = self.0.iter().find(|(kernel, _)| kernel.batch >= batch);
        enough.or(self.0.last()).expect("there is at least one")
    }
}

/// The kernels of matmuls that fit the device. Matrices keep them.
#[derive(Debug)]
pub(crate) struct MatmulKernels {
    pub(crate) fragments: FragmentsKernels,
    pub(crate) small: SmallKernels<ForPalettes>,
    /// The kernels that read planes. None if a block has too little shared memory.
    pub(crate) planes: Option<SmallKernels<CudaFunction>>,
    pub(crate) large: Option<LargeKernels>,
    overlap: bool,
}

impl KernelSet for MatmulKernels {
    fn load(device: &Device) -> Result<MatmulKernels, GpuError> {
        let shared_bytes = device.most_shared_bytes()?;
        let module = device.load_module(&modules::SMALL_BATCH_MATMUL)?;
        let small = SmallKernels::load(&SMALL_KERNELS, shared_bytes, |kernel| {
            let name = format!("matmul_{}_rows_{}_stages", kernel.batch, kernel.stages);
            ForPalettes::load(&module, &name, kernel.shared_bytes())
        })?;
        let module = device.load_module(&modules::PLANES_MATMUL)?;
        let planes = SmallKernels::load(&PLANES_KERNELS, shared_bytes, |kernel| {
            let name = format!("matmul_planes_{}", kernel.batch);
            load_with_shared(&module, &name, kernel.shared_bytes())
        })?;
        let capability = device.compute_capability();
        Ok(MatmulKernels {
            fragments: FragmentsKernels::load(device)?,
            small: small.expect("one of the kernels fits every supported device"),
            planes,
            large: match capability {
                ComputeCapability::HOPPER => Some(LargeKernels::load(device)?),
                _ => None,
            },
            overlap: capability.overlaps_launches(),
        })
    }
}

impl MatmulKernels {
    /// The large-batch kernels, if the device has them and they support this shape.
    pub(crate) fn large(&self, shape: Shape) -> Option<&LargeKernels> {
        let large = self.large.as_ref();
        large.filter(|_| LargeKernel::supports(shape))
    }

    /// Launches a kernel that takes a job by value. `early` allows it to begin before the previous
    /// launch has ended, if the device supports that. All these kernels wait for that launch before
    /// they read x, but not before they read weights.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// The preconditions of the kernel.
    pub(crate) unsafe fn launch<J: DeviceRepr>(
        &self,
        stream: LaunchStream<'_>,
        function: &CudaFunction,
        config: LaunchConfig,
        job: &J,
        early: bool,
    ) -> Result<(), MatmulError> {
        let launch = Launch::of(function)
            .overlapping(self.overlap && early)
            .arg(job);
        // SAFETY: the kernel takes one job by value; the caller keeps the other preconditions.
        unsafe { launch.launch(stream, config)? };
        Ok(())
    }
}
