//! Where weights stand that are to be encoded.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};

use crate::GpuError;
use crate::in_flight::require_context;

/// Device memory that holds a BF16 tensor. A batch keeps it, and nobody can write it meanwhile.
#[derive(Clone, Debug)]
pub struct Source {
    memory: Memory,
    weights: u64,
}

#[derive(Clone, Debug)]
enum Memory {
    Shared(Arc<CudaSlice<u8>>),
    Raw(u64),
}

impl Source {
    /// A slice of cudarc's, of 2 bytes a weight.
    ///
    /// # Panics
    /// If the number of bytes is odd.
    pub fn new(memory: Arc<CudaSlice<u8>>) -> Source {
        let bytes = memory.num_bytes() as u64;
        assert!(bytes.is_multiple_of(2), "2 bytes a weight");
        Source {
            weights: bytes / 2,
            memory: Memory::Shared(memory),
        }
    }

    /// Memory that a batch does not own: so many BF16 weights at this address of the device.
    ///
    /// # Safety
    /// From the batch's first launch on, until the batch is gone, they are there and stay as they are; what is behind them up to the next multiple of 16 is
    /// readable. A batch that is forgotten is never gone.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, weights: u64) -> Source {
        assert!(address.is_multiple_of(16), "16-byte loads");
        Source {
            memory: Memory::Raw(address),
            weights,
        }
    }

    pub(crate) const fn weights(&self) -> u64 {
        self.weights
    }

    /// The address, for launches of this context. `stream` waits for whatever writes a slice now.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`].
    pub(crate) fn address(
        &self,
        stream: &CudaStream,
        context: &Arc<CudaContext>,
    ) -> Result<u64, GpuError> {
        match &self.memory {
            Memory::Shared(slice) => {
                require_context(slice.context(), context)?;
                Ok(slice.device_ptr(stream).0)
            }
            Memory::Raw(address) => Ok(*address),
        }
    }
}

impl From<Arc<CudaSlice<u8>>> for Source {
    fn from(memory: Arc<CudaSlice<u8>>) -> Source {
        Source::new(memory)
    }
}
