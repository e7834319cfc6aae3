//! Batches of tensors that are decoded in one launch.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, LaunchConfig, result};

use crate::checksum::ChecksumKernels;
use crate::decode::DecodeKernels;
use crate::in_flight::{Handover, InFlight, require_context};
use crate::input::Kind;
use crate::job::{BYTES_CHUNK_LOG2, TensorJob};
use crate::kernels::{DeviceBuffer, Launch};
use crate::plan::{self, TABLE_BYTES, WARP};
use crate::status::{self, BadChunk};
use crate::weight_checksums::{Outputs, TensorChunks, checksum_config, weight_checksums};
use crate::{Device, GpuError, Input, MOST_CHUNKS, Output};

/// Tensors, or chunks of tensors, to decode together, each with its output. Raw tensors in a batch
/// are copied. A batch is created once; its launches neither allocate nor wait.
///
/// A batch owns its outputs and keeps its inputs. [`Batch::into_outputs`] waits for the launches
/// and returns the outputs. Dropping a batch waits too, and forgetting one leaks the memory.
/// Launches may be on any stream of the device's context. Launches on different streams run one
/// after the other.
///
/// Decoded data must not be trusted before [`Batch::status`] has succeeded and [`Batch::checksums`]
/// has been compared with the directory. [`decode_verified`](crate::decode_verified) does all of
/// this for one tensor.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use unweight_format::Tensor;
/// # use unweight_gpu::{Batch, Device, DeviceTensor, GpuError};
/// # type Tensors<'a> = [(Tensor<'a>, Arc<DeviceTensor>)];
/// # fn decode(device: &Device, tensors: &Tensors<'_>) -> Result<(), GpuError> {
/// let stream = device.stream()?;
/// let mut inputs = vec![];
/// for (tensor, coded) in tensors {
///     inputs.push((coded.clone(), stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?));
/// }
/// let mut batch = Batch::to_weights(device, inputs)?;
/// batch.check_chunks(&stream)?;
/// batch.decode(&stream)?;
/// batch.status()?;
/// for ((tensor, _), checksum) in tensors.iter().zip(batch.checksums()?) {
///     tensor.require_checksum(checksum)?;
/// }
/// let weights = batch.into_outputs()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch(InFlight<Decoding>);

/// State and memory that the launches of a batch use.
#[derive(Debug)]
pub(crate) struct Decoding {
    device: Device,
    kernels: Arc<DecodeKernels>,
    checksum: Arc<ChecksumKernels>,
    /// The tensors in the caller's order.
    tensors: Vec<TensorChunks>,
    /// The coded tensors. Their jobs come first.
    coded: Vec<Coded>,
    copies: Vec<RawCopy>,
    coded_chunk_count: u32,
    pub(crate) stage_bytes: u32,
    output_bytes_per_weight: u64,
    pub(crate) jobs: Arc<DeviceBuffer<u8>>,
    /// The smallest status word since the last query: the first error.
    pub(crate) status: Arc<DeviceBuffer<u64>>,
    _inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// The memory of outputs that were given as addresses.
    _exponents: Option<Arc<CudaSlice<u8>>>,
}

/// The chunks of a coded tensor in the launch.
#[derive(Debug)]
struct Coded {
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

impl Batch {
    /// A batch that decodes these tensors to weights. Batching pays most for small tensors. Waits
    /// for the current users of the outputs.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; [`GpuError::TooManyChunks`];
    /// [`GpuError::OtherContext`]; the errors of the driver.
    pub fn to_weights<I: Into<Input>, O: Into<Output>>(
        device: &Device,
        tensors: Vec<(I, O)>,
    ) -> Result<Batch, GpuError> {
        let tensors = tensors.into_iter();
        let tensors = tensors.map(|(input, output)| (input.into(), output.into()));
        Decoding::new(device, tensors.collect(), 2, None).map(Batch)
    }

    /// A batch that decodes these tensors to exponent planes, with one byte for each weight.
    ///
    /// # Errors
    /// The errors of [`Batch::to_weights`].
    ///
    /// # Panics
    /// If one of the tensors is raw.
    pub fn to_exponents<I: Into<Input>, O: Into<Output>>(
        device: &Device,
        tensors: Vec<(I, O)>,
    ) -> Result<Batch, GpuError> {
        let tensors = tensors.into_iter();
        let tensors = tensors.map(|(input, output)| (input.into(), output.into()));
        Decoding::new(device, tensors.collect(), 1, None).map(Batch)
    }

    /// Same as [`Batch::to_exponents`], but for whole tensors and into consecutive parts of one
    /// buffer. `room` returns the size of a tensor's part.
    pub(crate) fn to_exponents_in(
        device: &Device,
        tensors: &[Input],
        exponents: &Arc<CudaSlice<u8>>,
        room: impl Fn(&Input) -> u64,
    ) -> Result<Batch, GpuError> {
        let (mut at, _reading) = exponents.device_ptr(device.own_stream());
        let with_output = |input: &Input| {
            let bytes = room(input);
            let output = Output::at(at, bytes);
            at += bytes;
            (input.clone(), output)
        };
        let tensors = tensors.iter().map(with_output).collect();
        Decoding::new(device, tensors, 1, Some(exponents.clone())).map(Batch)
    }

    /// Launches the decoder and the copies of raw tensors. Returns at once. The output must not be
    /// trusted before [`Batch::status`] has succeeded.
    ///
    /// # Errors
    /// [`GpuError::Capturing`], [`GpuError::OtherContext`] and [`GpuError::PerThreadStream`] for a
    /// stream that does not allow launches; the errors of the driver.
    pub fn decode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.0.launch(stream, |batch| batch.decode(stream))
    }

    /// Launches the check of every chunk checksum. Raw tensors have no chunk checksums. Returns at
    /// once.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.0.launch(stream, |batch| batch.check_chunks(stream))
    }

    /// The CRC-32 of every output: of a tensor's decoded weights or chunks, or of a raw tensor's
    /// bytes. Waits for the launches.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Panics
    /// If the batch decodes to exponent planes.
    #[must_use = "the weights are not to be trusted until their checksum equals the directory's"]
    pub fn checksums(&mut self) -> Result<Vec<u32>, GpuError> {
        let batch = self.0.owned();
        assert_eq!(batch.output_bytes_per_weight, 2, "checksums are of weights");
        let own = batch.device.own_stream().clone();
        self.0.launch(&own, |batch| batch.checksums())
    }

    /// Waits for the launches, and returns whether all of them since the last query kept every
    /// rule.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`] with the first bad chunk and the rule that the reference reports; the
    /// errors of the driver.
    #[must_use = "what was decoded is not to be trusted after an error"]
    pub fn status(&mut self) -> Result<(), GpuError> {
        let own = self.0.owned().device.own_stream().clone();
        self.0.launch(&own, |batch| batch.status())
    }

    /// Waits for the launches and returns the outputs in their order, without those that were given
    /// as addresses. Their content must not be trusted unless [`Batch::status`] has succeeded.
    ///
    /// # Errors
    /// [`GpuError::Capturing`] if launches may have become part of a graph; the errors of the
    /// driver. The outputs are leaked on an error.
    pub fn into_outputs(self) -> Result<Vec<CudaSlice<u8>>, GpuError> {
        let outputs = self.0.into_owned()?.outputs.into_iter();
        Ok(outputs.filter_map(Output::into_slice).collect())
    }

    /// The state of the batch, for additional launches on this stream. They run after those of the
    /// batch.
    ///
    /// # Errors
    /// The errors of [`Batch::decode`].
    pub(crate) fn used_on(&mut self, stream: &Arc<CudaStream>) -> Result<&Decoding, GpuError> {
        self.0.launch(stream, |_| Ok(()))?;
        Ok(self.0.owned())
    }

    pub(crate) fn owned(&self) -> &Decoding {
        self.0.owned()
    }
}

impl Decoding {
    fn new(
        device: &Device,
        tensors: Vec<(Input, Output)>,
        output_bytes_per_weight: u64,
        exponents: Option<Arc<CudaSlice<u8>>>,
    ) -> Result<InFlight<Decoding>, GpuError> {
        let (own, context) = (device.own_stream(), device.context());
        let handover = Handover::new(context)?;
        let (mut inputs, mut outputs) = (vec![], vec![]);
        let (mut jobs, mut jobs_of_bytes) = (vec![], vec![]);
        let (mut coded, mut copies, mut of_tensors) = (vec![], vec![], vec![]);
        let (mut chunk_count, mut byte_chunk_count) = (0, 0);
        let mut longest = (0, 0);
        for (number, (input, mut output)) in tensors.into_iter().enumerate() {
            match &input.0 {
                Kind::Coded { tensor, chunks } => {
                    require_context(tensor.context(), context)?;
                    let planes = tensor.planes();
                    let log2 = planes.chunk_size_log2();
                    let end = (chunks.end << log2).min(planes.weights());
                    let weights = end - (chunks.start << log2).min(end);
                    let needed_bytes = weights * output_bytes_per_weight;
                    let to = output.address(handover.stream(), context, needed_bytes)?;
                    // A tensor has at most 2^23 chunks.
                    let (first_chunk, skipped_chunks) = (chunk_count as u32, chunks.start as u32);
                    coded.push(Coded {
                        tensor: number,
                        first_chunk,
                        skipped_chunks,
                    });
                    let at = tensor.addresses();
                    jobs.push(TensorJob::new(planes, at, to, first_chunk, skipped_chunks));
                    of_tensors.push(TensorChunks::of_weights(weights, log2, first_chunk));
                    chunk_count += chunks.end - chunks.start;
                    let (record, chunk) = &mut longest;
                    *record = tensor.longest_record_bytes().max(*record);
                    *chunk = planes.weights().min(1 << log2).max(*chunk);
                }
                Kind::Raw(memory) => {
                    assert_eq!(output_bytes_per_weight, 2, "raw tensors have no planes");
                    require_context(memory.context(), context)?;
                    let bytes = memory.num_bytes() as u64;
                    let to = output.address(handover.stream(), context, bytes)?;
                    let from = memory.device_ptr(handover.stream()).0;
                    copies.push(RawCopy { from, to, bytes });
                    let of_bytes =
                        TensorChunks::of_bytes(bytes, BYTES_CHUNK_LOG2, byte_chunk_count as u32);
                    byte_chunk_count += of_bytes.count();
                    jobs_of_bytes.push((number, to));
                    of_tensors.push(of_bytes);
                }
            }
            inputs.push(input);
            outputs.push(output);
            if chunk_count + byte_chunk_count > MOST_CHUNKS.into() {
                return Err(GpuError::TooManyChunks(chunk_count + byte_chunk_count));
            }
        }
        // Jobs of raw bytes come after all jobs that are decoded.
        let coded_chunk_count = chunk_count as u32;
        for (tensor, output) in jobs_of_bytes {
            let of_bytes = &mut of_tensors[tensor];
            of_bytes.first_chunk += coded_chunk_count;
            jobs.push(TensorJob::of_bytes(
                output,
                of_bytes.bytes,
                of_bytes.first_chunk,
            ));
        }
        handover.finish()?;
        let jobs = own.clone_htod(&TensorJob::bytes_of(&jobs))?;
        let status = own.clone_htod(&[status::GOOD])?;
        let decoding = Decoding {
            device: device.clone(),
            kernels: device.kernels()?,
            checksum: device.kernels()?,
            tensors: of_tensors,
            coded,
            copies,
            coded_chunk_count,
            stage_bytes: plan::stage_bytes(longest.0, longest.1),
            output_bytes_per_weight,
            jobs: Arc::new(DeviceBuffer::new(jobs, own)),
            status: Arc::new(DeviceBuffer::new(status, own)),
            _inputs: inputs,
            outputs,
            _exponents: exponents,
        };
        own.synchronize()?;
        Ok(InFlight::new(context, decoding))
    }

    fn decode(&self, stream: &CudaStream) -> Result<(), GpuError> {
        let kernel = match self.output_bytes_per_weight {
            2 => &self.kernels.weights,
            _ => &self.kernels.exponents,
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

    fn check_chunks(&self, stream: &CudaStream) -> Result<(), GpuError> {
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

    fn checksums(&self) -> Result<Vec<u32>, GpuError> {
        // SAFETY: the same as in `decode`; outputs have 2 bytes for each weight.
        unsafe {
            let (own, of) = (self.device.own_stream(), Outputs::Weights);
            weight_checksums(own, &self.checksum, of, self.jobs.memory(), &self.tensors)
        }
    }

    fn status(&self) -> Result<(), GpuError> {
        let own = self.device.own_stream();
        let word = own.clone_dtoh(self.status.memory())?;
        own.synchronize()?;
        let Some(bad) = status::read(word[0]) else {
            return Ok(());
        };
        const { assert!(status::GOOD == u64::MAX) };
        // SAFETY: this memory has a single word, and nobody else uses it now.
        unsafe { result::memset_d8_async(self.status.address(), 0xff, 8, own.cu_stream())? };
        let number = (self.coded).partition_point(|coded| coded.first_chunk <= bad.chunk) - 1;
        let coded = &self.coded[number];
        Err(GpuError::BadChunk {
            tensor: coded.tensor,
            bad: BadChunk {
                chunk: bad.chunk - coded.first_chunk + coded.skipped_chunks,
                rule: bad.rule,
            },
        })
    }
}
