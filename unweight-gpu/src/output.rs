//! Where on the device results go.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtrMut};

use crate::GpuError;
use crate::in_flight::require_context;

/// Device memory that results are written to: 2 bytes for each weight, or 1 for an exponent plane. A batch owns its outputs until it gives them back.
#[derive(Debug)]
pub struct Output(Memory);

#[derive(Debug)]
enum Memory {
    Owned(CudaSlice<u8>),
    Raw { address: u64, bytes: u64 },
}

impl Output {
    /// Memory that a batch does not own: `bytes` bytes at this address of the device.
    ///
    /// # Safety
    /// From the batch's first launch on, until the batch is gone, the bytes up to the next multiple of 16 are there and readable, `bytes` of them are writable,
    /// and nobody else writes them, nor reads them before the launches are done. A batch that is forgotten is never gone.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, bytes: u64) -> Output {
        Output::at(address, bytes)
    }

    /// As [`Output::raw`], for memory that whoever makes the batch keeps.
    pub(crate) fn at(address: u64, bytes: u64) -> Output {
        assert!(address.is_multiple_of(16), "16-byte stores");
        Output(Memory::Raw { address, bytes })
    }

    /// The memory, if it was given as a slice.
    pub(crate) fn into_slice(self) -> Option<CudaSlice<u8>> {
        match self.0 {
            Memory::Owned(slice) => Some(slice),
            Memory::Raw { .. } => None,
        }
    }

    fn bytes(&self) -> u64 {
        match &self.0 {
            Memory::Owned(slice) => slice.num_bytes() as u64,
            Memory::Raw { bytes, .. } => *bytes,
        }
    }

    /// The address, for launches of this context. `stream` waits for whatever uses a slice now.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if it is shorter than needed; [`GpuError::OtherContext`].
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
            Memory::Raw { address, .. } => Ok(*address),
        }
    }
}

impl From<CudaSlice<u8>> for Output {
    fn from(memory: CudaSlice<u8>) -> Output {
        Output(Memory::Owned(memory))
    }
}
