//! Launches of kernels whose memory nobody else uses.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::ffi::c_void;
use std::marker::PhantomData;

use cudarc::driver::{CudaFunction, DeviceRepr, LaunchConfig, sys};

use super::LaunchStream;
use crate::GpuError;
use crate::memory::DeviceBuffer;

/// Threads of a warp.
pub const WARP: u32 = 32;

/// A kernel and its arguments in order. Memory is given as an address.
///
/// cudarc's own builder takes slices, and adds events around a launch for each of them, in case
/// another stream uses one. Only a batch's own launches use its memory, on one stream after the
/// other ([`InFlight`](super::InFlight)), so these launches need no events.
#[must_use = "nothing is launched before `launch` is called"]
#[derive(Debug)]
pub struct Launch<'a> {
    function: &'a CudaFunction,
    arguments: Vec<*mut c_void>,
    overlaps: bool,
    _arguments: PhantomData<&'a ()>,
}

impl<'a> Launch<'a> {
    /// A launch of this kernel, without arguments.
    pub const fn of(function: &'a CudaFunction) -> Launch<'a> {
        Launch {
            function,
            arguments: vec![],
            overlaps: false,
            _arguments: PhantomData,
        }
    }

    /// Adds the next argument, which the launch copies.
    pub fn arg<T: DeviceRepr>(mut self, value: &'a T) -> Launch<'a> {
        self.arguments.push((&raw const *value).cast_mut().cast());
        self
    }

    /// Adds the address of memory as the next argument.
    pub fn buffer<T>(self, memory: &'a DeviceBuffer<T>) -> Launch<'a> {
        self.arg(memory.argument())
    }

    /// Allows the kernel to begin while the previous launch ends, if `may` is true. The device must
    /// support that
    /// ([`ComputeCapability::overlaps_launches`](crate::ComputeCapability::overlaps_launches)), and
    /// the kernel must wait for that end (`wait_for_previous_launch` in kernels/ptx/mma.cuh).
    pub const fn overlapping(mut self, may: bool) -> Launch<'a> {
        self.overlaps = may;
        self
    }

    /// Enqueues the launch on the stream.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, and keep its preconditions until it has run.
    pub unsafe fn launch<'s>(
        mut self,
        stream: impl Into<LaunchStream<'s>>,
        config: LaunchConfig,
    ) -> Result<(), GpuError> {
        let stream = stream.into();
        stream.context().bind_to_thread()?;
        let (grid, block) = (config.grid_dim, config.block_dim);
        let mut overlap = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: grid.0,
            gridDimY: grid.1,
            gridDimZ: grid.2,
            blockDimX: block.0,
            blockDimY: block.1,
            blockDimZ: block.2,
            sharedMemBytes: config.shared_mem_bytes,
            hStream: stream.handle(),
            attrs: &raw mut overlap,
            numAttrs: self.overlaps.into(),
        };
        let (function, arguments) = (self.function.cu_function(), self.arguments.as_mut_ptr());
        // SAFETY: the caller keeps the preconditions; the arguments live until the call returns,
        // and the call copies them.
        let launched = unsafe {
            sys::cuLaunchKernelEx(&raw const config, function, arguments, std::ptr::null_mut())
        };
        Ok(launched.result()?)
    }
}
