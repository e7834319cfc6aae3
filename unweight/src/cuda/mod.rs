//! A CUDA device as backend: it decodes coded tensors. The CPU does everything else, and has the
//! last word on what is bad.

mod decode;
mod disagreement;

use std::path::PathBuf;
use std::sync::Arc;

use unweight_gpu::cudarc::driver::CudaStream;
use unweight_gpu::{Device, DeviceOptions};

use crate::{Error, MemoryBudget};

pub use disagreement::Disagreement;

/// How a CUDA device is opened.
#[derive(Clone, Debug, Default)]
pub struct CudaOptions {
    kernel_cache: Option<PathBuf>,
}

impl CudaOptions {
    /// The default: no folder for compiled kernels.
    pub fn new() -> CudaOptions {
        CudaOptions::default()
    }

    /// A folder for kernels that NVRTC compiled, so that later processes need not compile them
    /// again. Where this crate was built with
    /// `nvcc`, nothing is compiled.
    ///
    /// The folder is made if it is not there. One that another user may write to is not used, which
    /// is no error: [`DeviceOptions::kernel_cache`].
    pub fn kernel_cache(mut self, folder: impl Into<PathBuf>) -> CudaOptions {
        self.kernel_cache = Some(folder.into());
        self
    }
}

/// A CUDA device that decodes, and the stream that it is used on. Open it once and share it: clones
/// are the same device.
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
    /// [`Error::Device`] where there is no driver, no such device, one older than compute
    /// capability 8.0, or no kernels for it.
    pub fn open(ordinal: usize, options: &CudaOptions) -> Result<CudaDevice, Error> {
        let mut device_options = DeviceOptions::default();
        device_options.kernel_cache = options.kernel_cache.clone();
        CudaDevice::with_device(Device::open_with(ordinal, &device_options)?)
    }

    /// A device that is open already, with a stream of its own.
    ///
    /// # Errors
    /// [`Error::Device`], with the driver's.
    pub fn with_device(device: Device) -> Result<CudaDevice, Error> {
        let stream = device.stream()?;
        Ok(CudaDevice { device, stream })
    }

    /// The device, for launches of the caller's.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The stream that everything is done on.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }
}

/// Whether they are clones of one another.
impl PartialEq for CudaDevice {
    fn eq(&self, other: &CudaDevice) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream)
    }
}

impl Eq for CudaDevice {}

/// A device, and how much memory of the host may be used for it.
#[derive(Debug)]
pub(crate) struct CudaReader {
    pub(crate) device: CudaDevice,
    /// None: as much as the tensors need.
    pub(crate) host_budget: Option<MemoryBudget>,
}
