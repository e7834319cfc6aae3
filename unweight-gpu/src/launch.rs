//! Launches of kernels whose memory nobody else uses.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::ffi::c_void;
use std::marker::PhantomData;

use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, LaunchConfig, sys,
};

/// Device memory and its address, which launches get.
#[derive(Debug)]
pub(crate) struct DeviceBuffer<T> {
    pub(crate) memory: CudaSlice<T>,
    pub(crate) address: u64,
}

impl<T> DeviceBuffer<T> {
    pub(crate) fn new(memory: CudaSlice<T>, stream: &CudaStream) -> DeviceBuffer<T> {
        let address = memory.device_ptr(stream).0;
        DeviceBuffer { memory, address }
    }
}

/// Whether a device of this compute capability lets launches overlap.
pub(crate) fn may_overlap(capability: (i32, i32)) -> bool {
    capability >= (9, 0)
}

/// A kernel and its arguments in order. Memory is given as an address.
///
/// cudarc's own builder takes slices, and adds events around a launch for each of them, in case
/// another stream uses one. Only a batch's own launches use its memory, on one stream after the
/// other ([`InFlight`](crate::in_flight::InFlight)), so these launches need no events.
pub(crate) struct Launch<'a> {
    function: &'a CudaFunction,
    arguments: Vec<*mut c_void>,
    overlaps: bool,
    _arguments: PhantomData<&'a ()>,
}

impl<'a> Launch<'a> {
    pub(crate) const fn of(function: &'a CudaFunction) -> Launch<'a> {
        Launch {
            function,
            arguments: vec![],
            overlaps: false,
            _arguments: PhantomData,
        }
    }

    pub(crate) fn arg<T: DeviceRepr>(mut self, value: &'a T) -> Launch<'a> {
        self.arguments.push((&raw const *value).cast_mut().cast());
        self
    }

    /// Allows the kernel to begin while the previous launch ends, if `may` is true. The device must
    /// support that ([`may_overlap`]), and the kernel must wait for that end
    /// (`wait_for_previous_launch` in kernels/ptx/mma.cuh).
    pub(crate) const fn overlapping(mut self, may: bool) -> Launch<'a> {
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
    pub(crate) unsafe fn launch(
        mut self,
        stream: &CudaStream,
        config: LaunchConfig,
    ) -> Result<(), DriverError> {
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
            hStream: stream.cu_stream(),
            attrs: &raw mut overlap,
            numAttrs: self.overlaps.into(),
        };
        let (function, arguments) = (self.function.cu_function(), self.arguments.as_mut_ptr());
        // SAFETY: the caller keeps the preconditions; the arguments live until the call returns,
        // and the call copies them.
        unsafe {
            sys::cuLaunchKernelEx(&raw const config, function, arguments, std::ptr::null_mut())
        }
        .result()
    }
}
