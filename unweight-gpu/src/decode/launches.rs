//! Launches of a list of jobs: decoding, and checks of chunks, blocks and weights.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream, LaunchConfig};

use super::DecodeKernels;
use super::job::TensorJob;
use super::jobs::{Class, ClassLaunch, JobRange, Jobs};
use super::kernels::FieldKernels;
use crate::checksum::{ChecksumKernels, TensorChunks, checksum_config};
use crate::kernels::{Launch, WARP};
use crate::{Device, GpuError};

/// The kernels that decode and check lists of jobs.
#[derive(Debug)]
pub(crate) struct JobKernels {
    decode: Arc<DecodeKernels>,
    /// None if no launch so far needed them.
    fields: Option<Arc<FieldKernels>>,
    pub(crate) checksum: Arc<ChecksumKernels>,
}

impl JobKernels {
    pub(crate) fn new(device: &Device) -> Result<JobKernels, GpuError> {
        Ok(JobKernels {
            decode: device.kernels()?,
            fields: None,
            checksum: device.kernels()?,
        })
    }

    /// Loads what these jobs need beside the kernels that every program needs.
    pub(crate) fn load_for(&mut self, device: &Device, jobs: &Jobs) -> Result<(), GpuError> {
        let mut classes = jobs.launches.iter().map(|launch| launch.class);
        if self.fields.is_none() && classes.any(|class| matches!(class, Class::Fields(_))) {
            self.fields = Some(device.kernels()?);
        }
        Ok(())
    }

    fn decoder(&self, class: Class) -> &CudaFunction {
        match (class, &self.fields) {
            (Class::Fields(log2), Some(kernels)) => &kernels.weights[usize::from(log2)],
            (Class::Fields(_), None) => unreachable!("`load_for` loads the kernels of all classes"),
            (Class::Bf16, _) => &self.decode.weights,
            (Class::Exponents, _) => &self.decode.exponents,
        }
    }
}

/// Jobs in device memory, and the kernels for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobLaunches<'a> {
    pub(crate) kernels: &'a JobKernels,
    pub(crate) plan: &'a Jobs,
    /// Address of the jobs of the plan.
    pub(crate) jobs: u64,
    /// Address of the status word.
    pub(crate) status: u64,
}

impl JobLaunches<'_> {
    /// Decodes all chunks.
    ///
    /// # Safety
    /// The jobs and the status word must be at their addresses when the launches run, and the jobs
    /// must keep the preconditions of `TensorJob`: palettes and record ends that were checked;
    /// parts that are aligned and readable; outputs that are aligned and long enough, which nobody
    /// else uses. All of this must hold until the launches have run.
    pub(crate) unsafe fn decode(&self, stream: &CudaStream) -> Result<(), GpuError> {
        for launch in self.plan.launches.iter().filter(|it| it.chunk_count > 0) {
            // SAFETY: the caller keeps the preconditions.
            unsafe { self.decode_class(stream, launch)? };
        }
        Ok(())
    }

    /// # Safety
    /// The preconditions of [`JobLaunches::decode`].
    unsafe fn decode_class(
        &self,
        stream: &CudaStream,
        of_class: &ClassLaunch,
    ) -> Result<(), GpuError> {
        let jobs = self.jobs_from(of_class.first_job);
        let launch = Launch::of(self.kernels.decoder(of_class.class))
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
        // SAFETY: the kernels' preconditions (kernels/decode/decode.cu and fields.cu): the caller
        // keeps those of the jobs; the jobs are those of the kernel's class; the grid has a block
        // of one warp for each chunk; `stage_bytes` is a multiple of 16. On the CPU:
        // `every_type_decodes_in_all_of_its_forms`, `every_length_around_a_step_and_a_group_decodes`.
        unsafe { launch.arg(&self.status).launch(stream, config) }
    }

    /// The address of the jobs from this one on.
    fn jobs_from(&self, first_job: u32) -> u64 {
        self.jobs + u64::from(first_job) * size_of::<TensorJob>() as u64
    }

    /// Checks the checksums of all chunks and blocks.
    ///
    /// # Safety
    /// The preconditions of [`JobLaunches::decode`].
    pub(crate) unsafe fn check_chunks(&self, stream: &CudaStream) -> Result<(), GpuError> {
        let checksum = &self.kernels.checksum;
        for field in 0..self.plan.most_fields() {
            let (kernel, range) = (&checksum.check_chunks, self.plan.decoded);
            // SAFETY: the caller keeps the preconditions.
            unsafe { self.check(stream, kernel, range, Some(&field))? };
        }
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.check(stream, &checksum.check_blocks, self.plan.blocks, None) }
    }

    /// `field` is the number of the coded field whose records are checked.
    ///
    /// # Safety
    /// The preconditions of [`JobLaunches::decode`].
    unsafe fn check(
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
        let launch = launch.buffer(&self.kernels.checksum.constants);
        let config = checksum_config(range.chunk_count);
        // SAFETY: the caller keeps the preconditions of the jobs; the constants are those that the
        // kernel's head names.
        unsafe { launch.arg(&self.status).launch(stream, config) }
    }

    /// Writes the CRC-32 of each chunk of the outputs to an array at `checksums`, in the order of
    /// the launch ([`Jobs::output_chunks`] words).
    ///
    /// # Safety
    /// The preconditions of [`JobLaunches::decode`]; the outputs must have been written, and nobody
    /// else may use the array.
    pub(crate) unsafe fn checksums(
        &self,
        stream: &CudaStream,
        checksums: u64,
    ) -> Result<(), GpuError> {
        let (job_count, chunk_count) = (self.plan.tensors.len() as u32, self.plan.output_chunks());
        if chunk_count == 0 {
            return Ok(());
        }
        let launch = Launch::of(&self.kernels.checksum.weights)
            .arg(&self.jobs)
            .arg(&job_count)
            .arg(&chunk_count)
            .buffer(&self.kernels.checksum.constants)
            .arg(&checksums);
        // SAFETY: the caller keeps the preconditions. The first jobs are those with outputs, one
        // for each tensor, and their chunks are numbered from 0. The constants are those that the
        // kernel's head names.
        unsafe { launch.launch(stream, checksum_config(chunk_count)) }
    }
}

impl Jobs {
    /// The number of chunks that outputs consist of.
    pub(crate) fn output_chunks(&self) -> u32 {
        self.tensors.iter().map(TensorChunks::count).sum::<u64>() as u32
    }
}
