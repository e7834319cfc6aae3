//! A GPU with loaded kernels.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, sys};

use crate::encode::EncodeKernels;
use crate::image::Images;
use crate::kernel_cache::KernelCache;
use crate::launch::DeviceBuffer;
use crate::matmul::{FragmentsKernels, MatmulKernels};
use crate::{GpuError, crc_constants, image};

/// The oldest compute capability whose instructions the kernels use.
const OLDEST: (i32, i32) = (8, 0);

/// A decoder of one tensor. It has either a block for each chunk, or few blocks that each fill a
/// multiprocessor.
#[derive(Debug)]
pub(crate) struct OneOrFewBlocks {
    pub(crate) block_for_each_chunk: CudaFunction,
    pub(crate) few_blocks: CudaFunction,
    /// Greatest shared memory of a block of the second kind.
    pub(crate) room: u32,
}

impl OneOrFewBlocks {
    fn load(module: &Arc<CudaModule>, name: &str, room: u32) -> Result<OneOrFewBlocks, GpuError> {
        Ok(OneOrFewBlocks {
            block_for_each_chunk: module.load_function(&format!("{name}_of"))?,
            few_blocks: load_with_shared(module, &format!("{name}_in_few_blocks"), room)?,
            room,
        })
    }
}

/// Loads a kernel whose blocks may have this much shared memory, which is more than the default
/// limit.
pub(crate) fn load_with_shared(
    module: &Arc<CudaModule>,
    name: &str,
    shared_bytes: u32,
) -> Result<CudaFunction, GpuError> {
    let function = module.load_function(name)?;
    function.set_attribute(
        sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
        shared_bytes as i32,
    )?;
    Ok(function)
}

/// The most shared memory that a block may ask for, in bytes.
pub(crate) fn most_shared_bytes(context: &CudaContext) -> Result<u32, GpuError> {
    let most = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    Ok(context.attribute(most)? as u32)
}

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
    pub(crate) state: Arc<DeviceState>,
}

#[derive(Debug)]
pub(crate) struct DeviceState {
    context: Arc<CudaContext>,
    /// The stream is private, so nobody captures it. As long as it exists, cudarc orders all
    /// streams of the context by events.
    own_stream: Arc<CudaStream>,
    images: Images,
    pub(crate) decode_weights: CudaFunction,
    pub(crate) decode_exponents: CudaFunction,
    pub(crate) decode_weights_of: OneOrFewBlocks,
    pub(crate) decode_exponents_of: OneOrFewBlocks,
    pub(crate) check_chunks: CudaFunction,
    pub(crate) checksum_weights: CudaFunction,
    pub(crate) checksum_planes: CudaFunction,
    encode: OnceLock<EncodeKernels>,
    fragments: OnceLock<FragmentsKernels>,
    matmul: OnceLock<MatmulKernels>,
    pub(crate) crc_constants: DeviceBuffer<u32>,
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
        let capability = context.compute_capability()?;
        if capability < OLDEST {
            let name = context.name()?;
            return Err(GpuError::TooOld { name, capability });
        }
        let images = Images {
            capability,
            driver_version: driver_version()?,
            cache: options.kernel_cache.clone().map(KernelCache::new),
        };
        let own_stream = context.new_stream()?;
        let decode = images.load(&context, &image::DECODE)?;
        let checksum = images.load(&context, &image::CHECKSUM)?;
        let crc_constants = own_stream.clone_htod(&crc_constants::words())?;
        let crc_constants = DeviceBuffer::new(crc_constants, &own_stream);
        own_stream.synchronize()?;
        let room = most_shared_bytes(&context)?;
        let state = DeviceState {
            decode_weights: decode.load_function("decode_weights")?,
            decode_exponents: decode.load_function("decode_exponents")?,
            decode_weights_of: OneOrFewBlocks::load(&decode, "decode_weights", room)?,
            decode_exponents_of: OneOrFewBlocks::load(&decode, "decode_exponents", room)?,
            check_chunks: checksum.load_function("check_chunks")?,
            checksum_weights: checksum.load_function("checksum_weights")?,
            checksum_planes: checksum.load_function("checksum_planes")?,
            encode: OnceLock::new(),
            fragments: OnceLock::new(),
            matmul: OnceLock::new(),
            crc_constants,
            images,
            own_stream,
            context,
        };
        Ok(Device {
            state: Arc::new(state),
        })
    }

    /// A private stream for work that is waited for. All users of its memory are on it, and nobody
    /// captures it.
    pub(crate) fn own_stream(&self) -> &Arc<CudaStream> {
        &self.state.own_stream
    }

    /// The encoder's kernels.
    pub(crate) fn encode_kernels(&self) -> Result<&EncodeKernels, GpuError> {
        self.loaded(&self.state.encode, EncodeKernels::load)
    }

    /// The kernels of fragment form.
    pub(crate) fn fragments_kernels(&self) -> Result<&FragmentsKernels, GpuError> {
        self.loaded(&self.state.fragments, FragmentsKernels::load)
    }

    /// The matmul kernels.
    pub(crate) fn matmul_kernels(&self) -> Result<&MatmulKernels, GpuError> {
        self.loaded(&self.state.matmul, MatmulKernels::load)
    }

    /// Kernels that are loaded at first use, so that programs that only decode do not wait for
    /// them.
    fn loaded<'a, K>(
        &'a self,
        kernels: &'a OnceLock<K>,
        load: impl FnOnce(&Arc<CudaContext>, &Images) -> Result<K, GpuError>,
    ) -> Result<&'a K, GpuError> {
        if let Some(kernels) = kernels.get() {
            return Ok(kernels);
        }
        let loaded = load(&self.state.context, &self.state.images)?;
        Ok(kernels.get_or_init(|| loaded))
    }

    /// The number of multiprocessors.
    pub(crate) fn multiprocessors(&self) -> Result<u32, GpuError> {
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(self.state.context.attribute(count)? as u32)
    }

    /// The driver's name of the device.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn name(&self) -> Result<String, GpuError> {
        Ok(self.state.context.name()?)
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
}

fn driver_version() -> Result<i32, GpuError> {
    let mut version = 0;
    // SAFETY: the driver is loaded, and the call writes one number.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok(version)
}
