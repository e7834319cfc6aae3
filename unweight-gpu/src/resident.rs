//! A coded tensor in device memory, as it stands in the file.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use unweight_format::{CodedPlanes, Extent, RecordEnds};

use crate::GpuError;
use crate::job::{Addresses, longest_record_bytes};

/// A coded tensor's planes in device memory: sign-mantissa bytes, record ends, records. What locates anything in them has been checked.
#[derive(Debug)]
pub struct Resident {
    payload: CudaSlice<u8>,
    planes: CodedPlanes,
    longest_record_bytes: u64,
}

impl Resident {
    /// Where a tensor's payload stands in the file.
    pub fn extent(planes: &CodedPlanes) -> Extent {
        let offset = planes.sign_mantissa().offset;
        Extent {
            offset,
            length: planes.records().end() - offset,
        }
    }

    /// Copies `payload`, the bytes at [`Resident::extent`], to the device.
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`; [`GpuError::WrongLength`]; the driver's, for want of memory too.
    pub fn upload(
        stream: &Arc<CudaStream>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Resident, GpuError> {
        let extent = Resident::extent(planes);
        if payload.len() as u64 != extent.length {
            return Err(GpuError::WrongLength {
                needed_bytes: extent.length,
                given_bytes: payload.len() as u64,
            });
        }
        let skip = planes.record_ends().offset - extent.offset;
        let ends = RecordEnds::parse(planes, &payload[skip as usize..])?;
        Ok(Resident {
            longest_record_bytes: longest_record_bytes(planes, &ends),
            payload: stream.clone_htod(payload)?,
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

    /// The driver's allocations are aligned to 256 bytes, as the file's planes are.
    pub(crate) fn addresses(&self, stream: &CudaStream) -> Addresses {
        let (start, _reading) = self.payload.device_ptr(stream);
        let start_in_file = Resident::extent(&self.planes).offset;
        let place = |extent: Extent| start + (extent.offset - start_in_file);
        Addresses {
            sign_mantissa: place(self.planes.sign_mantissa()),
            record_ends: place(self.planes.record_ends()),
            records: place(self.planes.records()),
        }
    }
}
