//! Device memory for matmuls.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::kernels::MatmulKernels;
use super::layout::Shape;
use super::plan::{LARGE_KERNELS, LargeKernel, PLANES_KERNELS, Parts, SMALL_KERNELS};
use super::{Pipeline, PlainMatmul};
use crate::kernels::{InFlight, require_no_capture};
use crate::{Device, GpuError};

/// Size of cuBLASLt's workspace, as cuBLAS advises for Hopper.
pub(super) const CUBLAS_BYTES: usize = 32 << 20;
/// Alignment of consecutive parts in memory.
const ALIGNMENT: u64 = 256;

/// The device memory that matmuls need. It is known before any allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspacePlan {
    multiprocessors: u32,
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

impl WorkspacePlan {
    /// A plan for all these matmuls, with this many slots for prepared matrices. One slot is enough
    /// if a matrix is prepared only after the previous matmul is done. A
    /// [`Sequence`](super::Sequence) needs two.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn new(
        device: &Device,
        products: &[(Shape, Pipeline)],
        slots: u32,
    ) -> Result<WorkspacePlan, GpuError> {
        let many_rows = device.kernels::<MatmulKernels>()?.large.is_some();
        let multiprocessors = device.multiprocessors()?;
        Ok(WorkspacePlan::of(
            multiprocessors,
            many_rows,
            products,
            slots,
        ))
    }

    /// The plan for a device. `many_rows` tells whether the device has large-batch kernels.
    fn of(
        multiprocessors: u32,
        many_rows: bool,
        products: &[(Shape, Pipeline)],
        slots: u32,
    ) -> WorkspacePlan {
        let most = |bytes: fn(Shape, Pipeline) -> u64| {
            let of_each = products.iter().map(|&(shape, way)| bytes(shape, way));
            of_each.max().unwrap_or(0).next_multiple_of(ALIGNMENT)
        };
        let groups = (products.iter()).map(|&(shape, _)| Parts::new(shape, multiprocessors).groups);
        let groups = groups.max().unwrap_or(0).max(1);
        let few = SMALL_KERNELS.into_iter().chain(PLANES_KERNELS);
        let of_few = few.map(|kernel| kernel.partial_bytes(multiprocessors));
        let many = LARGE_KERNELS.into_iter().filter(|_| many_rows);
        let of_many = many.map(|kernel| kernel.partial_bytes(multiprocessors));
        WorkspacePlan {
            multiprocessors,
            partial_bytes: of_few.chain(of_many).max().unwrap_or(0) as u64,
            counters: match many_rows {
                true => groups.max(LargeKernel::counters(multiprocessors)),
                false => groups,
            },
            groups,
            slots,
            slot_bytes: most(|shape, pipeline| pipeline.prepared_bytes(shape)),
            exponent_bytes: most(|shape, pipeline| match pipeline {
                Pipeline::PaletteTranscode => shape.weights(),
                _ => 0,
            }),
            cublas_bytes: most(|_, pipeline| match pipeline {
                Pipeline::WholeDecode => CUBLAS_BYTES as u64,
                _ => 0,
            }),
        }
    }

    /// Size of the workspace in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        let prepared = u64::from(self.slots) * self.slot_bytes + self.exponent_bytes;
        self.partial_bytes + 4 * u64::from(self.counters) + prepared + self.cublas_bytes
    }
}

/// Memory that matmuls on one stream share: partial sums, matrices in the form that a [`Pipeline`]
/// prepares, and cuBLASLt's workspace.
///
/// Dropping it waits for its launches. It cannot know of launches of a graph.
#[derive(Debug)]
pub struct Workspace {
    memory: InFlight<Memory>,
    plan: WorkspacePlan,
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
    /// A workspace for matrices of these shapes, one at a time. `whole_decode` tells whether
    /// matrices may be decoded whole.
    ///
    /// # Errors
    /// The errors of the driver, including out of memory.
    pub fn new(
        device: &Device,
        stream: &Arc<CudaStream>,
        shapes: &[Shape],
        whole_decode: bool,
    ) -> Result<Workspace, GpuError> {
        let pipeline = match whole_decode {
            true => Pipeline::WholeDecode,
            false => Pipeline::Direct,
        };
        let products: Vec<_> = shapes.iter().map(|&shape| (shape, pipeline)).collect();
        Workspace::planned(stream, WorkspacePlan::new(device, &products, 1)?)
    }

    /// A workspace for this plan.
    ///
    /// # Errors
    /// [`GpuError::Capturing`]; the errors of the driver, including out of memory.
    pub fn planned(stream: &Arc<CudaStream>, plan: WorkspacePlan) -> Result<Workspace, GpuError> {
        require_no_capture(stream)?;
        // SAFETY: launches write this memory before they read it.
        let uninitialised = |bytes: u64| unsafe { stream.alloc::<u8>(bytes.max(1) as usize) };
        let prepared_bytes =
            u64::from(plan.slots) * plan.slot_bytes + plan.exponent_bytes + plan.cublas_bytes;
        let partials = uninitialised(plan.partial_bytes)?;
        let arrived = stream.alloc_zeros::<u32>(plan.counters as usize)?;
        let prepared = uninitialised(prepared_bytes)?;
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
            plan,
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
    /// The errors of the driver.
    ///
    /// # Safety
    /// If the stream is capturing, the workspace must outlive every launch of the graph.
    pub(super) unsafe fn launched_on(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        // SAFETY: the caller keeps the precondition.
        unsafe { self.memory.launched_on(stream) }
    }

    /// Divides the device while matrices are decoded. This many multiprocessors decode, and matmuls
    /// that need preparation have the others. With all multiprocessors both have all of them. None,
    /// the initial value, gives all to both on a first-come basis. Another division changes the
    /// order of the sums in [`Pipeline::ExponentDecode`], and cuBLASLt may choose another
    /// algorithm.
    ///
    /// # Panics
    /// If the number is 0, or more than the device has.
    pub fn divide(&mut self, decoding: Option<u32>) {
        if let Some(count) = decoding {
            assert!((1..=self.plan.multiprocessors).contains(&count));
        }
        self.decoding = decoding;
        self.plain.clear();
    }

    pub(super) const fn decoding_multiprocessors(&self) -> Option<u32> {
        self.decoding
    }

    /// The number of multiprocessors for matmuls that need preparation.
    pub(super) fn multiplying_multiprocessors(&self) -> u32 {
        match self.plan.multiprocessors - self.decoding.unwrap_or(0) {
            0 => self.plan.multiprocessors,
            left => left,
        }
    }

    /// Size of the workspace in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.plan.bytes()
    }

    pub(super) const fn multiprocessors(&self) -> u32 {
        self.plan.multiprocessors
    }

    pub(super) const fn slots(&self) -> u32 {
        self.plan.slots
    }

    /// The partial sums, and the counters of groups and tiles.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] for a matrix with more groups than the workspace was created
    /// for.
    pub(super) const fn sums(&self, parts: Parts) -> Result<(u64, u64), GpuError> {
        if parts.groups > self.plan.groups {
            return Err(GpuError::WorkspaceTooSmall);
        }
        Ok((self.partials_at, self.arrived_at))
    }

    /// The memory of a prepared matrix.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] if the workspace was created for smaller matrices or for
    /// fewer slots.
    pub(super) fn slot(&self, number: u32, bytes: u64) -> Result<u64, GpuError> {
        if number >= self.plan.slots || bytes > self.plan.slot_bytes {
            return Err(GpuError::WorkspaceTooSmall);
        }
        Ok(self.prepared_at + u64::from(number) * self.plan.slot_bytes)
    }

    /// The memory of a plane of exponents on the way to fragment form.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] if the workspace was created for smaller planes or for none.
    pub(super) fn exponents(&self, weights: u64) -> Result<u64, GpuError> {
        if weights > self.plan.exponent_bytes {
            return Err(GpuError::WorkspaceTooSmall);
        }
        Ok(self.prepared_at + u64::from(self.plan.slots) * self.plan.slot_bytes)
    }

    /// cuBLASLt's memory, and its matmul for this shape and batch.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] if the workspace was created without whole decodes; the
    /// errors of [`PlainMatmul::new`].
    pub(super) fn plain(
        &mut self,
        shape: Shape,
        batch: u32,
    ) -> Result<(u64, &PlainMatmul), GpuError> {
        if self.plan.cublas_bytes == 0 {
            return Err(GpuError::WorkspaceTooSmall);
        }
        let slots = u64::from(self.plan.slots) * self.plan.slot_bytes;
        let memory = self.prepared_at + slots + self.plan.exponent_bytes;
        let known = (self.plain.iter()).position(|plain| plain.is_for(shape, batch));
        let number = match known {
            Some(number) => number,
            None => {
                let mut plain = PlainMatmul::new(shape, batch)?;
                if self.multiplying_multiprocessors() < self.plan.multiprocessors {
                    plain.limit_multiprocessors(self.multiplying_multiprocessors())?;
                }
                self.plain.push(plain);
                self.plain.len() - 1
            }
        };
        Ok((memory, &self.plain[number]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_room_for_the_largest_of_each_and_for_no_more() {
        let (wide, small) = (
            Shape::new(14_336, 4096).unwrap(),
            Shape::new(64, 64).unwrap(),
        );
        let plan = |products: &[_], slots| WorkspacePlan::of(132, true, products, slots);
        let none = plan(&[(wide, Pipeline::Direct)], 2);
        assert_eq!((none.slot_bytes, none.exponent_bytes), (0, 0));
        let whole = plan(
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
            4 * wide.weights() + small.weights() + CUBLAS_BYTES as u64
        );
        let planes = plan(&[(wide, Pipeline::ExponentDecode)], 1);
        assert_eq!(planes.bytes() - none.bytes(), wide.weights());
        let transcode = plan(&[(wide, Pipeline::PaletteTranscode)], 1);
        assert_eq!(transcode.slot_bytes, wide.unit_bytes());
    }
}
