//! A tensor of a file in device memory, in the layout of the file.

#![expect(unsafe_code, reason = "uninitialized device memory")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, DevicePtr};
use unweight_format::{Palettes, Payload, Tensor};

use super::checked_parts::CheckedParts;
use super::job::{Addresses, readable_plain_bytes};
use crate::memory::WaitAtEnd;
use crate::{Device, GpuError};

/// The payload of a tensor in device memory, whatever its type and forms. All that locates data in
/// it has been checked, and nothing changes it. Batches share it.
#[derive(Debug)]
pub struct DeviceTensor {
    memory: CudaSlice<u8>,
    at: Addresses,
    payload: Payload,
    palettes: Palettes,
    longest_records_bytes: u64,
}

impl DeviceTensor {
    /// Copies the payload of a tensor to the device. `bytes` are those at
    /// [`Payload::extent`]. Waits for the copies.
    ///
    /// Palettes and record ends, which kernels follow, are copied first. The copy is checked and
    /// then uploaded. A payload that changes meanwhile, for example in a mapped file, can therefore
    /// cause wrong weights or a bad record, which kernels report. It cannot cause accesses outside
    /// of the tensor.
    ///
    /// # Errors
    /// `palette-crc`, `palette-values`, `record-ends`, `record-too-long`; `padding` in the last
    /// byte of the plain plane; [`GpuError::WrongLength`]; the errors of the driver, including out
    /// of memory.
    pub fn upload(
        device: &Device,
        tensor: &Tensor<'_>,
        bytes: &[u8],
    ) -> Result<DeviceTensor, GpuError> {
        let payload = tensor.payload();
        let length = payload.extent().length;
        if bytes.len() as u64 != length {
            return Err(GpuError::WrongLength {
                needed_bytes: length,
                given_bytes: bytes.len() as u64,
            });
        }
        let checked = CheckedParts::range(payload);
        let parts = CheckedParts::copy(tensor, &bytes[checked.clone()])?;
        if let Some(last) = payload.plain().length.checked_sub(1) {
            payload.require_plain_padding(bytes[last as usize])?;
        }

        let stream = device.own_stream();
        // The copies borrow host memory, and are asynchronous if it is pinned.
        let _waiting = WaitAtEnd(stream);
        let room = length.max(readable_plain_bytes(payload)) as usize;
        // SAFETY: the copies below write all of it but the last bytes, which are set to zero. Both
        // are waited for.
        let mut memory = unsafe { stream.alloc::<u8>(room)? };
        for (range, bytes) in [
            (0..checked.start, &bytes[..checked.start]),
            (checked.clone(), parts.bytes()),
            (checked.end..bytes.len(), &bytes[checked.end..]),
        ] {
            if !bytes.is_empty() {
                stream.memcpy_htod(bytes, &mut memory.slice_mut(range))?;
            }
        }
        if room > bytes.len() {
            stream.memset_zeros(&mut memory.slice_mut(bytes.len()..))?;
        }
        // The driver aligns allocations to 256 bytes.
        let (start, reading) = memory.device_ptr(stream);
        let at = Addresses::of(payload, start);
        drop(reading);
        stream.synchronize()?;
        Ok(DeviceTensor {
            at,
            payload: *payload,
            palettes: *parts.palettes(),
            longest_records_bytes: parts.longest_records_bytes(),
            memory,
        })
    }

    /// The payload's parts with their extents in the file.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The palettes and constants of the fields.
    pub const fn palettes(&self) -> &Palettes {
        &self.palettes
    }

    /// The device memory of the tensor in bytes.
    pub fn bytes(&self) -> u64 {
        self.memory.num_bytes() as u64
    }

    /// Bytes of the original tensor.
    pub const fn data_bytes(&self) -> u64 {
        let weight_bytes = self.payload.forms().dtype().weight_bytes();
        self.payload.weights() * weight_bytes as u64
    }

    /// The length in bytes of a chunk's records, the longest of the tensor.
    pub(crate) const fn longest_records_bytes(&self) -> u64 {
        self.longest_records_bytes
    }

    pub(crate) const fn addresses(&self) -> Addresses {
        self.at
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        self.memory.context()
    }
}
