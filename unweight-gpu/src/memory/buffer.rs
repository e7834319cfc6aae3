//! Device memory with its address.

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

/// Device memory and its address, which launches get.
#[derive(Debug)]
pub struct DeviceBuffer<T> {
    memory: CudaSlice<T>,
    address: u64,
}

impl<T> DeviceBuffer<T> {
    /// Takes memory that this stream uses. The stream waits for the current writers.
    pub fn new(memory: CudaSlice<T>, stream: &CudaStream) -> DeviceBuffer<T> {
        let address = memory.device_ptr(stream).0;
        DeviceBuffer { memory, address }
    }

    /// The memory. cudarc's copies do not wait for launches that got the address.
    pub const fn memory(&self) -> &CudaSlice<T> {
        &self.memory
    }

    /// The device address.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// The address as an argument of a launch.
    pub(crate) const fn argument(&self) -> &u64 {
        &self.address
    }
}
