//! Output buffers in device memory.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtrMut};

use super::require_context;
use crate::GpuError;

/// Device memory for results: the bytes of a tensor, 1 byte for each exponent of an exponent plane,
/// or a payload. A batch owns its outputs until it returns them.
#[derive(Debug)]
pub struct Output(Memory);

#[derive(Debug)]
enum Memory {
    Owned(CudaSlice<u8>),
    Address { address: u64, bytes: u64 },
}

impl Output {
    /// Wraps memory that a batch does not own: `bytes` bytes at this device address.
    ///
    /// # Safety
    /// The `bytes` bytes must be writable, and the bytes up to the next multiple of 16 readable,
    /// from the batch's first launch until the batch is dropped. Nobody else may write them during
    /// that time, or read them before the launches are done. A batch that is forgotten counts as
    /// never dropped.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn at_address(address: u64, bytes: u64) -> Output {
        Output::at_kept_address(address, bytes)
    }

    /// Same as [`Output::at_address`], but the creator of the batch keeps the memory alive.
    pub(crate) fn at_kept_address(address: u64, bytes: u64) -> Output {
        assert!(address.is_multiple_of(16), "16-byte stores");
        Output(Memory::Address { address, bytes })
    }

    /// No memory: the output of a tensor without bytes.
    pub(crate) const fn nothing() -> Output {
        let (address, bytes) = (0, 0);
        Output(Memory::Address { address, bytes })
    }

    /// The memory, if the output was given as a slice.
    pub(crate) fn into_slice(self) -> Option<CudaSlice<u8>> {
        match self.0 {
            Memory::Owned(slice) => Some(slice),
            Memory::Address { .. } => None,
        }
    }

    /// Number of bytes of the memory.
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            Memory::Owned(slice) => slice.num_bytes() as u64,
            Memory::Address { bytes, .. } => *bytes,
        }
    }

    /// The address, for launches of this context. `stream` waits for the current users of a slice.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if the output is shorter than needed; [`GpuError::OtherContext`].
    pub(crate) fn address(
        &mut self,
        stream: &CudaStream,
        context: &Arc<CudaContext>,
        needed_bytes: u64,
    ) -> Result<u64, GpuError> {
        if self.bytes() < needed_bytes {
            return Err(GpuError::WrongLength {
                needed_bytes,
                given_bytes: self.bytes(),
            });
        }
        match &mut self.0 {
            Memory::Owned(slice) => {
                require_context(slice.context(), context)?;
                Ok(slice.device_ptr_mut(stream).0)
            }
            Memory::Address { address, .. } => Ok(*address),
        }
    }
}

impl From<CudaSlice<u8>> for Output {
    fn from(memory: CudaSlice<u8>) -> Output {
        Output(Memory::Owned(memory))
    }
}
