//! A coded tensor in device memory, in the layout of the file.

#![expect(unsafe_code, reason = "uninitialized device memory")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, DevicePtr};
use unweight_format::{CodedPlanes, Extent};

use super::job::Addresses;
use super::record_ends::CheckedRecordEnds;
use crate::memory::WaitAtEnd;
use crate::{Device, GpuError};

/// A coded tensor's planes in device memory: sign-mantissa bytes, record ends, records. All offsets
/// in it have been checked, and nothing changes them. Batches share it.
#[derive(Debug)]
pub struct DeviceTensor {
    payload: CudaSlice<u8>,
    at: Addresses,
    planes: CodedPlanes,
    longest_record_bytes: u64,
}

impl DeviceTensor {
    /// The extent of a tensor's payload in the file.
    pub fn extent(planes: &CodedPlanes) -> Extent {
        let offset = planes.sign_mantissa().offset;
        Extent {
            offset,
            length: planes.records().end() - offset,
        }
    }

    /// Copies `payload`, the bytes at [`DeviceTensor::extent`], to the device. Waits for the
    /// copies.
    ///
    /// Record ends, which kernels follow, are copied first. The copy is checked and then uploaded.
    /// A payload that changes meanwhile, for example in a mapped file, can therefore cause wrong
    /// weights or a bad record, which kernels report. It cannot cause accesses outside of the
    /// tensor.
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`; [`GpuError::WrongLength`]; the errors of the driver,
    /// including out of memory.
    pub fn upload(
        device: &Device,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<DeviceTensor, GpuError> {
        let extent = DeviceTensor::extent(planes);
        if payload.len() as u64 != extent.length {
            return Err(GpuError::WrongLength {
                needed_bytes: extent.length,
                given_bytes: payload.len() as u64,
            });
        }
        let in_payload = |plane: Extent| {
            let start = (plane.offset - extent.offset) as usize;
            start..start + plane.length as usize
        };
        let ends_at = in_payload(planes.record_ends());
        let ends = CheckedRecordEnds::copy(planes, &payload[ends_at.clone()])?;

        let stream = device.own_stream();
        // The copies borrow host memory, and are asynchronous if it is pinned.
        let _waiting = WaitAtEnd(stream);
        // SAFETY: the copies below write all of it, and are waited for.
        let mut memory = unsafe { stream.alloc::<u8>(payload.len())? };
        for (range, bytes) in [
            (0..ends_at.start, &payload[..ends_at.start]),
            (ends_at.clone(), ends.bytes()),
            (ends_at.end..payload.len(), &payload[ends_at.end..]),
        ] {
            if !bytes.is_empty() {
                stream.memcpy_htod(bytes, &mut memory.slice_mut(range))?;
            }
        }
        let (start, reading) = memory.device_ptr(stream);
        // The driver aligns allocations to 256 bytes, like the planes in the file.
        let place = |plane: Extent| start + (plane.offset - extent.offset);
        let at = Addresses {
            sign_mantissa: place(planes.sign_mantissa()),
            record_ends: place(planes.record_ends()),
            records: place(planes.records()),
        };
        drop(reading);
        stream.synchronize()?;
        Ok(DeviceTensor {
            at,
            longest_record_bytes: ends.longest_record_bytes(),
            payload: memory,
            planes: *planes,
        })
    }

    /// The planes with their extents in the file.
    pub const fn planes(&self) -> &CodedPlanes {
        &self.planes
    }

    /// The device memory of the tensor in bytes.
    pub fn bytes(&self) -> u64 {
        self.payload.num_bytes() as u64
    }

    pub(crate) const fn longest_record_bytes(&self) -> u64 {
        self.longest_record_bytes
    }

    pub(crate) const fn addresses(&self) -> Addresses {
        self.at
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        self.payload.context()
    }
}
