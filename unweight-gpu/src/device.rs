//! A GPU with the kernels on it.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::{Arc, OnceLock};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, sys};

use crate::encode::EncodeKernels;
use crate::launch::Placed;
use crate::matmul::{FragmentsKernels, MatmulKernels};
use crate::{GpuError, crc_constants, image};

/// The oldest compute capability whose instructions the kernels use.
const OLDEST: (i32, i32) = (8, 0);

/// A decoder of one tensor: a block for each chunk, or few blocks that each fill a multiprocessor.
#[derive(Debug)]
pub(crate) struct OneOrFewBlocks {
    pub(crate) block_for_each_chunk: CudaFunction,
    pub(crate) few_blocks: CudaFunction,
    /// Shared memory that a block of the latter may have.
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

/// A kernel whose blocks may have so much shared memory, more than a launch gets without asking.
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

/// A GPU with the decoder's kernels loaded. Open it once and share it.
#[derive(Debug)]
pub struct Device {
    context: Arc<CudaContext>,
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
    pub(crate) crc_constants: Placed<u32>,
}

impl Device {
    /// Device `ordinal`, counted from 0 as the driver does.
    ///
    /// # Errors
    /// Where there is no driver, no such device, one older than compute capability 8.0, or no kernels for it: [`GpuError`].
    pub fn open(ordinal: usize) -> Result<Device, GpuError> {
        // SAFETY: it opens a library of the system by its name, and runs what that library runs when it is loaded.
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
        let decode = context.load_module(image::DECODE.load(capability)?)?;
        let checksum = context.load_module(image::CHECKSUM.load(capability)?)?;
        let stream = context.default_stream();
        let crc_constants = Placed::new(stream.clone_htod(&crc_constants::words())?, &stream);
        stream.synchronize()?;
        let room = most_shared_bytes(&context)?;
        Ok(Device {
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
            context,
        })
    }

    /// The encoder's kernels.
    pub(crate) fn encode_kernels(&self) -> Result<&EncodeKernels, GpuError> {
        self.loaded(&self.encode, EncodeKernels::load)
    }

    /// The kernels of fragment form.
    pub(crate) fn fragments_kernels(&self) -> Result<&FragmentsKernels, GpuError> {
        self.loaded(&self.fragments, FragmentsKernels::load)
    }

    /// The kernels of products.
    pub(crate) fn matmul_kernels(&self) -> Result<&MatmulKernels, GpuError> {
        self.loaded(&self.matmul, MatmulKernels::load)
    }

    /// Kernels that are loaded when they are first asked for: whoever decodes does not wait for them.
    fn loaded<'a, K>(
        &'a self,
        kernels: &'a OnceLock<K>,
        load: impl FnOnce(&Arc<CudaContext>, (i32, i32)) -> Result<K, GpuError>,
    ) -> Result<&'a K, GpuError> {
        if let Some(kernels) = kernels.get() {
            return Ok(kernels);
        }
        let capability = self.context.compute_capability()?;
        let loaded = load(&self.context, capability)?;
        Ok(kernels.get_or_init(|| loaded))
    }

    /// How many multiprocessors it has.
    pub(crate) fn multiprocessors(&self) -> Result<u32, GpuError> {
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(self.context.attribute(count)? as u32)
    }

    /// The name that the driver has for it.
    ///
    /// # Errors
    /// The driver's.
    pub fn name(&self) -> Result<String, GpuError> {
        Ok(self.context.name()?)
    }

    /// The CUDA context, for allocations and streams of the caller's.
    pub const fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// A new stream.
    ///
    /// # Errors
    /// The driver's.
    pub fn stream(&self) -> Result<Arc<CudaStream>, GpuError> {
        Ok(self.context.new_stream()?)
    }
}
