//! Memory and launches of a decoding batch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, LaunchConfig, result};

use super::input::Kind;
use super::job::{BYTES_CHUNK_LOG2, TensorJob};
use super::plan::{TABLE_BYTES, stage_bytes};
use super::status::{self, BadChunk};
use super::{DecodeKernels, DecodeTask, Input};
use crate::checksum::{ChecksumKernels, Outputs, TensorChunks, checksum_config, weight_checksums};
use crate::kernels::{Launch, WARP};
use crate::memory::{DeviceBuffer, Handover, InFlight, Output, require_context};
use crate::{Device, GpuError, MOST_CHUNKS};

/// State and memory that the launches of a batch use.
#[derive(Debug)]
pub(crate) struct Decoding {
    pub(super) device: Device,
    kernels: Arc<DecodeKernels>,
    checksum: Arc<ChecksumKernels>,
    /// The tensors in the caller's order.
    tensors: Vec<TensorChunks>,
    /// The coded tensors. Their jobs come first.
    coded: Vec<CodedChunks>,
    copies: Vec<RawCopy>,
    coded_chunk_count: u32,
    pub(crate) stage_bytes: u32,
    pub(super) elements: Elements,
    pub(crate) jobs: Arc<DeviceBuffer<TensorJob>>,
    /// The smallest status word since the last query: the first error.
    pub(crate) status: Arc<DeviceBuffer<u64>>,
    _inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// The memory of outputs that were given as addresses.
    _exponents: Option<Arc<CudaSlice<u8>>>,
}

/// The elements of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    Weights,
    Exponents,
}

/// The chunks of a coded tensor in the launch.
#[derive(Debug)]
struct CodedChunks {
    /// The index of the tensor in the batch.
    tensor: usize,
    first_chunk: u32,
    skipped_chunks: u32,
}

/// The copy of a raw tensor.
#[derive(Debug)]
struct RawCopy {
    from: u64,
    to: u64,
    bytes: u64,
}

impl Elements {
    const fn bytes(self) -> u64 {
        match self {
            Elements::Weights => 2,
            Elements::Exponents => 1,
        }
    }
}

/// Jobs of a batch while they are collected.
#[derive(Debug, Default)]
struct Jobs {
    coded: Vec<TensorJob>,
    /// Raw tensors: index in the batch and output address.
    raw: Vec<(usize, u64)>,
    chunks: Vec<CodedChunks>,
    copies: Vec<RawCopy>,
    tensors: Vec<TensorChunks>,
    coded_chunk_count: u64,
    raw_chunk_count: u64,
    /// The longest record in bytes, and the largest chunk in weights.
    longest_record_bytes: u64,
    largest_chunk_weights: u64,
}

impl Jobs {
    fn add(
        &mut self,
        handover: &Handover,
        device: &Device,
        elements: Elements,
        task: &mut DecodeTask,
    ) -> Result<(), GpuError> {
        let (context, stream) = (device.context(), handover.stream());
        let number = self.tensors.len();
        match &task.input.0 {
            Kind::Coded { tensor, chunks } => {
                require_context(tensor.context(), context)?;
                let planes = tensor.planes();
                let log2 = planes.chunk_size_log2();
                let end = (chunks.end << log2).min(planes.weights());
                let weights = end - (chunks.start << log2).min(end);
                let needed_bytes = weights * elements.bytes();
                let to = task.output.address(stream, context, needed_bytes)?;
                // A tensor has at most 2^23 chunks.
                let first_chunk = self.coded_chunk_count as u32;
                let skipped_chunks = chunks.start as u32;
                self.chunks.push(CodedChunks {
                    tensor: number,
                    first_chunk,
                    skipped_chunks,
                });
                let at = tensor.addresses();
                let job = TensorJob::new(planes, at, to, first_chunk, skipped_chunks);
                self.coded.push(job);
                let of_weights = TensorChunks::of_weights(weights, log2, first_chunk);
                self.tensors.push(of_weights);
                self.coded_chunk_count += chunks.end - chunks.start;
                let longest = self.longest_record_bytes.max(tensor.longest_record_bytes());
                self.longest_record_bytes = longest;
                let chunk_weights = planes.weights().min(1 << log2);
                self.largest_chunk_weights = self.largest_chunk_weights.max(chunk_weights);
            }
            Kind::Raw(memory) => {
                assert_eq!(elements, Elements::Weights, "raw tensors have no planes");
                require_context(memory.context(), context)?;
                let bytes = memory.num_bytes() as u64;
                let to = task.output.address(stream, context, bytes)?;
                let from = memory.device_ptr(stream).0;
                self.copies.push(RawCopy { from, to, bytes });
                let first_chunk = self.raw_chunk_count as u32;
                let of_bytes = TensorChunks::of_bytes(bytes, BYTES_CHUNK_LOG2, first_chunk);
                self.raw_chunk_count += of_bytes.count();
                self.raw.push((number, to));
                self.tensors.push(of_bytes);
            }
        }
        let chunk_count = self.coded_chunk_count + self.raw_chunk_count;
        match chunk_count > MOST_CHUNKS.into() {
            true => Err(GpuError::TooManyChunks(chunk_count)),
            false => Ok(()),
        }
    }

    /// The jobs of all tensors. Those of raw tensors come after all that are decoded.
    fn of_all_tensors(&mut self) -> Vec<TensorJob> {
        let mut jobs = std::mem::take(&mut self.coded);
        for &(number, output) in &self.raw {
            let tensor = &mut self.tensors[number];
            tensor.first_chunk += self.coded_chunk_count as u32;
            jobs.push(TensorJob::of_bytes(
                output,
                tensor.bytes,
                tensor.first_chunk,
            ));
        }
        jobs
    }
}

impl Decoding {
    /// `exponents` has the memory of outputs that were given as addresses.
    pub(super) fn new(
        device: &Device,
        tensors: Vec<DecodeTask>,
        elements: Elements,
        exponents: Option<Arc<CudaSlice<u8>>>,
    ) -> Result<InFlight<Decoding>, GpuError> {
        let (own, context) = (device.own_stream(), device.context());
        let handover = Handover::new(context)?;
        let mut jobs = Jobs::default();
        let (mut inputs, mut outputs) = (vec![], vec![]);
        for mut task in tensors {
            jobs.add(&handover, device, elements, &mut task)?;
            inputs.push(task.input);
            outputs.push(task.output);
        }
        let of_tensors = jobs.of_all_tensors();
        handover.finish()?;
        let of_tensors = own.clone_htod(&of_tensors)?;
        let status = own.clone_htod(&[status::GOOD])?;
        let decoding = Decoding {
            device: device.clone(),
            kernels: device.kernels()?,
            checksum: device.kernels()?,
            tensors: jobs.tensors,
            coded: jobs.chunks,
            copies: jobs.copies,
            coded_chunk_count: jobs.coded_chunk_count as u32,
            stage_bytes: stage_bytes(jobs.longest_record_bytes, jobs.largest_chunk_weights),
            elements,
            jobs: Arc::new(DeviceBuffer::new(of_tensors, own)),
            status: Arc::new(DeviceBuffer::new(status, own)),
            _inputs: inputs,
            outputs,
            _exponents: exponents,
        };
        own.synchronize()?;
        Ok(InFlight::new(context, decoding))
    }

    pub(super) fn decode(&self, stream: &CudaStream) -> Result<(), GpuError> {
        let kernel = match self.elements {
            Elements::Weights => &self.kernels.weights,
            Elements::Exponents => &self.kernels.exponents,
        };
        let config = LaunchConfig {
            grid_dim: (self.coded_chunk_count, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: TABLE_BYTES + self.stage_bytes,
        };
        let job_count = self.coded.len() as u32;
        if self.coded_chunk_count > 0 {
            let launch = Launch::of(kernel)
                .buffer(&self.jobs)
                .arg(&job_count)
                .arg(&self.stage_bytes)
                .buffer(&self.status);
            // SAFETY: the kernel's preconditions (kernels/decode/decode.cu): `DeviceTensor` has
            // checked the record ends and holds planes aligned as in the file; every output is
            // aligned and long enough (`Output`, `Decoding::new`), and every chunk is in its tensor
            // (`Input`); the grid has a block of one warp for each chunk; `stage_bytes` is a
            // multiple of 16. All memory is owned until the launch is done.
            unsafe { launch.launch(stream, config)? };
        }
        stream.context().bind_to_thread()?;
        for copy in self.copies.iter().filter(|copy| copy.bytes > 0) {
            // SAFETY: the input has that length, and the output at least that length
            // (`Decoding::new`); both are owned until the copy is done.
            unsafe {
                let bytes = copy.bytes as usize;
                result::memcpy_dtod_async(copy.to, copy.from, bytes, stream.cu_stream())?;
            }
        }
        Ok(())
    }

    pub(super) fn check_chunks(&self, stream: &CudaStream) -> Result<(), GpuError> {
        if self.coded_chunk_count == 0 {
            return Ok(());
        }
        let job_count = self.coded.len() as u32;
        let launch = Launch::of(&self.checksum.check_chunks)
            .buffer(&self.jobs)
            .arg(&job_count)
            .arg(&self.coded_chunk_count)
            .buffer(&self.checksum.constants)
            .buffer(&self.status);
        // SAFETY: the same as in `decode`; the constants are those that the kernel's head names.
        unsafe { launch.launch(stream, checksum_config(self.coded_chunk_count))? };
        Ok(())
    }

    pub(super) fn checksums(&self) -> Result<Vec<u32>, GpuError> {
        // SAFETY: the same as in `decode`; outputs have 2 bytes for each weight.
        unsafe {
            let (own, of) = (self.device.own_stream(), Outputs::Weights);
            weight_checksums(own, &self.checksum, of, self.jobs.memory(), &self.tensors)
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
        let chunk = report.chunk_in_launch;
        let number = (self.coded).partition_point(|coded| coded.first_chunk <= chunk) - 1;
        let coded = &self.coded[number];
        Err(GpuError::BadChunk(BadChunk {
            tensor: coded.tensor,
            chunk: (chunk - coded.first_chunk + coded.skipped_chunks).into(),
            rule: report.rule,
        }))
    }
}
