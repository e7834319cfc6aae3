//! Where weights stand that are to be encoded.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use crate::GpuError;

/// Device memory that holds a BF16 tensor.
#[derive(Debug)]
pub struct Source<'a> {
    pub(crate) address: u64,
    pub(crate) weights: u64,
    _memory: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// A slice of cudarc's, of 2 bytes a weight.
    ///
    /// # Panics
    /// If the number of bytes is odd.
    pub fn slice(memory: &'a CudaSlice<u8>, stream: &CudaStream) -> Source<'a> {
        let bytes = memory.num_bytes() as u64;
        assert!(bytes.is_multiple_of(2), "2 bytes a weight");
        let (address, _reading) = memory.device_ptr(stream);
        Source {
            address,
            weights: bytes / 2,
            _memory: std::marker::PhantomData,
        }
    }

    /// Memory of the caller's own: so many BF16 weights at this address of the device.
    ///
    /// # Safety
    /// They must be there, and stay as they are, from the batch's launches on until these are done.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, weights: u64) -> Source<'a> {
        assert!(address.is_multiple_of(16), "16-byte loads");
        Source {
            address,
            weights,
            _memory: std::marker::PhantomData,
        }
    }

    /// That it has exactly so many.
    pub(crate) const fn require(&self, weights: u64) -> Result<(), GpuError> {
        if self.weights != weights {
            return Err(GpuError::WrongLength {
                needed_bytes: 2 * weights,
                given_bytes: 2 * self.weights,
            });
        }
        Ok(())
    }

    /// The first of them.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn first(&self, weights: u64) -> Source<'a> {
        assert!(weights <= self.weights);
        Source { weights, ..*self }
    }
}
