//! Device memory that products read and write: lent to launches, not owned by them.

#![expect(unsafe_code, reason = "raw device addresses")]

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut};

use crate::GpuError;

/// BF16 values in device memory that launches read.
///
/// Functions that return before their launches are done and take one are unsafe: nothing here keeps the memory.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    address: u64,
    values: u64,
    memory: Option<&'a CudaSlice<u8>>,
}

impl<'a> View<'a> {
    /// A slice of cudarc's, of 2 bytes a value. `stream` waits for what writes it now.
    ///
    /// # Panics
    /// If the number of bytes is odd.
    pub fn slice(memory: &'a CudaSlice<u8>, stream: &CudaStream) -> View<'a> {
        let bytes = memory.num_bytes() as u64;
        assert!(bytes.is_multiple_of(2), "2 bytes a value");
        let (address, _reading) = memory.device_ptr(stream);
        View {
            address,
            values: bytes / 2,
            memory: Some(memory),
        }
    }

    /// Memory of the caller's own: so many values at this address of the device.
    ///
    /// # Safety
    /// They are there, and stay as they are, until every launch that is given this view is done; a function that waits for its launches is given it after they
    /// were written.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, values: u64) -> View<'a> {
        assert!(address.is_multiple_of(16), "16-byte loads");
        View::at(address, values)
    }

    pub(crate) const fn at(address: u64, values: u64) -> View<'a> {
        View {
            address,
            values,
            memory: None,
        }
    }

    /// For launches on a stream that waited for what writes the memory.
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// The slice, if it is one.
    pub(crate) const fn memory(&self) -> Option<&'a CudaSlice<u8>> {
        self.memory
    }

    /// Returns an error if it has not exactly so many values.
    pub(crate) const fn require(&self, values: u64) -> Result<(), GpuError> {
        if self.values != values {
            return Err(GpuError::WrongLength {
                needed_bytes: 2 * values,
                given_bytes: 2 * self.values,
            });
        }
        Ok(())
    }

    /// The first of them.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn first(&self, values: u64) -> View<'a> {
        assert!(values <= self.values);
        View { values, ..*self }
    }
}

/// Device memory that launches write.
///
/// Functions that take one are unsafe: nothing here keeps the memory.
#[derive(Debug)]
pub struct ViewMut<'a> {
    address: u64,
    bytes: u64,
    _memory: std::marker::PhantomData<&'a mut [u8]>,
}

impl<'a> ViewMut<'a> {
    /// A slice of cudarc's. `stream` waits for what uses it now.
    pub fn slice(memory: &'a mut CudaSlice<u8>, stream: &CudaStream) -> ViewMut<'a> {
        let bytes = memory.num_bytes() as u64;
        let (address, _writing) = memory.device_ptr_mut(stream);
        ViewMut::at(address, bytes)
    }

    /// Memory of the caller's own: `bytes` bytes at this address of the device.
    ///
    /// # Safety
    /// They are writable, and nobody else's, until every launch that is given this view is done.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, bytes: u64) -> ViewMut<'a> {
        assert!(address.is_multiple_of(16), "16-byte stores");
        ViewMut::at(address, bytes)
    }

    pub(crate) const fn at(address: u64, bytes: u64) -> ViewMut<'a> {
        ViewMut {
            address,
            bytes,
            _memory: std::marker::PhantomData,
        }
    }

    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// Returns an error if it is shorter.
    pub(crate) const fn require(&self, needed_bytes: u64) -> Result<(), GpuError> {
        if self.bytes < needed_bytes {
            return Err(GpuError::WrongLength {
                needed_bytes,
                given_bytes: self.bytes,
            });
        }
        Ok(())
    }

    /// The same memory again, for products that write it one after the other.
    pub(crate) const fn whole(&self) -> ViewMut<'a> {
        ViewMut::at(self.address, self.bytes)
    }
}
