//! The matmul kernels of a device.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DeviceRepr, LaunchConfig};

use super::fragments::FragmentsKernels;
use super::layout::Shape;
use super::schedule::{
    Division, LARGE_KERNELS, LargeKernel, PLANES_KERNELS, SMALL_KERNELS, SmallKernel,
};
use super::{Kernel, MatmulError};
use crate::device::{load_with_shared, most_shared_bytes};
use crate::image::Images;
use crate::in_flight::require_context;
use crate::launch::{Launch, may_overlap};
use crate::{Device, GpuError, image};

/// A kernel in two versions: for palettes of consecutive exponents, and for any palette.
#[derive(Debug)]
pub(crate) struct ForPalettes {
    pub(crate) consecutive: CudaFunction,
    pub(crate) any: CudaFunction,
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
pub(crate) struct LargeKernels {
    kernels: Vec<(LargeKernel, ForPalettes)>,
}

impl LargeKernels {
    fn load(context: &Arc<CudaContext>, images: &Images) -> Result<LargeKernels, GpuError> {
        let module = images.load(context, &image::LARGE_BATCH_MATMUL)?;
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
    pub(crate) fn chosen(
        &self,
        name: Kernel,
        shape: Shape,
        batch: u32,
        multiprocessors: u32,
    ) -> Option<DividedKernel<'_>> {
        let divided = |(kernel, functions)| {
            let kernel: &LargeKernel = kernel;
            DividedKernel {
                kernel: *kernel,
                functions,
                division: kernel.division(shape, batch, multiprocessors),
            }
        };
        let mut all = self
            .kernels
            .iter()
            .map(|(kernel, functions)| (kernel, functions));
        let named = all.clone().find(|(kernel, _)| kernel.name() == name);
        let fastest = || {
            let all = all.by_ref().map(divided);
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
        kernels: [SmallKernel; 4],
        shared_bytes: u32,
        load: impl Fn(SmallKernel) -> Result<F, GpuError>,
    ) -> Result<Option<SmallKernels<F>>, GpuError> {
        let fitting = (kernels.into_iter()).filter(|kernel| kernel.shared_bytes() <= shared_bytes);
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

/// The matmul kernels that fit the device.
#[derive(Debug)]
pub(crate) struct MatmulKernels {
    pub(crate) small: SmallKernels<ForPalettes>,
    /// The kernels that read planes. None if a block has too little shared memory.
    pub(crate) planes: Option<SmallKernels<CudaFunction>>,
    pub(crate) large: Option<LargeKernels>,
    overlap: bool,
}

impl MatmulKernels {
    pub(crate) fn load(
        context: &Arc<CudaContext>,
        images: &Images,
    ) -> Result<MatmulKernels, GpuError> {
        let shared_bytes = most_shared_bytes(context)?;
        let module = images.load(context, &image::SMALL_BATCH_MATMUL)?;
        let small = SmallKernels::load(SMALL_KERNELS, shared_bytes, |kernel| {
            let name = format!("matmul_{}", kernel.batch);
            ForPalettes::load(&module, &name, kernel.shared_bytes())
        })?;
        let module = images.load(context, &image::PLANES_MATMUL)?;
        let planes = SmallKernels::load(PLANES_KERNELS, shared_bytes, |kernel| {
            let name = format!("matmul_planes_{}", kernel.batch);
            load_with_shared(&module, &name, kernel.shared_bytes())
        })?;
        Ok(MatmulKernels {
            small: small.expect("the first kernel fits every supported device"),
            planes,
            large: match images.capability {
                image::HOPPER => Some(LargeKernels::load(context, images)?),
                _ => None,
            },
            overlap: may_overlap(images.capability),
        })
    }

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
        stream: &CudaStream,
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

/// A device and its kernels for matmuls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceKernels<'a> {
    pub(crate) device: &'a Device,
    pub(crate) matmul: &'a MatmulKernels,
    pub(crate) fragments: &'a FragmentsKernels,
}

impl<'a> DeviceKernels<'a> {
    /// The kernels for a matrix of this context. Loads them now instead of in the first launch.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and [`GpuError::Compile`]; the errors of
    /// the driver.
    pub(crate) fn new(
        device: &'a Device,
        context: &Arc<CudaContext>,
    ) -> Result<DeviceKernels<'a>, MatmulError> {
        require_context(context, device.context())?;
        Ok(DeviceKernels {
            device,
            matmul: device.matmul_kernels()?,
            fragments: device.fragments_kernels()?,
        })
    }
}
