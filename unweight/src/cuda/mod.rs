//! CUDA device as a backend for decoding coded tensors. The CPU does everything else, and its
//! result is authoritative for errors.

mod decode;
mod disagreement;
mod kernel_cache;
mod load;
mod load_memory;

use std::path::PathBuf;
use std::sync::Arc;

use unweight_gpu::cudarc::driver::CudaStream;
use unweight_gpu::{Device, DeviceOptions};

use crate::{Error, MemoryBudget};

pub use disagreement::Disagreement;
pub use load::{CudaLoader, CudaTarget};

/// Options for opening a CUDA device.
#[derive(Clone, Debug, Default)]
pub struct CudaOptions {
    kernel_cache: Option<PathBuf>,
}

impl CudaOptions {
    /// The default: no folder for compiled kernels.
    pub fn new() -> CudaOptions {
        CudaOptions::default()
    }

    /// Sets a folder that caches the kernels compiled by NVRTC, so that later processes do not
    /// compile them again. A build of this crate with `nvcc` compiles nothing at run time.
    ///
    /// The folder is created if it is missing. A folder that another user may write to is ignored
    /// without an error: [`DeviceOptions::kernel_cache`].
    pub fn kernel_cache(mut self, folder: impl Into<PathBuf>) -> CudaOptions {
        self.kernel_cache = Some(folder.into());
        self
    }

    /// Caches compiled kernels in the folder `UNWEIGHT_KERNEL_CACHE` or, without this environment
    /// variable, in the user's cache folder, as the XDG Base Directory Specification says. Does
    /// nothing if the variable is `off`, or if there is no such folder.
    pub fn users_kernel_cache(self) -> CudaOptions {
        match kernel_cache::kernel_cache(|name| std::env::var_os(name)) {
            Some(folder) => self.kernel_cache(folder),
            None => self,
        }
    }
}

/// A CUDA device for decoding, and its stream. Open it once and share it: clones refer to the same
/// device.
///
/// ```no_run
/// # fn main() -> Result<(), unweight::Error> {
/// use unweight::{Backend, CudaDevice, CudaOptions, OpenOptions};
///
/// let device = CudaDevice::open(0, &CudaOptions::new())?;
/// let model = OpenOptions::new().backend(Backend::Cuda(device)).open("model.unw")?;
/// model.verify()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CudaDevice {
    device: Device,
    stream: Arc<CudaStream>,
}

impl CudaDevice {
    /// Opens device `ordinal`, counted from 0 as the driver does.
    ///
    /// # Errors
    /// [`Error::Device`] if there is no driver or no such device, if the device is older than
    /// compute capability 8.0, or if there are no kernels for it.
    pub fn open(ordinal: usize, options: &CudaOptions) -> Result<CudaDevice, Error> {
        let mut device_options = DeviceOptions::default();
        device_options.kernel_cache = options.kernel_cache.clone();
        CudaDevice::with_device(Device::open_with(ordinal, &device_options)?)
    }

    /// Wraps a device that is already open, with a new stream.
    ///
    /// # Errors
    /// [`Error::Device`] with the error of the driver.
    pub fn with_device(device: Device) -> Result<CudaDevice, Error> {
        let stream = device.stream()?;
        Ok(CudaDevice { device, stream })
    }

    /// The device, for the caller's own launches.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The stream of all work on this device.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }
}

/// Two devices are equal if they are clones of one another.
impl PartialEq for CudaDevice {
    fn eq(&self, other: &CudaDevice) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream)
    }
}

impl Eq for CudaDevice {}

/// A device and its budget of host memory.
#[derive(Debug)]
pub(crate) struct CudaReader {
    pub(crate) device: CudaDevice,
    /// The host memory budget; None means no limit.
    pub(crate) host_budget: Option<MemoryBudget>,
}
