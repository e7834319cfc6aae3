//! Memory and launches of a decoding batch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, LaunchConfig, result};

use super::job::TensorJob;
use super::jobs::{Class, ClassLaunch, Collector, Elements, JobRange, Jobs};
use super::kernels::FieldKernels;
use super::{DecodeKernels, DecodeTask, Input, status};
use crate::checksum::{ChecksumKernels, checksum_config, weight_checksums};
use crate::kernels::{Launch, WARP};
use crate::memory::{DeviceBuffer, Handover, InFlight, Output};
use crate::{Device, GpuError};

/// State and memory that the launches of a batch use.
#[derive(Debug)]
pub(crate) struct Decoding {
    pub(super) device: Device,
    kernels: Arc<DecodeKernels>,
    /// None if no launch needs them.
    field_kernels: Option<Arc<FieldKernels>>,
    checksum: Arc<ChecksumKernels>,
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
        let mut of_fields = plan.launches.iter().map(|launch| launch.class);
        let field_kernels = match of_fields.any(|class| matches!(class, Class::Fields(_))) {
            true => Some(device.kernels()?),
            false => None,
        };
        let decoding = Decoding {
            device: device.clone(),
            kernels: device.kernels()?,
            field_kernels,
            checksum: device.kernels()?,
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
        for launch in self.plan.launches.iter().filter(|it| it.chunk_count > 0) {
            self.decode_class(stream, launch)?;
        }
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

    fn decode_class(&self, stream: &CudaStream, of_class: &ClassLaunch) -> Result<(), GpuError> {
        let jobs = self.jobs_from(of_class.first_job);
        let launch = Launch::of(self.kernel(of_class.class))
            .arg(&jobs)
            .arg(&of_class.job_count)
            .arg(&of_class.first_chunk)
            .arg(&of_class.stage_bytes);
        let launch = match of_class.class {
            Class::Bf16 | Class::Exponents => launch,
            Class::Fields(_) => launch.arg(&of_class.most_fields),
        };
        let config = LaunchConfig {
            grid_dim: (of_class.chunk_count, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: of_class.table_bytes() + of_class.stage_bytes,
        };
        // SAFETY: the kernels' preconditions (kernels/decode/decode.cu and fields.cu):
        // `DeviceTensor` has checked palettes and record ends and holds parts that are aligned and
        // readable as `TensorJob` states; every output is aligned and long enough (`Output`,
        // `Collector::add`), and every chunk is in its tensor (`Input`); the jobs are those of the
        // kernel's class; the grid has a block of one warp for each chunk; `stage_bytes` is a
        // multiple of 16. All memory is owned until the launch is done.
        unsafe { launch.buffer(&self.status).launch(stream, config) }
    }

    fn kernel(&self, class: Class) -> &CudaFunction {
        match (class, &self.field_kernels) {
            (Class::Fields(log2), Some(kernels)) => &kernels.weights[usize::from(log2)],
            (Class::Fields(_), None) => unreachable!("`new` loads the kernels of all classes"),
            (Class::Bf16, _) => &self.kernels.weights,
            (Class::Exponents, _) => &self.kernels.exponents,
        }
    }

    /// The address of the jobs from this one on.
    fn jobs_from(&self, first_job: u32) -> u64 {
        self.jobs.address() + u64::from(first_job) * size_of::<TensorJob>() as u64
    }

    pub(super) fn check_chunks(&self, stream: &CudaStream) -> Result<(), GpuError> {
        for field in 0..self.plan.most_fields() {
            let kernel = &self.checksum.check_chunks;
            self.check(stream, kernel, self.plan.decoded, Some(&field))?;
        }
        self.check(stream, &self.checksum.check_blocks, self.plan.blocks, None)
    }

    /// `field` is the number of the coded field whose records are checked.
    fn check(
        &self,
        stream: &CudaStream,
        kernel: &CudaFunction,
        range: JobRange,
        field: Option<&u32>,
    ) -> Result<(), GpuError> {
        if range.chunk_count == 0 {
            return Ok(());
        }
        let jobs = self.jobs_from(range.first_job);
        let launch = Launch::of(kernel)
            .arg(&jobs)
            .arg(&range.job_count)
            .arg(&range.first_chunk)
            .arg(&range.chunk_count);
        let launch = match field {
            Some(field) => launch.arg(field),
            None => launch,
        };
        let launch = launch.buffer(&self.checksum.constants).buffer(&self.status);
        // SAFETY: the same as in `decode_class`; the constants are those that the kernel's head
        // names.
        unsafe { launch.launch(stream, checksum_config(range.chunk_count)) }
    }

    pub(super) fn checksums(&self) -> Result<Vec<u32>, GpuError> {
        // SAFETY: the same as in `decode_class`; outputs have all weights.
        unsafe {
            let (own, jobs) = (self.device.own_stream(), self.jobs.memory());
            weight_checksums(own, &self.checksum, jobs, &self.plan.tensors)
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
