//! Where on the device results go.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::{CudaSlice, CudaStream, DevicePtrMut};

use crate::GpuError;

/// Device memory that a tensor is decoded into: 2 bytes for each weight, or 1 for an exponent plane.
#[derive(Debug)]
pub struct Output<'a> {
    address: u64,
    bytes: u64,
    _memory: std::marker::PhantomData<&'a mut [u8]>,
}

impl<'a> Output<'a> {
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// That it is long enough.
    pub(crate) const fn require(&self, needed_bytes: u64) -> Result<(), GpuError> {
        if self.bytes < needed_bytes {
            return Err(GpuError::WrongLength {
                needed_bytes,
                given_bytes: self.bytes,
            });
        }
        Ok(())
    }

    /// Memory whose owner sees to it that it is there, and nobody else's, while launches use it.
    pub(crate) const fn at(address: u64, bytes: u64) -> Output<'a> {
        Output {
            address,
            bytes,
            _memory: std::marker::PhantomData,
        }
    }

    /// The same memory again, for products that write it one after the other.
    pub(crate) const fn whole(&self) -> Output<'a> {
        Output::at(self.address, self.bytes)
    }

    /// A slice of cudarc's.
    pub fn slice(memory: &'a mut CudaSlice<u8>, stream: &CudaStream) -> Output<'a> {
        let bytes = memory.num_bytes() as u64;
        let (address, _writing) = memory.device_ptr_mut(stream);
        Output::at(address, bytes)
    }

    /// Memory of the caller's own: `bytes` bytes at this address of the device.
    ///
    /// # Safety
    /// They must be writable, from the batch's launches on until these are done, and nobody else's meanwhile.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, bytes: u64) -> Output<'a> {
        assert!(address.is_multiple_of(16), "16-byte stores");
        Output::at(address, bytes)
    }
}
