//! The kernels of products, as a device has them.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DeviceRepr, LaunchConfig, sys,
};

use super::Kernel;
use super::layout::Shape;
use super::plan::{
    Division, LARGE_KERNELS, LargeKernel, PLANES_KERNELS, SMALL_KERNELS, SmallKernel,
};
use crate::device::{load_with_shared, most_shared_bytes};
use crate::{GpuError, image};

/// The oldest compute capability where a launch may begin before the one in front of it has ended.
const OVERLAPS: (i32, i32) = (9, 0);

/// A kernel, for palettes of consecutive exponents and for any.
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

/// Hopper's own kernels.
#[derive(Debug)]
pub(super) struct LargeKernels {
    kernels: Vec<(LargeKernel, ForPalettes)>,
}

impl LargeKernels {
    fn load(context: &Arc<CudaContext>) -> Result<LargeKernels, GpuError> {
        let module = context.load_module(image::LARGE_BATCH_MATMUL.load(image::HOPPER)?)?;
        let kernels = LARGE_KERNELS.map(|kernel| {
            let name = format!("matmul_{}_rows", kernel.tile);
            let functions = ForPalettes::load(&module, &name, kernel.shared_bytes)?;
            Ok::<_, GpuError>((kernel, functions))
        });
        let kernels: Result<_, _> = kernels.into_iter().collect();
        Ok(LargeKernels { kernels: kernels? })
    }

    /// The names of those that take this product, but of tiles that are far too small or large for it.
    pub(super) fn names(&self, shape: Shape, batch: u32) -> impl Iterator<Item = Kernel> {
        let kernels = self.kernels.iter().map(|&(kernel, _)| kernel);
        let fits = move |kernel: &LargeKernel| LargeKernel::takes(shape) && kernel.suits(batch);
        kernels.filter(fits).map(LargeKernel::name)
    }

    /// The one of this name, or else the fastest for this product on so many multiprocessors, by estimate.
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

/// A kernel for many rows of x, and how it divides a product.
pub(super) struct DividedKernel<'k> {
    pub(super) kernel: LargeKernel,
    pub(super) functions: &'k ForPalettes,
    pub(super) division: Division,
}

/// The kernels of products that the device has room for.
#[derive(Debug)]
pub(crate) struct MatmulKernels {
    small: Vec<(SmallKernel, ForPalettes)>,
    /// Those that read planes: none where a block has too little shared memory.
    planes: Vec<(SmallKernel, CudaFunction)>,
    pub(super) large: Option<LargeKernels>,
    overlap: bool,
}

impl MatmulKernels {
    pub(crate) fn load(
        context: &Arc<CudaContext>,
        capability: (i32, i32),
    ) -> Result<MatmulKernels, GpuError> {
        let module = context.load_module(image::SMALL_BATCH_MATMUL.load(capability)?)?;
        let room = most_shared_bytes(context)?;
        let fitting = SMALL_KERNELS
            .into_iter()
            .filter(|kernel| kernel.shared_bytes() <= room);
        let small = fitting.map(|kernel| {
            let name = format!("matmul_{}", kernel.rows);
            let functions = ForPalettes::load(&module, &name, kernel.shared_bytes())?;
            Ok::<_, GpuError>((kernel, functions))
        });
        let module = context.load_module(image::PLANES_MATMUL.load(capability)?)?;
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
            large: match capability {
                image::HOPPER => Some(LargeKernels::load(context)?),
                _ => None,
            },
            overlap: capability >= OVERLAPS,
        })
    }

    /// The smallest kernel that takes so many rows of x, or else the largest.
    pub(super) fn small(&self, batch: u32) -> &(SmallKernel, ForPalettes) {
        let enough = self.small.iter().find(|(kernel, _)| kernel.rows >= batch);
        // Every supported device has room for the first.
        enough.or(self.small.last()).expect("there are kernels")
    }

    /// As `small`, of those that read planes.
    pub(super) fn planes(&self, batch: u32) -> Option<&(SmallKernel, CudaFunction)> {
        let enough = self.planes.iter().find(|(kernel, _)| kernel.rows >= batch);
        enough.or(self.planes.last())
    }

    /// Launches a kernel that takes a job by value. `early` allows it to begin before the launch in front of it has ended, where the device can: all of these
    /// kernels know to wait for that before they read x, but not before they read weights.
    ///
    /// # Safety
    /// The kernel's preconditions.
    pub(super) unsafe fn launch<J: DeviceRepr>(
        &self,
        stream: &CudaStream,
        function: &CudaFunction,
        config: LaunchConfig,
        job: &J,
        early: bool,
    ) -> Result<(), GpuError> {
        let mut attribute = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let config = launch_config(
            stream.cu_stream(),
            config,
            &mut attribute,
            (self.overlap && early).into(),
        );
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
}

fn launch_config(
    stream: sys::CUstream,
    config: LaunchConfig,
    attribute: &mut sys::CUlaunchAttribute,
    attributes: u32,
) -> sys::CUlaunchConfig {
    sys::CUlaunchConfig {
        gridDimX: config.grid_dim.0,
        gridDimY: config.grid_dim.1,
        gridDimZ: config.grid_dim.2,
        blockDimX: config.block_dim.0,
        blockDimY: config.block_dim.1,
        blockDimZ: config.block_dim.2,
        sharedMemBytes: config.shared_mem_bytes,
        hStream: stream,
        attrs: attribute,
        numAttrs: attributes,
    }
}
