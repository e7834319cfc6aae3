//! Device memory for matmuls.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DriverError};
use unweight_gpu::kernels::{InFlight, require_no_capture};
use unweight_gpu::{ComputeCapability, Device, GpuError};

use crate::job::SumAddresses;
use crate::kernels::MatmulKernels;
use crate::layout::Shape;
use crate::schedule::{LARGE_KERNELS, LargeKernel, PLANES_KERNELS, SMALL_KERNELS, StreamK};
use crate::{MatmulError, PlainMatmul, grouped};

/// Alignment of consecutive areas in memory.
const ALIGNMENT: u64 = 256;

/// What a matmul needs of a workspace. [`Plan::workspace_need`](crate::Plan::workspace_need) and
/// [`Pipeline::workspace_need`](crate::Pipeline::workspace_need) return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceNeed {
    /// The shape of the matrix, which partial sums depend on.
    pub(crate) shape: Shape,
    /// Size of the prepared matrix in bytes; 0 if nothing is prepared.
    pub(crate) prepared_bytes: u64,
    /// Size of the plane of exponents on the way to fragment form, in bytes.
    pub(crate) exponent_bytes: u64,
    /// Size of cuBLASLt's workspace in bytes.
    pub(crate) cublas_bytes: u64,
}

impl WorkspaceNeed {
    /// The need of a matmul that has partial sums and nothing else.
    pub(crate) const fn of_sums(shape: Shape) -> WorkspaceNeed {
        WorkspaceNeed {
            shape,
            prepared_bytes: 0,
            exponent_bytes: 0,
            cublas_bytes: 0,
        }
    }
}

/// The device memory of a workspace. It is known before any allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceLayout {
    multiprocessors: u32,
    /// Whether the device has large-batch kernels.
    has_large: bool,
    /// Size of the partial sums in bytes, and the number of counters.
    partial_bytes: u64,
    counters: u32,
    groups: u32,
    slots: u32,
    /// Size of the largest prepared matrix in any form.
    slot_bytes: u64,
    /// Size of the largest plane of exponents on the way to fragment form.
    exponent_bytes: u64,
    cublas_bytes: u64,
}

impl WorkspaceLayout {
    /// A layout for all these matmuls, with this many slots for prepared matrices. One slot is
    /// enough if a matrix is prepared only after the previous matmul is done. A
    /// [`Sequence`](crate::Sequence) needs two.
    ///
    /// # Errors
    /// The errors of the driver, and of loading the kernels.
    pub fn new(
        device: &Device,
        needs: &[WorkspaceNeed],
        slots: u32,
    ) -> Result<WorkspaceLayout, MatmulError> {
        let has_large = device.kernels::<MatmulKernels>()?.large.is_some();
        let multiprocessors = device.multiprocessors()?;
        Ok(WorkspaceLayout::of(
            multiprocessors,
            has_large,
            needs,
            slots,
        ))
    }

    /// Whether the context's device has the kernels and multiprocessors of this layout. The number
    /// of counters and of partial sums depends on both.
    fn fits(&self, context: &CudaContext) -> Result<bool, DriverError> {
        let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(count)? as u32;
        let (major, minor) = context.compute_capability()?;
        let has_large = ComputeCapability { major, minor } == ComputeCapability::HOPPER;
        Ok((multiprocessors, has_large) == (self.multiprocessors, self.has_large))
    }

    /// The layout for a device. `has_large` tells whether it has large-batch kernels.
    fn of(
        multiprocessors: u32,
        has_large: bool,
        needs: &[WorkspaceNeed],
        slots: u32,
    ) -> WorkspaceLayout {
        let most = |bytes: fn(&WorkspaceNeed) -> u64| {
            let largest = needs.iter().map(bytes).max().unwrap_or(0);
            largest.next_multiple_of(ALIGNMENT)
        };
        let groups = needs.iter().map(|need| {
            let schedule = StreamK::new(need.shape, multiprocessors);
            schedule.groups
        });
        let groups = groups.max().unwrap_or(0).max(1);
        let small = SMALL_KERNELS.into_iter().chain(PLANES_KERNELS);
        let small_bytes = small.map(|kernel| kernel.partial_bytes(multiprocessors));
        let large = LARGE_KERNELS.into_iter().filter(|_| has_large);
        let large_bytes = large.map(|kernel| kernel.partial_bytes(multiprocessors));
        let grouped_bytes = grouped::kernels::partial_bytes(multiprocessors);
        let counters = groups.max(grouped::kernels::counters(multiprocessors));
        WorkspaceLayout {
            has_large,
            multiprocessors,
            partial_bytes: (small_bytes.chain(large_bytes)).fold(grouped_bytes, usize::max) as u64,
            counters: match has_large {
                true => counters.max(LargeKernel::counters(multiprocessors)),
                false => counters,
            },
            groups,
            slots,
            slot_bytes: most(|need| need.prepared_bytes),
            exponent_bytes: most(|need| need.exponent_bytes),
            cublas_bytes: most(|need| need.cublas_bytes),
        }
    }

    /// The number of bytes of partial sums, and of counters.
    pub(crate) const fn lengths(&self) -> (u64, u32) {
        (self.partial_bytes, self.counters)
    }

    /// Partial sums and counters of this layout at these addresses.
    pub(crate) const fn sums(&self, partials: u64, arrived: u64) -> Sums {
        Sums {
            addresses: SumAddresses { partials, arrived },
            multiprocessors: self.multiprocessors,
            groups: self.groups,
        }
    }

    /// Size of the workspace in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.partial_bytes + 4 * u64::from(self.counters) + self.prepared_bytes()
    }

    /// Size in bytes of the memory behind the sums: the slots, then exponents, then cuBLASLt's
    /// workspace.
    const fn prepared_bytes(&self) -> u64 {
        self.cublas_offset() + self.cublas_bytes
    }

    const fn exponents_offset(&self) -> u64 {
        self.slots as u64 * self.slot_bytes
    }

    const fn cublas_offset(&self) -> u64 {
        self.exponents_offset() + self.exponent_bytes
    }
}

/// Memory for the sums that blocks share: partial sums, and counters of panel groups and tiles,
/// which are zero between launches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    addresses: SumAddresses,
    multiprocessors: u32,
    groups: u32,
}

impl Sums {
    pub(crate) const fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// The addresses for this schedule.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`] for a matrix with more panel groups than the memory was
    /// made for.
    pub(crate) const fn of(&self, schedule: StreamK) -> Result<SumAddresses, MatmulError> {
        match schedule.groups <= self.groups {
            true => Ok(self.addresses),
            false => Err(MatmulError::WorkspaceTooSmall),
        }
    }

    /// The addresses for grouped matmuls, whose need does not depend on the matrix.
    pub(crate) const fn of_grouped(&self) -> SumAddresses {
        self.addresses
    }
}

/// A matmul of cuBLASLt, and the address of its workspace.
pub(crate) struct CublasMatmul<'w> {
    pub(crate) matmul: &'w PlainMatmul,
    pub(crate) memory: u64,
}

/// Memory that matmuls on one stream share: partial sums, matrices in the form that a
/// [`Plan`](crate::Plan) prepares, and cuBLASLt's workspace.
///
/// Dropping it waits for its launches. It cannot know of launches of a graph.
#[derive(Debug)]
pub struct Workspace {
    memory: InFlight<Memory>,
    layout: WorkspaceLayout,
    /// Only addresses are kept, because launches need nothing else.
    partials_at: u64,
    arrived_at: u64,
    prepared_at: u64,
    /// One cuBLASLt matmul for each shape and batch of a whole decode so far.
    plain: Vec<PlainMatmul>,
    decoding: Option<u32>,
}

#[derive(Debug)]
struct Memory {
    _partials: CudaSlice<u8>,
    /// The counters, which are zero between launches.
    _arrived: CudaSlice<u32>,
    /// The slots, then exponents, then cuBLASLt's workspace.
    _prepared: CudaSlice<u8>,
}

impl Workspace {
    /// A workspace for these matmuls, one at a time.
    ///
    /// # Errors
    /// The errors of [`WorkspaceLayout::new`] and [`Workspace::with_layout`].
    pub fn new(
        device: &Device,
        stream: &Arc<CudaStream>,
        needs: &[WorkspaceNeed],
    ) -> Result<Workspace, MatmulError> {
        Workspace::with_layout(stream, WorkspaceLayout::new(device, needs, 1)?)
    }

    /// A workspace with this layout.
    ///
    /// # Errors
    /// [`GpuError::Capturing`](unweight_gpu::GpuError::Capturing);
    /// [`GpuError::OtherContext`](unweight_gpu::GpuError::OtherContext) if the layout is that of a
    /// device with other kernels or another number of multiprocessors; the errors of the driver,
    /// including out of memory.
    pub fn with_layout(
        stream: &Arc<CudaStream>,
        layout: WorkspaceLayout,
    ) -> Result<Workspace, MatmulError> {
        require_no_capture(stream)?;
        if !layout.fits(stream.context())? {
            return Err(GpuError::OtherContext.into());
        }
        // SAFETY: launches write this memory before they read it.
        let uninitialised = |bytes: u64| unsafe { stream.alloc::<u8>(bytes.max(1) as usize) };
        let partials = uninitialised(layout.partial_bytes)?;
        let arrived = stream.alloc_zeros::<u32>(layout.counters as usize)?;
        let prepared = uninitialised(layout.prepared_bytes())?;
        let partials_at = partials.device_ptr(stream).0;
        let arrived_at = arrived.device_ptr(stream).0;
        let prepared_at = prepared.device_ptr(stream).0;
        let memory = Memory {
            _partials: partials,
            _arrived: arrived,
            _prepared: prepared,
        };
        Ok(Workspace {
            memory: InFlight::new(stream.context(), memory),
            layout,
            partials_at,
            arrived_at,
            prepared_at,
            plain: vec![],
            decoding: None,
        })
    }

    /// Registers a launch on a stream that may be capturing.
    ///
    /// # Errors
    /// The errors of [`InFlight::launched_on`].
    ///
    /// # Safety
    /// The stream must be of the workspace's context. If it is capturing, the workspace must outlive
    /// every launch of the graph.
    pub(crate) unsafe fn launched_on(
        &mut self,
        stream: &Arc<CudaStream>,
    ) -> Result<(), MatmulError> {
        // SAFETY: the caller keeps the precondition.
        unsafe { Ok(self.memory.launched_on(stream)?) }
    }

    /// Divides the device while matrices are decoded. This many multiprocessors decode, and matmuls
    /// that need preparation or cuBLASLt have the others. With all multiprocessors both have all of them. None,
    /// the initial value, gives all to both on a first-come basis. Another division changes the
    /// order of the sums in [`ExponentDecode`](crate::ExponentDecode), and cuBLASLt may choose
    /// another algorithm.
    ///
    /// # Panics
    /// If the number is 0, or more than the device has.
    pub fn divide(&mut self, decoding: Option<u32>) {
        if let Some(count) = decoding {
            assert!((1..=self.layout.multiprocessors).contains(&count));
        }
        self.decoding = decoding;
        self.plain.clear();
    }

    pub(crate) const fn decoding_multiprocessors(&self) -> Option<u32> {
        self.decoding
    }

    /// The number of multiprocessors for matmuls that need preparation.
    pub(crate) fn multiplying_multiprocessors(&self) -> u32 {
        match self.layout.multiprocessors - self.decoding.unwrap_or(0) {
            0 => self.layout.multiprocessors,
            left => left,
        }
    }

    /// Size of the workspace in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    pub(crate) const fn slots(&self) -> u32 {
        self.layout.slots
    }

    /// The partial sums, and the counters of panel groups and tiles.
    pub(crate) const fn sums(&self) -> Sums {
        self.layout.sums(self.partials_at, self.arrived_at)
    }

    /// The memory of a prepared matrix.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`] if the workspace was created for smaller matrices or for
    /// fewer slots.
    pub(crate) fn slot(&self, number: u32, bytes: u64) -> Result<u64, MatmulError> {
        if number >= self.layout.slots || bytes > self.layout.slot_bytes {
            return Err(MatmulError::WorkspaceTooSmall);
        }
        Ok(self.prepared_at + u64::from(number) * self.layout.slot_bytes)
    }

    /// The memory of a plane of exponents on the way to fragment form.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`] if the workspace was created for smaller planes or for
    /// none.
    pub(crate) const fn exponents(&self, weights: u64) -> Result<u64, MatmulError> {
        if weights > self.layout.exponent_bytes {
            return Err(MatmulError::WorkspaceTooSmall);
        }
        Ok(self.prepared_at + self.layout.exponents_offset())
    }

    /// cuBLASLt's matmul for this shape and batch, and its memory.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`] if the workspace was created without whole decodes; the
    /// errors of [`PlainMatmul::new`].
    pub(crate) fn cublas(
        &mut self,
        shape: Shape,
        batch: u32,
    ) -> Result<CublasMatmul<'_>, MatmulError> {
        if self.layout.cublas_bytes == 0 {
            return Err(MatmulError::WorkspaceTooSmall);
        }
        let known = (self.plain.iter()).position(|plain| plain.is_for(shape, batch));
        let number = match known {
            Some(number) => number,
            None => {
                let mut plain = PlainMatmul::new(shape, batch)?;
                if self.multiplying_multiprocessors() < self.layout.multiprocessors {
                    plain.limit_multiprocessors(self.multiplying_multiprocessors())?;
                }
                self.plain.push(plain);
                self.plain.len() - 1
            }
        };
        Ok(CublasMatmul {
            matmul: &self.plain[number],
            memory: self.prepared_at + self.layout.cublas_offset(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pipeline;

    #[test]
    fn a_layout_has_room_for_the_largest_of_each_and_for_no_more() {
        let (wide, small) = (
            Shape::new(14_336, 4096).unwrap(),
            Shape::new(64, 64).unwrap(),
        );
        let layout = |matmuls: &[(Shape, Pipeline)], slots| {
            let needs = matmuls
                .iter()
                .map(|&(shape, pipeline)| pipeline.workspace_need(shape));
            WorkspaceLayout::of(132, true, &needs.collect::<Vec<_>>(), slots)
        };
        let none = layout(&[(wide, Pipeline::Direct)], 2);
        assert_eq!((none.slot_bytes, none.exponent_bytes), (0, 0));
        let whole = layout(
            &[
                (wide, Pipeline::WholeDecode),
                (small, Pipeline::PaletteTranscode),
            ],
            2,
        );
        assert_eq!(whole.slot_bytes, 2 * wide.weights());
        assert_eq!(whole.exponent_bytes, small.weights());
        assert_eq!(
            whole.bytes() - none.bytes(),
            4 * wide.weights() + small.weights() + PlainMatmul::WORKSPACE_BYTES as u64
        );
        let planes = layout(&[(wide, Pipeline::ExponentDecode)], 1);
        assert_eq!(planes.bytes() - none.bytes(), wide.weights());
        let transcode = layout(&[(wide, Pipeline::PaletteTranscode)], 1);
        assert_eq!(transcode.slot_bytes, wide.k_tile_bytes());
    }
}
