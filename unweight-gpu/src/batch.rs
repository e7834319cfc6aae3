//! Tensors that are decoded in one launch.

use std::sync::Arc;

use cudarc::driver::{CudaStream, LaunchConfig, result};

use crate::input::Kind;
use crate::job::{BYTES_CHUNK_LOG2, TensorJob};
use crate::launch::{Launch, Placed};
use crate::plan::{self, TABLE_BYTES, WARP};
use crate::running::Running;
use crate::status::{self, BadChunk};
use crate::weight_checksums::{TensorChunks, checksum_config, weight_checksums};
use crate::{Device, GpuError, Input, MOST_CHUNKS, Output};

/// Tensors, or chunks of some, to be decoded together, each with where it goes; raw ones among them are copied. Made once; its launches neither
/// allocate nor wait.
///
/// Launch on the stream that the tensors were uploaded on, or on one that waits for it. Dropping a batch waits for what it launched,
/// as the memory it borrows is free to be used again then; a batch must not be forgotten while it is running.
#[derive(Debug)]
pub struct Batch<'a> {
    // Dropped first, so that nothing runs any more when memory is freed.
    pub(crate) running: Running,
    device: &'a Device,
    /// In the caller's order.
    tensors: Vec<TensorChunks>,
    /// The coded ones, whose jobs come first.
    coded: Vec<Coded>,
    copies: Vec<RawCopy>,
    coded_chunk_count: u32,
    pub(crate) stage_bytes: u32,
    output_bytes_per_weight: u64,
    pub(crate) jobs: Placed<u8>,
    /// The least of what went wrong since the last verdict.
    pub(crate) status: Placed<u64>,
    _memory: std::marker::PhantomData<(Input<'a>, Output<'a>)>,
}

/// Where a coded tensor's chunks stand in the launch.
#[derive(Debug)]
struct Coded {
    /// Its number in the batch.
    tensor: usize,
    first_chunk: u32,
    skipped_chunks: u32,
}

/// A raw tensor's way.
#[derive(Debug)]
struct RawCopy {
    from: u64,
    to: u64,
    bytes: u64,
}

impl<'a> Batch<'a> {
    /// A batch of these tensors, decoded to weights. Small ones cost least together.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; [`GpuError::TooManyChunks`]; the driver's.
    pub fn to_weights<I: Into<Input<'a>>>(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(I, Output<'a>)>,
    ) -> Result<Batch<'a>, GpuError> {
        Batch::new(device, stream, tensors, 2)
    }

    /// A batch of these tensors, decoded to exponent planes: a byte for each weight.
    ///
    /// # Errors
    /// As [`Batch::to_weights`].
    ///
    /// # Panics
    /// If there is a raw tensor among them.
    pub fn to_exponents<I: Into<Input<'a>>>(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(I, Output<'a>)>,
    ) -> Result<Batch<'a>, GpuError> {
        Batch::new(device, stream, tensors, 1)
    }

    fn new<I: Into<Input<'a>>>(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(I, Output<'a>)>,
        output_bytes_per_weight: u64,
    ) -> Result<Batch<'a>, GpuError> {
        let (mut jobs, mut jobs_of_bytes) = (vec![], vec![]);
        let (mut coded, mut copies, mut of_tensors) = (vec![], vec![], vec![]);
        let (mut chunk_count, mut byte_chunk_count) = (0, 0);
        let mut longest = (0, 0);
        for (tensor, (input, output)) in tensors.into_iter().enumerate() {
            match input.into().0 {
                Kind::Coded { resident, chunks } => {
                    let planes = resident.planes();
                    let log2 = planes.chunk_size_log2();
                    let end = (chunks.end << log2).min(planes.weights());
                    let weights = end - (chunks.start << log2).min(end);
                    output.require(weights * output_bytes_per_weight)?;
                    // At most 2^23 chunks a tensor.
                    let (first_chunk, skipped_chunks) = (chunk_count as u32, chunks.start as u32);
                    coded.push(Coded {
                        tensor,
                        first_chunk,
                        skipped_chunks,
                    });
                    let at = resident.addresses(stream);
                    let to = output.address();
                    jobs.push(TensorJob::new(planes, at, to, first_chunk, skipped_chunks));
                    of_tensors.push(TensorChunks::of_weights(weights, log2, first_chunk));
                    chunk_count += chunks.end - chunks.start;
                    let (record, chunk) = &mut longest;
                    *record = resident.longest_record_bytes().max(*record);
                    *chunk = planes.weights().min(1 << log2).max(*chunk);
                }
                Kind::Raw { address, bytes, .. } => {
                    assert_eq!(output_bytes_per_weight, 2, "raw tensors have no planes");
                    output.require(bytes)?;
                    copies.push(RawCopy {
                        from: address,
                        to: output.address(),
                        bytes,
                    });
                    let of_bytes =
                        TensorChunks::of_bytes(bytes, BYTES_CHUNK_LOG2, byte_chunk_count as u32);
                    byte_chunk_count += of_bytes.count();
                    jobs_of_bytes.push((tensor, output.address()));
                    of_tensors.push(of_bytes);
                }
            }
            if chunk_count + byte_chunk_count > MOST_CHUNKS.into() {
                return Err(GpuError::TooManyChunks(chunk_count + byte_chunk_count));
            }
        }
        // Those of bytes come behind all that are decoded.
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
        Ok(Batch {
            running: Running::made_on(stream),
            device,
            tensors: of_tensors,
            coded,
            copies,
            coded_chunk_count,
            stage_bytes: plan::stage_bytes(longest.0, longest.1),
            output_bytes_per_weight,
            jobs: Placed::new(stream.clone_htod(&TensorJob::bytes_of(&jobs))?, stream),
            status: Placed::new(stream.clone_htod(&[status::GOOD])?, stream),
            _memory: std::marker::PhantomData,
        })
    }

    /// Launches the decoder, and the copies of raw tensors. Returns at once; the output holds nothing to be trusted until [`Batch::verdict`].
    ///
    /// # Errors
    /// The driver's.
    pub fn decode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        let kernel = match self.output_bytes_per_weight {
            2 => &self.device.decode_weights,
            _ => &self.device.decode_exponents,
        };
        let config = LaunchConfig {
            grid_dim: (self.coded_chunk_count, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: TABLE_BYTES + self.stage_bytes,
        };
        let job_count = self.coded.len() as u32;
        self.running.on(stream)?;
        if self.coded_chunk_count > 0 {
            let launch = Launch::of(kernel)
                .arg(&self.jobs.address)
                .arg(&job_count)
                .arg(&self.stage_bytes)
                .arg(&self.status.address);
            // SAFETY: the kernel's preconditions (kernels/decode/decode.cu): `Resident` has checked what locates records and holds planes aligned as in the file;
            // every output is aligned and long enough (`Output`, `Batch::new`), every chunk in its tensor (`Input`); a block of one warp for each chunk;
            // `stage_bytes` is a multiple of 16.
            unsafe { launch.launch(stream, config)? };
        }
        stream.context().bind_to_thread()?;
        for copy in self.copies.iter().filter(|copy| copy.bytes > 0) {
            // SAFETY: the input is so long (`Input::raw`), and the output at least (`Batch::new`); both are borrowed.
            unsafe {
                let bytes = copy.bytes as usize;
                result::memcpy_dtod_async(copy.to, copy.from, bytes, stream.cu_stream())?;
            }
        }
        Ok(())
    }

    /// Launches the check of every chunk checksum. Raw tensors have none. Returns at once.
    ///
    /// # Errors
    /// The driver's.
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        if self.coded_chunk_count == 0 {
            return Ok(());
        }
        let device = self.device;
        let job_count = self.coded.len() as u32;
        let launch = Launch::of(&device.check_chunks)
            .arg(&self.jobs.address)
            .arg(&job_count)
            .arg(&self.coded_chunk_count)
            .arg(&device.crc_constants.address)
            .arg(&self.status.address);
        self.running.on(stream)?;
        // SAFETY: as in `decode`; the constants are those that the kernel's head names.
        unsafe { launch.launch(stream, checksum_config(self.coded_chunk_count))? };
        Ok(())
    }

    /// The CRC-32 of every output: of a tensor's weights, or of those chunks of it; of a raw tensor's bytes. Waits for the stream.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Panics
    /// If this is a batch of exponent planes.
    pub fn checksums(&self, stream: &Arc<CudaStream>) -> Result<Vec<u32>, GpuError> {
        assert_eq!(self.output_bytes_per_weight, 2, "checksums are of weights");
        let kernel = &self.device.checksum_weights;
        self.running.before(stream)?;
        // SAFETY: as in `decode`; outputs of 2 bytes a weight.
        unsafe {
            weight_checksums(
                self.device,
                stream,
                kernel,
                &self.jobs.memory,
                &self.tensors,
            )
        }
    }

    /// Waits for the stream, and says whether every launch since the last verdict kept every rule.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`]: the first bad chunk, and the rule that the reference would name; the driver's.
    pub fn verdict(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        self.running.before(stream)?;
        let word = stream.clone_dtoh(&self.status.memory)?;
        stream.synchronize()?;
        let Some(bad) = status::read(word[0]) else {
            return Ok(());
        };
        stream.memcpy_htod(&[status::GOOD], &mut self.status.memory)?;
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
