//! A GPU, and the kernels that were loaded for it.

#![expect(unsafe_code, reason = "calls of the driver")]

mod capability;
mod current;
mod libraries;

use std::path::PathBuf;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule, CudaStream, sys};

use crate::kernels::{KernelCache, KernelSet, KernelSets, Module, ModuleLoader};
use crate::{GpuError, preload};

pub use capability::ComputeCapability;
pub use current::KeptContext;
pub use libraries::search_system_folders_only;

/// Options for opening a device.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeviceOptions {
    /// A folder for images of kernels that NVRTC compiled, so that later processes do not compile
    /// them again. Without a folder nothing is written. The folder is created if it is missing.
    ///
    /// An image is code. The folder, its parent folders and the file must belong to this user (or
    /// to root) and be writable by nobody else, or they are not used. On systems other than Unix
    /// that cannot be checked, so the folder is not used either.
    pub kernel_cache: Option<PathBuf>,
}

/// A GPU with the decoder's kernels loaded. Open it once and share it: clones refer to the same
/// device, and batches keep it.
#[derive(Clone, Debug)]
pub struct Device {
    state: Arc<DeviceState>,
}

#[derive(Debug)]
struct DeviceState {
    context: Arc<CudaContext>,
    /// The stream is private, so nobody captures it. As long as it exists, cudarc orders all
    /// streams of the context by events.
    own_stream: Arc<CudaStream>,
    capability: ComputeCapability,
    modules: ModuleLoader,
    kernels: KernelSets,
}

impl Device {
    /// Opens device `ordinal`, counted from 0 as the driver does.
    ///
    /// # Errors
    /// [`GpuError`] if there is no driver or no such device, if the device is older than compute
    /// capability 8.0, or if there are no kernels for it.
    pub fn open(ordinal: usize) -> Result<Device, GpuError> {
        Device::open_with(ordinal, &DeviceOptions::default())
    }

    /// Same as [`Device::open`], but with options.
    ///
    /// # Errors
    /// The errors of [`Device::open`]. A cache that cannot be used is not an error.
    pub fn open_with(ordinal: usize, options: &DeviceOptions) -> Result<Device, GpuError> {
        // SAFETY: the call opens a system library by its name, and runs the library's initializers.
        if !unsafe { sys::is_culib_present() } {
            return Err(GpuError::NoDriver);
        }
        let count = CudaContext::device_count()? as usize;
        if ordinal >= count {
            return Err(GpuError::NoDevice { ordinal, count });
        }
        let context = CudaContext::new(ordinal)?;
        let (major, minor) = context.compute_capability()?;
        let capability = ComputeCapability { major, minor };
        if capability < ComputeCapability::OLDEST {
            let name = context.name()?;
            return Err(GpuError::TooOld { name, capability });
        }
        let cache = options.kernel_cache.clone().map(KernelCache::new);
        let device = Device {
            state: Arc::new(DeviceState {
                own_stream: context.new_stream()?,
                modules: ModuleLoader::new(capability, driver_version()?, cache),
                kernels: KernelSets::default(),
                capability,
                context,
            }),
        };
        preload(&device)?;
        Ok(device)
    }

    /// The driver's name of the device.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn name(&self) -> Result<String, GpuError> {
        Ok(self.state.context.name()?)
    }

    /// The compute capability.
    pub fn compute_capability(&self) -> ComputeCapability {
        self.state.capability
    }

    /// The CUDA context, for the caller's allocations and streams. Those of another context, even
    /// of the same device, are rejected.
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.state.context
    }

    /// A new stream.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn stream(&self) -> Result<Arc<CudaStream>, GpuError> {
        Ok(self.state.context.new_stream()?)
    }

    /// A private stream for work that is waited for. All users of its memory are on it, and nobody
    /// captures it.
    pub(crate) fn own_stream(&self) -> &Arc<CudaStream> {
        &self.state.own_stream
    }
}

/// For crates that add [`kernels`](crate::kernels).
impl Device {
    /// The kernels of this type, loaded at first use. Take them when an object is created, not for
    /// each launch, because the lookup takes a lock.
    ///
    /// # Errors
    /// The errors of [`KernelSet::load`].
    pub fn kernels<K: KernelSet>(&self) -> Result<Arc<K>, GpuError> {
        self.state.kernels.get(self)
    }

    /// The module, loaded at first use from its image, or from what NVRTC makes of its source.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`]; [`GpuError::Compile`]; the errors of the driver.
    pub fn load_module(&self, module: &Module) -> Result<Arc<CudaModule>, GpuError> {
        self.state.modules.load(&self.state.context, module)
    }

    /// The device's own stream, for work that is waited for before a function returns.
    ///
    /// # Safety
    /// Nobody may capture the stream, and neither it nor memory that was allocated on it (which
    /// refers to it) may be given to safe code of others.
    pub unsafe fn private_stream(&self) -> &Arc<CudaStream> {
        self.own_stream()
    }

    /// The number of multiprocessors.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn multiprocessors(&self) -> Result<u32, GpuError> {
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(self.state.context.attribute(count)? as u32)
    }

    /// The most shared memory that a block may ask for, in bytes.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn most_shared_bytes(&self) -> Result<u32, GpuError> {
        let most = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        Ok(self.state.context.attribute(most)? as u32)
    }
}

fn driver_version() -> Result<i32, GpuError> {
    let mut version = 0;
    // SAFETY: the driver is loaded, and the call writes one number.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok(version)
}
