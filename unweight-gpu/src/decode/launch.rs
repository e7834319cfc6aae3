//! Memory and launches of a decoding batch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, result};

use super::job::TensorJob;
use super::jobs::{Collector, Elements, Jobs};
use super::launches::{JobKernels, JobLaunches};
use super::{DecodeTask, Input, status};
use crate::checksum::weight_checksums;
use crate::memory::{DeviceBuffer, Handover, InFlight, Output};
use crate::{Device, GpuError};

/// State and memory that the launches of a batch use.
#[derive(Debug)]
pub(crate) struct Decoding {
    pub(super) device: Device,
    kernels: JobKernels,
    plan: Jobs,
    pub(super) elements: Elements,
    pub(crate) jobs: Arc<DeviceBuffer<TensorJob>>,
    /// The smallest status word since the last query: the first error.
    pub(crate) status: Arc<DeviceBuffer<u64>>,
    _inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// The memory of outputs that were given as addresses.
    _kept: Option<Arc<CudaSlice<u8>>>,
}

impl Decoding {
    /// `kept` is the memory of outputs that were given as addresses.
    pub(super) fn new(
        device: &Device,
        tensors: Vec<DecodeTask>,
        elements: Elements,
        kept: Option<Arc<CudaSlice<u8>>>,
    ) -> Result<InFlight<Decoding>, GpuError> {
        let (own, context) = (device.own_stream(), device.context());
        let handover = Handover::new(context)?;
        let mut collector = Collector::new(device, &handover, elements);
        let (mut inputs, mut outputs) = (vec![], vec![]);
        for mut task in tensors {
            collector.add(&mut task)?;
            inputs.push(task.input);
            outputs.push(task.output);
        }
        let mut plan = collector.finish()?;
        handover.finish()?;
        let jobs = own.clone_htod(&std::mem::take(&mut plan.jobs))?;
        let status = own.clone_htod(&[status::GOOD])?;
        let mut kernels = JobKernels::new(device)?;
        kernels.load_for(device, &plan)?;
        let decoding = Decoding {
            device: device.clone(),
            kernels,
            plan,
            elements,
            jobs: Arc::new(DeviceBuffer::new(jobs, own)),
            status: Arc::new(DeviceBuffer::new(status, own)),
            _inputs: inputs,
            outputs,
            _kept: kept,
        };
        own.synchronize()?;
        Ok(InFlight::new(context, decoding))
    }

    pub(super) fn decode(&self, stream: &CudaStream) -> Result<(), GpuError> {
        // SAFETY: `DeviceTensor` has checked palettes and record ends and holds parts that are
        // aligned and readable as `TensorJob` states; every output is aligned and long enough
        // (`Output`, `Collector::add`), and every chunk is in its tensor (`Input`). All memory is
        // owned until the launches are done.
        unsafe { self.launches().decode(stream)? };
        stream.context().bind_to_thread()?;
        for copy in self.plan.copies.iter().filter(|copy| copy.bytes > 0) {
            // SAFETY: the input has that length, and the output at least that length
            // (`Collector::add`); both are owned until the copy is done.
            unsafe {
                let bytes = copy.bytes as usize;
                result::memcpy_dtod_async(copy.to, copy.from, bytes, stream.cu_stream())?;
            }
        }
        Ok(())
    }

    pub(super) fn check_chunks(&self, stream: &CudaStream) -> Result<(), GpuError> {
        // SAFETY: as in `decode`.
        unsafe { self.launches().check_chunks(stream) }
    }

    fn launches(&self) -> JobLaunches<'_> {
        JobLaunches {
            kernels: &self.kernels,
            plan: &self.plan,
            jobs: self.jobs.address(),
            status: self.status.address(),
        }
    }

    pub(super) fn checksums(&self) -> Result<Vec<u32>, GpuError> {
        // SAFETY: the same as in `decode`; outputs have all weights.
        unsafe {
            let (own, jobs) = (self.device.own_stream(), self.jobs.memory());
            weight_checksums(own, &self.kernels.checksum, jobs, &self.plan.tensors)
        }
    }

    pub(super) fn status(&self) -> Result<(), GpuError> {
        let own = self.device.own_stream();
        let word = own.clone_dtoh(self.status.memory())?;
        own.synchronize()?;
        let Some(report) = status::read(word[0]) else {
            return Ok(());
        };
        const { assert!(status::GOOD == u64::MAX) };
        // SAFETY: this memory has a single word, and nobody else uses it now.
        unsafe { result::memset_d8_async(self.status.address(), 0xff, 8, own.cu_stream())? };
        Err(GpuError::BadChunk(self.plan.bad_chunk(report)))
    }

    /// The greatest stage of a launch.
    pub(crate) fn stage_bytes(&self) -> u32 {
        self.plan.stage_bytes()
    }
}
