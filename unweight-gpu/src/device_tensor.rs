//! A coded tensor in device memory, as it stands in the file.

#![expect(unsafe_code, reason = "uninitialized device memory")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, DevicePtr};
use unweight_format::{CodedPlanes, Extent};

use crate::in_flight::WaitAtEnd;
use crate::job::Addresses;
use crate::record_ends::CheckedRecordEnds;
use crate::{Device, GpuError};

/// A coded tensor's planes in device memory: sign-mantissa bytes, record ends, records. What locates anything in them was checked, and nothing changes them.
/// Batches share it.
#[derive(Debug)]
pub struct DeviceTensor {
    payload: CudaSlice<u8>,
    at: Addresses,
    planes: CodedPlanes,
    longest_record_bytes: u64,
}

impl DeviceTensor {
    /// Where a tensor's payload stands in the file.
    pub fn extent(planes: &CodedPlanes) -> Extent {
        let offset = planes.sign_mantissa().offset;
        Extent {
            offset,
            length: planes.records().end() - offset,
        }
    }

    /// Copies `payload`, the bytes at [`DeviceTensor::extent`], to the device. Waits until they are there.
    ///
    /// Record ends, which kernels follow, are copied first; the copy is checked and uploaded. So a payload that changes meanwhile, in a mapped file for
    /// instance, can become wrong weights or a bad record, which kernels report, but cannot lead them out of the tensor.
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`; [`GpuError::WrongLength`]; the driver's, for want of memory too.
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
        // Host memory is lent to the copies, which are asynchronous where it is pinned.
        let _waiting = WaitAtEnd(stream);
        // SAFETY: all of it is written below, by copies that are waited for.
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
        // The driver's allocations are aligned to 256 bytes, as the file's planes are.
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

    /// The planes, as they stand in the file.
    pub const fn planes(&self) -> &CodedPlanes {
        &self.planes
    }

    /// Device memory that it takes, in bytes.
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
