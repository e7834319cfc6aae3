//! Tensors that are decoded in one launch.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtrMut, LaunchConfig, PushKernelArg};

use crate::job::TensorJob;
use crate::plan::{self, TABLE_BYTES, WARP};
use crate::running::Running;
use crate::status::{self, BadChunk};
use crate::weight_checksums::{TensorChunks, checksum_config, weight_checksums};
use crate::{Device, GpuError, MOST_CHUNKS, Resident};

/// Device memory that a tensor is decoded into: 2 bytes for each weight, or 1 for an exponent plane.
#[derive(Debug)]
pub struct Output<'a> {
    address: u64,
    bytes: u64,
    _memory: std::marker::PhantomData<&'a mut [u8]>,
}

impl<'a> Output<'a> {
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory whose owner sees to it that it is there, and nobody else's, while launches use it.
    pub(crate) const fn at(address: u64, bytes: u64) -> Output<'a> {
        Output {
            address,
            bytes,
            _memory: std::marker::PhantomData,
        }
    }

    /// A slice of cudarc's.
    pub fn slice(memory: &'a mut CudaSlice<u8>, stream: &CudaStream) -> Output<'a> {
        let bytes = memory.num_bytes() as u64;
        let (address, _writing) = memory.device_ptr_mut(stream);
        Output::at(address, bytes)
    }

    /// Memory of the caller's own: `bytes` bytes at this address of the device.
    ///
    /// # Safety
    /// They must be writable, from the batch's launches on until these are done, and nobody else's meanwhile.
    ///
    /// # Panics
    /// If the address is not a multiple of 16.
    pub unsafe fn raw(address: u64, bytes: u64) -> Output<'a> {
        assert!(address.is_multiple_of(16), "16-byte stores");
        Output::at(address, bytes)
    }
}

/// Tensors to be decoded together, each with where it goes. Made once; its launches neither allocate nor wait.
///
/// Launch on the stream that the tensors were uploaded on, or on one that waits for it. Dropping a batch waits for what it launched,
/// as the memory it borrows is free to be used again then; a batch must not be forgotten while it is running.
#[derive(Debug)]
pub struct Batch<'a> {
    // Dropped first, so that nothing runs any more when memory is freed.
    running: Running,
    device: &'a Device,
    tensors: Vec<&'a Resident>,
    first_chunks: Vec<u32>,
    chunk_count: u32,
    stage_bytes: u32,
    output_bytes_per_weight: u64,
    jobs: CudaSlice<u8>,
    /// The least of what went wrong since the last verdict.
    status: CudaSlice<u64>,
}

impl<'a> Batch<'a> {
    /// A batch of these tensors, decoded to weights. Small ones cost least together.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; [`GpuError::TooManyChunks`]; the driver's.
    pub fn to_weights(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(&'a Resident, Output<'a>)>,
    ) -> Result<Batch<'a>, GpuError> {
        Batch::new(device, stream, tensors, 2)
    }

    /// A batch of these tensors, decoded to exponent planes: a byte for each weight.
    ///
    /// # Errors
    /// As [`Batch::to_weights`].
    pub fn to_exponents(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(&'a Resident, Output<'a>)>,
    ) -> Result<Batch<'a>, GpuError> {
        Batch::new(device, stream, tensors, 1)
    }

    fn new(
        device: &'a Device,
        stream: &Arc<CudaStream>,
        tensors: Vec<(&'a Resident, Output<'a>)>,
        output_bytes_per_weight: u64,
    ) -> Result<Batch<'a>, GpuError> {
        let mut jobs = Vec::with_capacity(tensors.len());
        let mut first_chunks = Vec::with_capacity(tensors.len());
        let mut chunk_count = 0;
        let mut longest = (0, 0);
        for (resident, output) in &tensors {
            let planes = resident.planes();
            let needed_bytes = planes.weights() * output_bytes_per_weight;
            if output.bytes < needed_bytes {
                return Err(GpuError::WrongLength {
                    needed_bytes,
                    given_bytes: output.bytes,
                });
            }
            let first = chunk_count as u32;
            first_chunks.push(first);
            let addresses = resident.addresses(stream);
            jobs.push(TensorJob::new(planes, addresses, output.address, first));
            chunk_count += planes.chunk_count();
            if chunk_count > MOST_CHUNKS.into() {
                return Err(GpuError::TooManyChunks(chunk_count));
            }
            let (record, chunk) = &mut longest;
            *record = resident.longest_record_bytes().max(*record);
            *chunk = planes
                .weights()
                .min(1 << planes.chunk_size_log2())
                .max(*chunk);
        }
        Ok(Batch {
            running: Running::default(),
            device,
            first_chunks,
            chunk_count: chunk_count as u32,
            stage_bytes: plan::stage_bytes(longest.0, longest.1),
            output_bytes_per_weight,
            jobs: stream.clone_htod(&TensorJob::bytes_of(&jobs))?,
            status: stream.clone_htod(&[status::GOOD])?,
            tensors: tensors.into_iter().map(|(resident, _)| resident).collect(),
        })
    }

    /// Launches the decoder. Returns at once; the output holds nothing to be trusted until [`Batch::verdict`].
    ///
    /// # Errors
    /// The driver's.
    pub fn decode(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        let kernel = match self.output_bytes_per_weight {
            2 => &self.device.decode_weights,
            _ => &self.device.decode_exponents,
        };
        let config = LaunchConfig {
            grid_dim: (self.chunk_count, 1, 1),
            block_dim: (WARP, 1, 1),
            shared_mem_bytes: TABLE_BYTES + self.stage_bytes,
        };
        let job_count = self.tensors.len() as u32;
        let mut launch = stream.launch_builder(kernel);
        launch
            .arg(&self.jobs)
            .arg(&job_count)
            .arg(&self.stage_bytes)
            .arg(&mut self.status);
        if self.chunk_count == 0 {
            return Ok(());
        }
        // SAFETY: the kernel's preconditions (kernels/decode.cu): `Resident` has checked what locates records and holds planes aligned as in the file;
        // every output is aligned and long enough (`Output`, `Batch::new`); a block of one warp for each chunk; `stage_bytes` is a multiple of 16.
        unsafe { launch.launch(config)? };
        Ok(self.running.on(stream)?)
    }

    /// Launches the check of every chunk checksum. Returns at once.
    ///
    /// # Errors
    /// The driver's.
    pub fn check_chunks(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        if self.chunk_count == 0 {
            return Ok(());
        }
        let device = self.device;
        let job_count = self.tensors.len() as u32;
        let mut launch = stream.launch_builder(&device.check_chunks);
        launch
            .arg(&self.jobs)
            .arg(&job_count)
            .arg(&self.chunk_count)
            .arg(&device.crc_constants)
            .arg(&mut self.status);
        // SAFETY: as in `decode`; the constants are those that the kernel's head names.
        unsafe { launch.launch(checksum_config(self.chunk_count))? };
        Ok(self.running.on(stream)?)
    }

    /// The CRC-32 of every tensor's decoded weights. Waits for the stream.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Panics
    /// If this is a batch of exponent planes.
    pub fn checksums(&self, stream: &Arc<CudaStream>) -> Result<Vec<u32>, GpuError> {
        assert_eq!(self.output_bytes_per_weight, 2, "checksums are of weights");
        let tensors: Vec<_> = (self.tensors.iter().zip(&self.first_chunks))
            .map(|(resident, &first_chunk)| TensorChunks {
                weights: resident.planes().weights(),
                chunk_size_log2: resident.planes().chunk_size_log2(),
                first_chunk,
            })
            .collect();
        // SAFETY: as in `decode`; outputs of 2 bytes a weight.
        unsafe {
            let kernel = &self.device.checksum_weights;
            weight_checksums(self.device, stream, kernel, &self.jobs, &tensors)
        }
    }

    /// Waits for the stream, and says whether every launch since the last verdict kept every rule.
    ///
    /// # Errors
    /// [`GpuError::BadChunk`]: the first bad chunk, and the rule that the reference would name; the driver's.
    pub fn verdict(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        let word = stream.clone_dtoh(&self.status)?;
        stream.synchronize()?;
        let Some(bad) = status::read(word[0]) else {
            return Ok(());
        };
        stream.memcpy_htod(&[status::GOOD], &mut self.status)?;
        let tensor = self
            .first_chunks
            .partition_point(|&first| first <= bad.chunk)
            - 1;
        Err(GpuError::BadChunk {
            tensor,
            bad: BadChunk {
                chunk: bad.chunk - self.first_chunks[tensor],
                rule: bad.rule,
            },
        })
    }
}
