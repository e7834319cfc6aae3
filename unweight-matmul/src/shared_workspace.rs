//! Device memory for matmuls on streams of other libraries.

use cudarc::driver::{CudaSlice, DevicePtr};
use unweight_gpu::Device;
use unweight_gpu::kernels::RelaxedCapture;

use crate::MatmulError;
use crate::layout::Shape;
use crate::schedule::StreamK;
use crate::workspace::{Sums, WorkspaceLayout, WorkspaceNeed};

/// Memory that matmuls by [`Direct::multiply_on`](crate::Direct::multiply_on) share, one at a time.
/// Threads may share it. It does not know of launches.
#[derive(Debug)]
pub struct SharedWorkspace {
    _partials: CudaSlice<u8>,
    _counters: CudaSlice<u32>,
    sums: Sums,
}

impl SharedWorkspace {
    /// Memory for matrices of up to this many rows, which is ready for every stream. Other streams may
    /// be capturing meanwhile.
    ///
    /// # Errors
    /// [`MatmulError::NoFragmentForm`] if no matrix has so many rows; the errors of the driver,
    /// including out of memory, and of loading the kernels.
    pub fn new(device: &Device, rows: u64) -> Result<SharedWorkspace, MatmulError> {
        let need = WorkspaceNeed::of_sums(Shape::new(rows, 64)?);
        let _relaxed = RelaxedCapture::begin()?;
        let layout = WorkspaceLayout::new(device, &[need], 0)?;
        let stream = device.stream()?;
        let (partial_bytes, counters) = layout.lengths();
        let partials = stream.alloc_zeros::<u8>(partial_bytes.max(1) as usize)?;
        let counters = stream.alloc_zeros::<u32>(counters as usize)?;
        let sums = layout.sums(
            partials.device_ptr(&stream).0,
            counters.device_ptr(&stream).0,
        );
        stream.synchronize()?;
        Ok(SharedWorkspace {
            _partials: partials,
            _counters: counters,
            sums,
        })
    }

    /// Whether it has room for a matrix of this shape.
    pub fn suffices_for(&self, shape: Shape) -> bool {
        let schedule = StreamK::new(shape, self.sums.multiprocessors());
        self.sums.of(schedule).is_ok()
    }

    pub(crate) const fn sums(&self) -> Sums {
        self.sums
    }
}
