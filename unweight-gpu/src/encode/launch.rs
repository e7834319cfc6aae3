//! Memory and launches of an encoding batch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::any::Any;
use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, result};
use unweight_format::{Form, Palette, Palettes, Payload, layout};

use super::EncodedTensor;
use super::job::EncodeJob;
use super::kernels::EncodeKernels;
use super::plan::{
    CODE_SHARED_BYTES, CODE_WARPS, COUNT_SHARED_BYTES, Division, JobGroup, Jobs, PlannedTensor,
    SPLIT_SHARED_BYTES, SPLIT_THREADS, Sources, add_chunks, count_threads, encode_shared_bytes,
    encode_threads, longest_payload_bytes, place_jobs,
};
use super::sample::ChosenForms;
use super::split::SplitJob;
use crate::checksum::{ChecksumKernels, TensorChunks, weight_checksums};
use crate::decode::job::{Addresses, BYTES_CHUNK_LOG2, TensorJob};
use crate::decode::plan::TABLE_BYTES;
use crate::decode::{DecodeKernels, status};
use crate::kernels::{Launch, WARP};
use crate::memory::{DeviceBuffer, Handover, InFlight, Output};
use crate::{Device, GpuError};

/// A tensor to be encoded, whose forms are known and whose source has an address.
pub(crate) struct PreparedTask {
    pub(crate) forms: ChosenForms,
    /// The number of weights.
    pub(crate) weights: u64,
    pub(crate) chunk_size_log2: u8,
    /// The address of the weights, or of the job of the records.
    pub(crate) source: u64,
    /// The address of the weights whose checksum the batch returns. If the source is records, the
    /// output is decoded to it first.
    pub(crate) checked: u64,
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
    sources: Sources,
    tensors: Vec<PlannedTensor>,
    /// The payloads, with records of their greatest length.
    payloads: Vec<Payload>,
    plan: Jobs,
    multiprocessors: u32,
    jobs: DeviceBuffer<EncodeJob>,
    splits: DeviceBuffer<SplitJob>,
    /// The addresses of the weights whose checksums are returned.
    checked: Vec<u64>,
    /// What is zero before each encoding: the totals of all jobs, and the positions of all records.
    zeroed: DeviceBuffer<u8>,
    /// Counts, codes, values and the like of all jobs.
    _scratch: CudaSlice<u8>,
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
    ) -> Result<InFlight<Encoder>, GpuError> {
        let (stream, context) = (device.own_stream(), device.context());
        let handover = Handover::new(context)?;
        let (mut tensors, mut payloads) = (vec![], vec![]);
        let (mut checked, mut outputs) = (vec![], vec![]);
        for mut task in tasks {
            let ChosenForms {
                forms,
                constant_bits,
            } = task.forms;
            let (weights, chunk_size_log2) = (task.weights, task.chunk_size_log2);
            let longest = longest_payload_bytes(forms.dtype(), weights, chunk_size_log2);
            let output = task.output.address(handover.stream(), context, longest)?;
            assert!(output.is_multiple_of(256), "outputs are aligned");
            let tensor = PlannedTensor {
                forms,
                constant_bits,
                weights,
                chunk_size_log2,
                source: task.source,
                output,
            };
            payloads.push(tensor.payload().expect("the forms fit the tensor"));
            tensors.push(tensor);
            checked.push(task.checked);
            outputs.push(task.output);
        }
        handover.finish()?;
        let (mut scratch, mut zeroed) = (Division::new(0), Division::new(0));
        place_jobs(&tensors, sources, &mut scratch, &mut zeroed)?;
        // SAFETY: kernels write all of this memory before they read it.
        let scratch = unsafe { stream.alloc::<u8>(scratch.used().max(1) as usize)? };
        let zeroed = stream.alloc_zeros::<u8>(zeroed.used().max(1) as usize)?;
        let zeroed = DeviceBuffer::new(zeroed, stream);
        let mut of_scratch = Division::new(scratch.device_ptr(stream).0);
        let mut of_zeroed = Division::new(zeroed.address());
        let plan = place_jobs(&tensors, sources, &mut of_scratch, &mut of_zeroed)?;
        let encoder = Encoder {
            device: device.clone(),
            kernels: device.kernels()?,
            checksum: device.kernels()?,
            sources,
            tensors,
            payloads,
            multiprocessors: device.multiprocessors()?,
            jobs: on_device(stream, &plan.encode)?,
            splits: on_device(stream, &plan.splits)?,
            plan,
            checked,
            zeroed,
            _scratch: scratch,
            outputs,
            _sources: kept,
            is_encoded: false,
        };
        stream.synchronize()?;
        Ok(InFlight::new(context, encoder))
    }

    pub(super) fn encode(&self, stream: &CudaStream) -> Result<(), GpuError> {
        assert_eq!(self.sources, Sources::Weights);
        self.zero(stream)?;
        let (direct, of_values) = (&self.plan.direct, &self.plan.of_values);
        // SAFETY: this holds for these launches and for those in the called functions. The kernels'
        // preconditions (heads of split.cu, histogram.cu, code_lengths.cu and encode.cu), except
        // for addresses, are those of `place_jobs`. Sources are aligned (`Source`,
        // `TranscodeBatch`). Outputs are aligned and long enough (`Encoder::new`):
        // `no_payload_is_longer_than_the_longest`. Scratch has the length that `place_jobs` took:
        // `memory_of_jobs_does_not_overlap`. Threads, shared memory and order are those that the
        // heads name. `every_type_is_encoded_as_by_the_reference` runs the kernels on the CPU.
        unsafe {
            self.split(stream)?;
            self.count(stream, direct, &self.kernels.count_exponents)?;
            self.count(stream, of_values, &self.kernels.count_values)?;
            for group in [direct, of_values] {
                self.choose_codes(stream, group, true)?;
            }
            let threads = encode_threads(direct.largest_log2.max(12));
            self.pack(stream, direct, &self.kernels.encode_chunks, threads)?;
            let threads = encode_threads(of_values.largest_log2.max(12));
            let kernel = &self.kernels.encode_chunks_of_values;
            self.pack(stream, of_values, kernel, threads)
        }
    }

    /// Splits the tensors whose values are encoded, or which have constants alone.
    ///
    /// # Safety
    /// The preconditions of `encode`, here and for the following functions.
    unsafe fn split(&self, stream: &CudaStream) -> Result<(), GpuError> {
        if self.plan.split_chunks == 0 {
            return Ok(());
        }
        let job_count = self.plan.splits.len() as u32;
        let launch = Launch::of(&self.kernels.split)
            .buffer(&self.splits)
            .arg(&job_count)
            .buffer(&self.checksum.constants);
        let config = config(self.plan.split_chunks, SPLIT_THREADS, SPLIT_SHARED_BYTES);
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.launch(stream, config) }
    }

    unsafe fn count(
        &self,
        stream: &CudaStream,
        group: &JobGroup,
        kernel: &CudaFunction,
    ) -> Result<(), GpuError> {
        if group.record_count == 0 {
            return Ok(());
        }
        let jobs = self.jobs_of(group);
        let threads = count_threads(group.largest_log2, group.record_count, self.multiprocessors);
        let launch = Launch::of(kernel).arg(&jobs).arg(&group.job_count);
        let config = config(group.record_count, threads, COUNT_SHARED_BYTES);
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.launch(stream, config) }
    }

    /// The address and length of each output.
    pub(crate) fn output_extents(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.tensors.iter().map(|tensor| {
            let (dtype, log2) = (tensor.forms.dtype(), tensor.chunk_size_log2);
            let bytes = longest_payload_bytes(dtype, tensor.weights, log2);
            (tensor.output, bytes)
        })
    }

    /// The jobs that encode from the sources.
    pub(crate) const fn direct(&self) -> &JobGroup {
        &self.plan.direct
    }

    /// The address of a group's jobs.
    pub(crate) const fn jobs_of(&self, group: &JobGroup) -> u64 {
        self.jobs.address() + group.first_job as u64 * size_of::<EncodeJob>() as u64
    }

    /// Zeroes the totals and the positions of records.
    pub(crate) fn zero(&self, stream: &CudaStream) -> Result<(), GpuError> {
        stream.context().bind_to_thread()?;
        let (at, bytes) = (self.zeroed.address(), self.zeroed.memory().num_bytes());
        // SAFETY: the range is exactly this batch's memory.
        unsafe { result::memset_d8_async(at, 0, bytes, stream.cu_stream())? };
        Ok(())
    }

    /// Launches the choice of codes. `gathers` is true if palette counts must still be taken from
    /// the counts of all values.
    ///
    /// # Safety
    /// See [`Encoder::split`].
    pub(crate) unsafe fn choose_codes(
        &self,
        stream: &CudaStream,
        group: &JobGroup,
        gathers: bool,
    ) -> Result<(), GpuError> {
        if !group.has_codes {
            return Ok(());
        }
        let (jobs, gathers) = (self.jobs_of(group), u32::from(gathers));
        let tensor_codes = self.codes_of(group);
        let launch = Launch::of(&self.kernels.choose_codes)
            .arg(&jobs)
            .arg(&group.job_count)
            .arg(&group.record_count)
            .arg(&tensor_codes)
            .arg(&gathers);
        let blocks = (group.job_count + group.record_count).div_ceil(CODE_WARPS);
        let config = config(blocks, CODE_WARPS * WARP, CODE_SHARED_BYTES);
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.launch(stream, config) }
    }

    /// Launches the encoder of a group's records.
    ///
    /// # Safety
    /// See [`Encoder::split`].
    pub(crate) unsafe fn pack(
        &self,
        stream: &CudaStream,
        group: &JobGroup,
        kernel: &CudaFunction,
        threads: u32,
    ) -> Result<(), GpuError> {
        if group.record_count == 0 {
            return Ok(());
        }
        let (jobs, tensor_codes) = (self.jobs_of(group), self.codes_of(group));
        let launch = Launch::of(kernel)
            .arg(&jobs)
            .arg(&group.job_count)
            .arg(&tensor_codes)
            .buffer(&self.checksum.constants);
        let shared_bytes = encode_shared_bytes(group.largest_log2);
        let config = config(group.record_count, threads, shared_bytes);
        // SAFETY: the caller keeps the preconditions.
        unsafe { launch.launch(stream, config) }
    }

    const fn codes_of(&self, group: &JobGroup) -> u64 {
        self.plan.tensor_codes + 8 * group.first_job as u64
    }

    pub(super) fn encoded(&self, stream: &Arc<CudaStream>) -> Result<Vec<EncodedTensor>, GpuError> {
        if !self.is_encoded {
            return Err(GpuError::NotEncoded);
        }
        let jobs = stream.clone_dtoh(self.jobs.memory())?;
        let ends = self.record_ends(stream)?;
        stream.synchronize()?;
        let mut encoded = Vec::with_capacity(self.tensors.len());
        for (number, payload) in self.payloads.iter().enumerate() {
            let of_tensor = &jobs[self.plan.first_jobs[number]..];
            let records_bytes = u64::from(ends[number]) * layout::RECORD_ALIGNMENT;
            let complete = payload.with_records_bytes(records_bytes);
            encoded.push(EncodedTensor {
                palettes: palettes_of(&self.tensors[number], of_tensor),
                payload: complete.expect("the device's record ends fit the tensor"),
                checksum: 0,
            });
        }
        if self.sources == Sources::Records {
            self.read_back(stream, &encoded)?;
        }
        for (tensor, checksum) in encoded.iter_mut().zip(self.checksums(stream)?) {
            tensor.checksum = checksum;
        }
        Ok(encoded)
    }

    /// The last record end of each tensor; 0 if it has none.
    fn record_ends(&self, stream: &CudaStream) -> Result<Vec<u32>, GpuError> {
        stream.context().bind_to_thread()?;
        let mut ends = vec![0; self.tensors.len()];
        let tensors = self.tensors.iter().zip(&self.payloads);
        for (end, (tensor, payload)) in ends.iter_mut().zip(tensors) {
            if payload.record_count() > 0 {
                let last = payload.record_ends().end() - layout::RECORD_END_BYTES;
                let (to, from) = (std::slice::from_mut(end), tensor.output + last);
                // SAFETY: the address is that of the last word of the record ends, in the output
                // that this batch owns. The caller waits for the copy.
                unsafe { result::memcpy_dtoh_async(to, from, stream.cu_stream())? };
            }
        }
        stream.synchronize()?;
        Ok(ends)
    }

    /// The checksums of the weights.
    fn checksums(&self, stream: &Arc<CudaStream>) -> Result<Vec<u32>, GpuError> {
        let (mut jobs, mut chunks, mut first_chunk) = (vec![], vec![], 0);
        for (tensor, &address) in self.tensors.iter().zip(&self.checked) {
            let bytes = tensor.weights * tensor.forms.dtype().weight_bytes() as u64;
            let of_tensor = TensorChunks::of_bytes(bytes, BYTES_CHUNK_LOG2, first_chunk);
            jobs.push(TensorJob::of_bytes(address, bytes, first_chunk));
            first_chunk = add_chunks(first_chunk, of_tensor.count())?;
            chunks.push(of_tensor);
        }
        if jobs.is_empty() {
            return Ok(vec![]);
        }
        let jobs = stream.clone_htod(&jobs)?;
        let kernels = &self.checksum;
        // SAFETY: the jobs are numbered consecutively; their outputs have the weights, at multiples
        // of 16, and are readable up to a multiple of 16 (`Source`, `TranscodeBatch`).
        unsafe { weight_checksums(stream, kernels, &jobs, &chunks) }
    }

    /// Decodes the encoded records, so that the checksums cover the content of the outputs.
    fn read_back(
        &self,
        stream: &Arc<CudaStream>,
        encoded: &[EncodedTensor],
    ) -> Result<(), GpuError> {
        let (mut jobs, mut chunk_count) = (vec![], 0);
        for ((tensor, encoded), &to) in self.tensors.iter().zip(encoded).zip(&self.checked) {
            let (payload, palettes) = (&encoded.payload, &encoded.palettes);
            let at = Addresses::of(payload, tensor.output);
            jobs.push(TensorJob::new(payload, palettes, at, to, chunk_count, 0));
            chunk_count = add_chunks(chunk_count, payload.chunk_count())?;
        }
        if chunk_count == 0 {
            return Ok(());
        }
        let kernels: Arc<DecodeKernels> = self.device.kernels()?;
        let job_count = jobs.len() as u32;
        let jobs = DeviceBuffer::new(stream.clone_htod(&jobs)?, stream);
        // An error in the records changes the checksum, so this status is not read.
        let status = DeviceBuffer::new(stream.clone_htod(&[status::GOOD])?, stream);
        let (first_chunk, stage_bytes) = (0u32, 0u32);
        let launch = Launch::of(&kernels.weights)
            .buffer(&jobs)
            .arg(&job_count)
            .arg(&first_chunk)
            .arg(&stage_bytes)
            .buffer(&status);
        // SAFETY: the kernel's preconditions (kernels/decode/decode.cu): for any sources, a launch
        // has written ascending record ends, and no record is longer than a verbatim one; the
        // tensors are BF16 of which the exponent alone is coded; outputs are aligned, and longer
        // than what kernels read of a plain plane; the grid has a block of one warp for each chunk,
        // which reads its record in place.
        unsafe { launch.launch(stream, config(chunk_count, WARP, TABLE_BYTES))? };
        Ok(stream.synchronize()?)
    }
}

/// The palettes of a tensor, whose jobs come first in `jobs`.
fn palettes_of(tensor: &PlannedTensor, jobs: &[EncodeJob]) -> Palettes {
    let forms = tensor.forms;
    let mut palettes = Palettes::raw(forms.dtype());
    let mut jobs = jobs.iter();
    for (number, (field, form)) in forms.iter().enumerate() {
        let changed = match (form, form.encoding()) {
            (Form::Constant, _) => palettes.with_constant(number, field.get(tensor.constant_bits)),
            (_, Some(encoding)) => {
                let mut values = jobs.next().expect("a job for each coded field").palette;
                values[layout::palette_entries(field.width())..].fill(0);
                let palette = Palette::new(field.width(), values);
                let palette = palette.expect("the device writes values in order");
                palettes.with_coded(number, encoding, palette)
            }
            (_, None) => continue,
        };
        palettes = changed.expect("the forms are valid");
    }
    palettes
}

/// A copy of these jobs in device memory.
fn on_device<T: cudarc::driver::DeviceRepr + Default + Clone>(
    stream: &Arc<CudaStream>,
    jobs: &[T],
) -> Result<DeviceBuffer<T>, GpuError> {
    // A buffer has at least one element.
    let memory = match jobs.is_empty() {
        true => stream.clone_htod(&[T::default()])?,
        false => stream.clone_htod(jobs)?,
    };
    Ok(DeviceBuffer::new(memory, stream))
}

pub(crate) const fn config(blocks: u32, threads: u32, shared_mem_bytes: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes,
    }
}
