//! Device memory that products need while they run.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::PlainMatmul;
use super::layout::Shape;
use super::plan::{Parts, SMALL_KERNELS};
use crate::running::Running;
use crate::{Device, GpuError};

/// cuBLAS's own advice for Hopper.
pub(super) const CUBLAS_BYTES: usize = 32 << 20;

/// What products on one stream share: partial sums, and for [`Pipeline::WholeDecode`](super::Pipeline::WholeDecode) a decoded matrix and cuBLASLt's workspace.
///
/// Dropping it waits for what was launched with it.
#[derive(Debug)]
pub struct Workspace {
    // Dropped first, so that nothing runs any more when memory is freed.
    pub(super) running: Running,
    partials: CudaSlice<u8>,
    /// Zero between launches.
    arrived: CudaSlice<u32>,
    whole: Option<(CudaSlice<u8>, CudaSlice<u8>)>,
    /// One for each shape and batch that was multiplied after a whole decode.
    plain: Vec<PlainMatmul>,
    multiprocessors: u32,
}

impl Workspace {
    /// Enough for matrices of these shapes, one at a time. `whole_decode` says whether matrices may be decoded whole.
    ///
    /// # Errors
    /// The driver's, for want of memory too.
    pub fn new(
        device: &Device,
        stream: &Arc<CudaStream>,
        shapes: &[Shape],
        whole_decode: bool,
    ) -> Result<Workspace, GpuError> {
        let multiprocessors = device.multiprocessors()?;
        let groups = (shapes.iter()).map(|&shape| Parts::new(shape, multiprocessors).groups);
        let partials = SMALL_KERNELS.map(|kernel| kernel.partial_bytes(multiprocessors));
        let weights = shapes.iter().map(|shape| shape.weights()).max();
        // SAFETY: launches write what they read.
        let uninitialised = |bytes: usize| unsafe { stream.alloc::<u8>(bytes) };
        let whole = match weights.filter(|_| whole_decode) {
            Some(weights) => Some((
                uninitialised(2 * weights as usize)?,
                uninitialised(CUBLAS_BYTES)?,
            )),
            None => None,
        };
        Ok(Workspace {
            running: Running::default(),
            partials: uninitialised(partials.into_iter().max().unwrap_or(0))?,
            arrived: stream.alloc_zeros::<u32>(groups.max().unwrap_or(0).max(1) as usize)?,
            whole,
            plain: vec![],
            multiprocessors,
        })
    }

    /// Device memory that it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        let whole = self.whole.as_ref();
        let whole = whole.map_or(0, |(weights, cublas)| {
            weights.num_bytes() + cublas.num_bytes()
        });
        let sums = self.partials.num_bytes() + self.arrived.num_bytes();
        (sums + whole) as u64
    }

    pub(super) const fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// Partial sums, and the counters of groups.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] for a matrix of more groups than it was made for.
    pub(super) fn sums(&self, stream: &CudaStream, parts: Parts) -> Result<(u64, u64), GpuError> {
        if parts.groups as usize > self.arrived.len() {
            return Err(GpuError::WorkspaceTooSmall);
        }
        Ok((
            self.partials.device_ptr(stream).0,
            self.arrived.device_ptr(stream).0,
        ))
    }

    /// Memory of a decoded matrix, and cuBLASLt's.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] if it was made for none, or for smaller ones.
    pub(super) fn whole(&self, stream: &CudaStream, shape: Shape) -> Result<(u64, u64), GpuError> {
        match &self.whole {
            Some((weights, cublas)) if weights.num_bytes() as u64 >= 2 * shape.weights() => {
                Ok((weights.device_ptr(stream).0, cublas.device_ptr(stream).0))
            }
            _ => Err(GpuError::WorkspaceTooSmall),
        }
    }

    /// cuBLASLt's product of this shape and batch.
    ///
    /// # Errors
    /// As [`PlainMatmul::new`].
    pub(super) fn plain(&mut self, shape: Shape, batch: u32) -> Result<&PlainMatmul, GpuError> {
        let known = (self.plain.iter()).position(|plain| plain.is_for(shape, batch));
        let number = match known {
            Some(number) => number,
            None => {
                self.plain.push(PlainMatmul::new(shape, batch)?);
                self.plain.len() - 1
            }
        };
        Ok(&self.plain[number])
    }
}
