//! Device memory that matmuls read and write. Launches borrow it and do not own it.

#![expect(unsafe_code, reason = "raw device addresses")]

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut};
use unweight_gpu::GpuError;

/// BF16 values in device memory that launches read.
///
/// A function that takes a view and returns before its launches are done is unsafe, because a view
/// does not keep the memory alive.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    address: u64,
    values: u64,
    memory: Option<&'a CudaSlice<u8>>,
}

impl<'a> View<'a> {
    /// Wraps a slice of cudarc, with 2 bytes for each value. `stream` waits for its current
    /// writers.
    ///
    /// # Panics
    /// If the length in bytes is odd.
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

    /// Wraps the caller's own memory: this many values at this device address.
    ///
    /// # Safety
    /// The values must exist and stay unchanged until every launch that gets this view is done. A
    /// function that waits for its launches may only get the view after the values have been
    /// written.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn at_address(address: u64, values: u64) -> View<'a> {
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

    /// Wraps memory for launches on a stream that has waited for its writers.
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// The slice, if the view is of a slice.
    pub(crate) const fn memory(&self) -> Option<&'a CudaSlice<u8>> {
        self.memory
    }

    /// Returns an error if the view does not have exactly this many values.
    pub(crate) const fn require(&self, values: u64) -> Result<(), GpuError> {
        if self.values != values {
            return Err(GpuError::WrongLength {
                needed_bytes: 2 * values,
                given_bytes: 2 * self.values,
            });
        }
        Ok(())
    }

    /// A view of the first `values` values.
    ///
    /// # Panics
    /// If the view has fewer values.
    pub fn first(&self, values: u64) -> View<'a> {
        assert!(values <= self.values);
        View { values, ..*self }
    }
}

/// Device memory that launches write.
///
/// Functions that take a view are unsafe, because a view does not keep the memory alive.
#[derive(Debug)]
pub struct ViewMut<'a> {
    address: u64,
    bytes: u64,
    _memory: std::marker::PhantomData<&'a mut [u8]>,
}

impl<'a> ViewMut<'a> {
    /// Wraps a slice of cudarc. `stream` waits for its current users.
    pub fn slice(memory: &'a mut CudaSlice<u8>, stream: &CudaStream) -> ViewMut<'a> {
        let bytes = memory.num_bytes() as u64;
        let (address, _writing) = memory.device_ptr_mut(stream);
        ViewMut::at(address, bytes)
    }

    /// Wraps the caller's own memory: `bytes` bytes at this device address.
    ///
    /// # Safety
    /// The bytes must be writable, and nobody else may use them, until every launch that gets this
    /// view is done.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn at_address(address: u64, bytes: u64) -> ViewMut<'a> {
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

    /// Returns an error if the view is shorter than this many bytes.
    pub(crate) const fn require(&self, needed_bytes: u64) -> Result<(), GpuError> {
        if self.bytes < needed_bytes {
            return Err(GpuError::WrongLength {
                needed_bytes,
                given_bytes: self.bytes,
            });
        }
        Ok(())
    }

    /// The same memory again, for matmuls that write it one after the other.
    pub(crate) const fn whole(&self) -> ViewMut<'a> {
        ViewMut::at(self.address, self.bytes)
    }
}
