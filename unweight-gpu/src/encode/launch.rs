//! Memory and launches of an encoding batch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::any::Any;
use std::sync::Arc;

use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg, result,
};
use unweight_format::write::CodedParameters;
use unweight_format::{Encoding, Extent, Palette, layout, limits};

use super::EncodedTensor;
use super::job::{EncodeJob, TOTAL_BYTES};
use super::kernels::{EncodeKernels, SourceKernels};
use super::plan::{
    CODE_SHARED_BYTES, CODE_WARPS, COUNT_SHARED_BYTES, Planes, count_threads, encode_shared_bytes,
    encode_threads, place_scratch,
};
use crate::checksum::{ChecksumKernels, Outputs, TensorChunks, weight_checksums};
use crate::decode::DecodeKernels;
use crate::decode::job::TensorJob;
use crate::decode::plan::TABLE_BYTES;
use crate::decode::status;
use crate::kernels::{Launch, WARP};
use crate::memory::{DeviceBuffer, Handover, InFlight, Output};
use crate::{Device, GpuError, MOST_CHUNKS};

/// The kind of all sources in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sources {
    Weights,
    /// Each source is an exponent plane and a sign-mantissa plane.
    Planes,
}

/// A tensor to be encoded, whose source has an address.
pub(crate) struct PreparedTask {
    /// The job, with the addresses of its source.
    pub(crate) job: EncodeJob,
    /// The address of its weights or of its exponents.
    pub(crate) source: u64,
    pub(crate) chunk_size_log2: u8,
    pub(crate) output: Output,
}

/// Memory that a batch keeps alive without using it itself.
pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

/// State and memory that the launches of a batch use.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(super) device: Device,
    kernels: Arc<EncodeKernels>,
    pub(crate) checksum: Arc<ChecksumKernels>,
    decode: Arc<DecodeKernels>,
    sources: Sources,
    pub(crate) encoding: Encoding,
    /// Binary logarithm of the largest chunk size.
    pub(crate) largest_log2: u32,
    tensors: Vec<TensorChunks>,
    planes: Vec<Planes>,
    pub(crate) chunk_count: u32,
    count_threads: u32,
    pub(crate) jobs: DeviceBuffer<EncodeJob>,
    /// Jobs for the checksums of the sources. Their palettes are still missing.
    checksum_jobs: Vec<TensorJob>,
    _counts: CudaSlice<u32>,
    /// The totals of all jobs, followed by the positions of all chunks.
    totals: DeviceBuffer<u64>,
    tensor_codes: DeviceBuffer<u64>,
    /// Palette counts, codes and record lengths of all jobs.
    _scratch: CudaSlice<u8>,
    /// The address of each tensor's record ends.
    record_ends: Vec<u64>,
    pub(super) outputs: Vec<Output>,
    _sources: Vec<Kept>,
    /// Whether all launches of an encoding have been made. The outputs, and in particular the
    /// record ends, are then the encoder's.
    pub(super) is_encoded: bool,
}

impl Encoder {
    pub(super) fn new(
        device: &Device,
        tasks: Vec<PreparedTask>,
        sources: Sources,
        kept: Vec<Kept>,
        encoding: Encoding,
    ) -> Result<InFlight<Encoder>, GpuError> {
        assert_ne!(encoding, Encoding::Raw, "raw tensors are not coded");
        let (mut jobs, mut of_tensors, mut planes_of) = (vec![], vec![], vec![]);
        let (mut chunk_count, mut scratch_bytes) = (0, 0);
        let largest_log2 = (tasks.iter().map(|task| task.job.chunk_size_log2).max())
            .unwrap_or((*limits::CHUNK_SIZE_LOG2.start()).into());
        let (stream, context) = (device.own_stream(), device.context());
        let handover = Handover::new(context)?;
        let (mut checksum_sources, mut outputs) = (vec![], vec![]);
        for mut task in tasks {
            let (mut job, chunk_size_log2) = (task.job, task.chunk_size_log2);
            let weights = job.weight_count;
            if !(1..=limits::CODED_WEIGHTS).contains(&weights) {
                return Err(GpuError::NotCoded(weights));
            }
            let planes = Planes::new(weights, chunk_size_log2);
            let to = task
                .output
                .address(handover.stream(), context, planes.longest_bytes())?;
            assert!(
                to.is_multiple_of(layout::PLANE_ALIGNMENT),
                "planes are aligned"
            );
            job.first_chunk = chunk_count as u32;
            job.sign_mantissa = to + planes.sign_mantissa.offset;
            job.record_ends = to + planes.record_ends.offset;
            job.records = to + planes.records;
            // The job is only needed for its length here. Addresses follow when memory is
            // allocated.
            place_scratch(&mut job, 0, &mut scratch_bytes);
            of_tensors.push(TensorChunks::of_weights(
                weights,
                chunk_size_log2,
                job.first_chunk,
            ));
            chunk_count += u64::from(job.chunk_count);
            if chunk_count > MOST_CHUNKS.into() {
                return Err(GpuError::TooManyChunks(chunk_count));
            }
            jobs.push(job);
            planes_of.push(planes);
            checksum_sources.push(task.source);
            outputs.push(task.output);
        }
        handover.finish()?;
        // SAFETY: kernels write all of this memory before they read it.
        let scratch = unsafe { stream.alloc::<u8>(scratch_bytes.max(1) as usize)? };
        let total_bytes = TOTAL_BYTES * jobs.len() as u64;
        let totals = (total_bytes / 8 + chunk_count).max(1) as usize;
        let totals = DeviceBuffer::new(stream.alloc_zeros(totals)?, stream);
        // SAFETY: kernels write all of this memory before they read it.
        let counts = unsafe { stream.alloc::<u32>(256 * (chunk_count as usize).max(1))? };
        let counts_address = counts.device_ptr(stream).0;
        let scratch_address = scratch.device_ptr(stream).0;
        let mut used = 0;
        for (number, job) in (0..).zip(&mut jobs) {
            place_scratch(job, scratch_address, &mut used);
            job.counts = counts_address + 256 * 4 * u64::from(job.first_chunk);
            job.totals = totals.address() + TOTAL_BYTES * number;
            job.look_back = totals.address() + total_bytes + 8 * u64::from(job.first_chunk);
        }
        let checksum_jobs: Vec<_> = (jobs.iter().zip(checksum_sources))
            .map(|(job, source)| job.checksum_job(source))
            .collect();
        let encoder = Encoder {
            device: device.clone(),
            kernels: device.kernels()?,
            checksum: device.kernels()?,
            decode: device.kernels()?,
            sources,
            encoding,
            largest_log2,
            tensors: of_tensors,
            planes: planes_of,
            chunk_count: chunk_count as u32,
            count_threads: count_threads(
                largest_log2,
                chunk_count as u32,
                device.multiprocessors()?,
            ),
            record_ends: jobs.iter().map(|job| job.record_ends).collect(),
            jobs: DeviceBuffer::new(stream.clone_htod(&jobs)?, stream),
            checksum_jobs,
            _counts: counts,
            totals,
            tensor_codes: DeviceBuffer::new(stream.alloc_zeros(jobs.len().max(1))?, stream),
            _scratch: scratch,
            outputs,
            _sources: kept,
            is_encoded: false,
        };
        stream.synchronize()?;
        Ok(InFlight::new(context, encoder))
    }

    pub(super) fn encode(&self, stream: &CudaStream) -> Result<(), GpuError> {
        if self.chunk_count == 0 {
            return Ok(());
        }
        let (job_count, reading) = (self.tensors.len() as u32, self.source_kernels());
        self.zero_totals(stream)?;
        // SAFETY: this holds for these launches and for those in the called functions. The kernels'
        // preconditions (heads of histogram.cu, code_lengths.cu and encode.cu), except for
        // addresses, are those of `EncodeJob::new`. Sources are aligned (`Source`,
        // `TranscodeBatch`). Outputs are aligned and long enough (`Encoder::new`). Scratch has
        // the length from `place_scratch`. Threads, shared memory and order are those that the
        // heads name.
        unsafe {
            let count = config(self.chunk_count, self.count_threads, COUNT_SHARED_BYTES);
            Launch::of(&reading.count_exponents)
                .buffer(&self.jobs)
                .arg(&job_count)
                .launch(stream, count)?;
            if self.encoding == Encoding::Huffman {
                self.choose_codes(stream, true)?;
            }
            self.pack(stream, &reading.encode_chunks, self.pack_config())?;
        }
        Ok(())
    }

    fn source_kernels(&self) -> &SourceKernels {
        match self.sources {
            Sources::Weights => &self.kernels.of_weights,
            Sources::Planes => &self.kernels.of_planes,
        }
    }

    /// The number of jobs.
    pub(crate) fn job_count(&self) -> u32 {
        self.tensors.len() as u32
    }

    /// Zeroes the totals and the positions of chunks.
    pub(crate) fn zero_totals(&self, stream: &CudaStream) -> Result<(), GpuError> {
        stream.context().bind_to_thread()?;
        let (at, bytes) = (self.totals.address(), self.totals.memory().num_bytes());
        // SAFETY: the range is exactly this batch's memory for the totals.
        unsafe { result::memset_d8_async(at, 0, bytes, stream.cu_stream())? };
        Ok(())
    }

    /// Launches the choice of codes. `gathers` is true if palette counts must still be taken from
    /// the counts of all exponents.
    ///
    /// # Safety
    /// The preconditions of `encode`, here and for the following functions.
    pub(crate) unsafe fn choose_codes(
        &self,
        stream: &CudaStream,
        gathers: bool,
    ) -> Result<(), GpuError> {
        let (job_count, gathers) = (self.tensors.len() as u32, u32::from(gathers));
        let launch = Launch::of(&self.kernels.choose_codes)
            .buffer(&self.jobs)
            .arg(&job_count)
            .arg(&self.chunk_count)
            .buffer(&self.tensor_codes)
            .arg(&gathers);
        let blocks = (job_count + self.chunk_count).div_ceil(CODE_WARPS);
        let config = config(blocks, CODE_WARPS * WARP, CODE_SHARED_BYTES);
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.launch(stream, config)? };
        Ok(())
    }

    pub(crate) unsafe fn pack(
        &self,
        stream: &CudaStream,
        kernel: &CudaFunction,
        config: LaunchConfig,
    ) -> Result<(), GpuError> {
        let job_count = self.tensors.len() as u32;
        let launch = Launch::of(kernel)
            .buffer(&self.jobs)
            .arg(&job_count)
            .buffer(&self.tensor_codes)
            .buffer(&self.checksum.constants);
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.launch(stream, config)? };
        Ok(())
    }

    pub(crate) const fn pack_config(&self) -> LaunchConfig {
        let largest = self.largest_log2;
        config(
            self.chunk_count,
            encode_threads(largest),
            encode_shared_bytes(largest),
        )
    }

    pub(super) fn encoded(&self, stream: &Arc<CudaStream>) -> Result<Vec<EncodedTensor>, GpuError> {
        if !self.is_encoded {
            return Err(GpuError::NotEncoded);
        }
        let outputs = match self.sources {
            Sources::Weights => Outputs::Weights,
            Sources::Planes => Outputs::Exponents,
        };
        let jobs = stream.clone_dtoh(self.jobs.memory())?;
        let checksum_jobs: Vec<_> = (self.checksum_jobs.iter().zip(&jobs))
            .map(|(&checksum, job)| TensorJob {
                palette: job.palette,
                ..checksum
            })
            .collect();
        let checksum_jobs = stream.clone_htod(&checksum_jobs)?;
        if let Sources::Planes = self.sources {
            self.read_back(stream, &checksum_jobs)?;
        }
        // SAFETY: the jobs are numbered consecutively, and their outputs are the sources;
        // sign-mantissa bytes, record ends and records have been written.
        let checksums = unsafe {
            weight_checksums(
                stream,
                &self.checksum,
                outputs,
                &checksum_jobs,
                &self.tensors,
            )?
        };
        let mut encoded = Vec::with_capacity(self.tensors.len());
        for (number, planes) in self.planes.iter().enumerate() {
            let palette =
                Palette::new(jobs[number].palette).expect("the device writes it in order");
            let last = self.record_ends[number] + planes.record_ends.length - 4;
            let mut end = [0u32];
            // SAFETY: the address is that of the last word of the record ends, in the output that
            // this batch owns.
            unsafe {
                cudarc::driver::result::memcpy_dtoh_async(&mut end, last, stream.cu_stream())?
            };
            stream.synchronize()?;
            encoded.push(EncodedTensor {
                parameters: CodedParameters {
                    encoding: self.encoding,
                    chunk_size_log2: planes.chunk_size_log2,
                    palette,
                },
                weights: planes.sign_mantissa.length,
                checksum: checksums[number],
                sign_mantissa: planes.sign_mantissa,
                record_ends: planes.record_ends,
                records: Extent {
                    offset: planes.records,
                    length: u64::from(end[0]) * layout::RECORD_ALIGNMENT,
                },
            });
        }
        Ok(encoded)
    }

    /// Decodes the encoded records over the sources' exponents, so that the checksum covers the
    /// content of the outputs.
    fn read_back(
        &self,
        stream: &Arc<CudaStream>,
        jobs: &CudaSlice<TensorJob>,
    ) -> Result<(), GpuError> {
        if self.chunk_count == 0 {
            return Ok(());
        }
        let (job_count, stage_bytes) = (self.tensors.len() as u32, 0u32);
        // An error in the records changes the checksum, so this status is not read.
        let mut status = stream.clone_htod(&[status::GOOD])?;
        let mut launch = stream.launch_builder(&self.decode.exponents);
        launch
            .arg(jobs)
            .arg(&job_count)
            .arg(&stage_bytes)
            .arg(&mut status);
        // SAFETY: the kernel's preconditions (kernels/decode/decode.cu): for any sources, a launch
        // has written ascending record ends, and no record is longer than a verbatim one; planes
        // and exponents are aligned; the grid has a block of one warp for each chunk, which reads
        // its record in place.
        unsafe { launch.launch(config(self.chunk_count, WARP, TABLE_BYTES))? };
        Ok(())
    }
}

pub(crate) const fn config(blocks: u32, threads: u32, shared_mem_bytes: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes,
    }
}
