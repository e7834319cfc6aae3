//! `--gpu`: coded tensors are decoded by `unweight-gpu`. Everything else is `unweight-cpu`'s, the last word on what is bad too.

use std::sync::Arc;

use half::bf16;
use unweight_cpu::{Container, Executor, MemoryBudget, Purpose, ReadError, Storage, decode_tensor};
use unweight_format::{CodedPlanes, Payload, RecordEnds, Tensor};
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream};
use unweight_gpu::{Batch, Device, GpuError, Output, Resident};

use crate::failure::Failure;
use crate::unw_file::RestoreError;

/// As much as the CPU hands over at a time, at the largest chunk size.
const PIECE_BYTES: usize = 2 << 16;
/// What is held of each chunk's checksum.
const CHECKSUM_BYTES: u64 = 4;

/// A device, and the stream that all work is done on.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    pub(crate) stream: Arc<CudaStream>,
}

impl Gpu {
    pub(crate) fn open(ordinal: usize) -> Result<Gpu, GpuError> {
        let device = Device::open(ordinal)?;
        let stream = device.stream()?;
        Ok(Gpu { device, stream })
    }

    /// As [`unweight_cpu::restore`], in its order of checks and with its verdicts. `asked_for`, if anything, bounds what is held on the
    /// host of one tensor: its payload and what it is decoded to.
    pub(crate) fn restore<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        asked_for: Option<MemoryBudget>,
        executor: &impl Executor,
        mut output: impl FnMut(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        container
            .require_room_to_restore()
            .map_err(ReadError::from)?;
        if let Some(budget) = asked_for {
            budget
                .require(Purpose::Restore, host_bytes(container))
                .map_err(ReadError::from)?;
        }
        container.require_zero_padding()?;
        output(&container.checked_source()?)?;
        for tensor in container.directory().tensors() {
            match tensor.payload() {
                Payload::Coded(planes) => {
                    let decoded = self.decode(container, &tensor, planes, executor)?;
                    decoded.chunks(PIECE_BYTES).try_for_each(&mut output)?;
                }
                Payload::Raw(_) => decode_tensor(container, &tensor, executor, &mut output)?,
            }
        }
        Ok(())
    }

    fn decode<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        executor: &impl Executor,
    ) -> Result<Vec<u8>, RestoreError> {
        let error = match self.decode_unconfirmed(container, tensor, planes)? {
            Ok(decoded) => return Ok(decoded),
            Err(error) => error,
        };
        // What is bad, the CPU says, with place and values. Nothing of the tensor is held any more.
        match &error {
            GpuError::BadChunk { bad, .. } => decode_chunk(container, planes, bad.chunk.into()),
            GpuError::Rule(_) => decode_tensor(container, tensor, executor, |_| Ok(())),
            _ => return Err(RestoreError::Failed(failed(error))),
        }
        .map_err(|error| error.of_tensor(tensor.name()))?;
        Err(RestoreError::Failed(disagreement(tensor, &error)))
    }

    /// The inner error is the device's, and what it says of the file is still to be confirmed.
    fn decode_unconfirmed<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
    ) -> Result<Result<Vec<u8>, GpuError>, ReadError> {
        let mut buffer = Vec::new();
        let payload = container
            .read_extent(Resident::extent(planes), &mut buffer)
            .map_err(|error| error.of_tensor(tensor.name()))?;
        Ok(self.decode_payload(tensor, planes, payload))
    }

    fn decode_payload(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, GpuError> {
        let weights = self.decode_on_device(tensor, planes, payload)?;
        let decoded = self.stream.clone_dtoh(&weights)?;
        self.stream.synchronize()?;
        Ok(decoded)
    }

    /// The weights in device memory, every checksum checked.
    pub(crate) fn decode_on_device(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<CudaSlice<u8>, GpuError> {
        let stream = &self.stream;
        let resident = Resident::upload(stream, planes, payload)?;
        let mut weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
        let output = Output::slice(&mut weights, stream);
        let mut batch = Batch::to_weights(&self.device, stream, vec![(&resident, output)])?;
        batch.check_chunks(stream)?;
        batch.decode(stream)?;
        batch.verdict(stream)?;
        tensor.require_checksum(batch.checksums(stream)?[0])?;
        drop(batch);
        Ok(weights)
    }
}

/// The most that is held on the host at a time, beside what the CPU's part needs.
fn host_bytes<S: Storage + ?Sized>(container: &Container<'_, S>) -> u64 {
    let tensors = container.directory().tensors();
    let coded = tensors.filter_map(|tensor| match tensor.payload() {
        Payload::Coded(planes) => {
            let checksums = CHECKSUM_BYTES * planes.chunk_count();
            Some(Resident::extent(planes).length + tensor.data_bytes() + checksums)
        }
        Payload::Raw(_) => None,
    });
    container.header().directory().length + coded.max().unwrap_or(0)
}

/// Decodes one chunk on the CPU, for its verdict alone.
fn decode_chunk<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    planes: &CodedPlanes,
    number: u64,
) -> Result<(), ReadError> {
    let ends = container.record_ends(planes)?;
    let ends = RecordEnds::parse(planes, &ends)?;
    let shape = planes.chunk(number);
    let mut weights = vec![bf16::ZERO; shape.weights as usize];
    container.decode_chunk(planes, &shape, ends.record(number), &mut weights)
}

/// What a command says where the device is not there, or fails.
pub(crate) fn failed(error: impl Into<GpuError>) -> Failure {
    let error = error.into();
    Failure::Io(format!("GPU: {error}; run without --gpu to use the CPU"))
}

fn disagreement(tensor: &Tensor<'_>, error: &GpuError) -> Failure {
    Failure::Io(format!(
        "internal error: of tensor {:?} the GPU says \"{error}\", but the CPU finds nothing wrong with it; run without --gpu",
        tensor.name()
    ))
}
