//! Sources of weights to encode.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};

use super::require_context;
use crate::GpuError;

/// Device memory with the weights of a tensor. A batch keeps it, and nobody can write to it during that time.
#[derive(Clone, Debug)]
pub struct Source {
    memory: Memory,
    bytes: u64,
}

#[derive(Clone, Debug)]
enum Memory {
    Shared(Arc<CudaSlice<u8>>),
    Address(u64),
}

impl Source {
    /// Wraps a slice of cudarc.
    pub fn new(memory: Arc<CudaSlice<u8>>) -> Source {
        Source {
            bytes: memory.num_bytes() as u64,
            memory: Memory::Shared(memory),
        }
    }

    /// Wraps memory that a batch does not own: this many bytes of weights at this device address.
    ///
    /// # Safety
    /// The weights must exist and stay unchanged, and the bytes after them must be readable up to
    /// the next multiple of 16, from the creation of the batch until it is dropped. A batch that is
    /// forgotten counts as never dropped.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn at_address(address: u64, bytes: u64) -> Source {
        assert!(address.is_multiple_of(16), "16-byte loads");
        Source {
            memory: Memory::Address(address),
            bytes,
        }
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The address, for launches of this context. `stream` waits for the current writers of a
    /// slice.
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
            Memory::Address(address) => Ok(*address),
        }
    }
}

impl From<Arc<CudaSlice<u8>>> for Source {
    fn from(memory: Arc<CudaSlice<u8>>) -> Source {
        Source::new(memory)
    }
}
