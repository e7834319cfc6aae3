//! Transcoding from one encoding to the other, chunk by chunk (section 11.8).

use std::slice;

use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{CodedPlanes, Encoding, Payload, Record, RecordEnds, Tensor};

use unweight_cpu::fast::{Codec, Scratch};
use unweight_cpu::reference::{ExponentCounts, TensorPlan};

use super::Container;
use super::coalesce::{Groups, Plane};
use super::decode::decode_within;
use super::encode::{EncodedChunk, TransferError, checksum_of, count_chunks, write_chunks};
use crate::memory::{chunk_bytes, index_bytes, largest_chunk, source_bytes, writer_bytes};
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::Items;
use crate::{Executor, Purpose, ReadError, Storage};

/// Writes a container with the source section and the tensors of `container` into `sink`, with its
/// coded tensors in this encoding. Checks every rule of the specification that opening the
/// container has not checked.
///
/// # Errors
/// [`TransferError`].
pub fn transcode<R, S>(
    container: &Container<'_, R>,
    encoding: Encoding,
    sink: S,
    executor: &dyn Executor,
) -> Result<S, TransferError<S::Error>>
where
    R: Storage + ?Sized,
    S: Sink<Error: Send> + Send,
{
    let budget = container.budget();
    budget.require(Purpose::Transcode, bytes_to_transcode(container))?;
    let mut window = Window::default();
    let longest = container.longest_window(bytes_to_transcode(container));
    container.require_zero_padding_with(longest, &mut window)?;
    let source = container.checked_source()?;
    let tensors = || container.directory().tensors();
    let mut declarations = Vec::with_capacity(container.directory().tensor_count() as usize);
    declarations.extend(tensors().map(|tensor| Declaration::from(&tensor)));
    let kind = container.header().source_kind();
    let mut writer = ContainerWriter::new(sink, kind, &source, declarations)?;
    drop(source);
    for (number, tensor) in (0..).zip(tensors()) {
        container.load_payloads(number, longest, &mut window);
        let container = &container.with_windows(slice::from_ref(&window));
        transcode_tensor(container, &tensor, encoding, &mut writer, executor)?;
    }
    Ok(writer.finish()?)
}

/// The smallest budget with which the whole file can be transcoded.
fn bytes_to_transcode<R: Storage + ?Sized>(container: &Container<'_, R>) -> u64 {
    let source = source_bytes(container.header().source().length);
    let tensors = container
        .directory()
        .tensors()
        .map(|tensor| tensor_bytes(&tensor) + chunk_bytes(largest_chunk(&tensor)));
    held_bytes(container) + tensors.fold(source, u64::max)
}

/// Memory that is held while the tensors of a container are transcoded: its directory and the
/// writer's state.
fn held_bytes<R: Storage + ?Sized>(container: &Container<'_, R>) -> u64 {
    let tensors = u64::from(container.directory().tensor_count());
    // The directory of the output has the same size.
    container.held_bytes() + writer_bytes(tensors, container.held_bytes())
}

/// Need of the record ends of a tensor, for the input and the output.
fn tensor_bytes(tensor: &Tensor<'_>) -> u64 {
    2 * index_bytes(tensor)
}

/// Writes `tensor` of `container` as the next tensor of `writer`. A coded tensor is written in this
/// encoding if that saves space, and raw otherwise. A raw tensor stays raw. Every checksum of the
/// tensor is verified.
///
/// # Errors
/// [`TransferError`].
pub fn transcode_tensor<R, S>(
    container: &Container<'_, R>,
    tensor: &Tensor<'_>,
    encoding: Encoding,
    writer: &mut ContainerWriter<'_, S>,
    executor: &dyn Executor,
) -> Result<(), TransferError<S::Error>>
where
    R: Storage + ?Sized,
    S: Sink<Error: Send> + Send,
{
    let in_work = container.workers_beside(
        Purpose::Tensor,
        held_bytes(container) + tensor_bytes(tensor),
        largest_chunk(tensor),
    )?;
    if let Payload::Coded(planes) = tensor.payload() {
        let named = |error: ReadError| error.of_tensor(tensor.name());
        let ends = container.record_ends(planes).map_err(named)?;
        let ends = RecordEnds::parse(planes, &ends).map_err(|error| named(error.into()))?;
        let chunks = CodedChunks {
            groups: Groups::new(container, Plane::Coded(planes, ends), in_work, executor),
            planes,
            buffers: Pool::default(),
            ends,
        };
        let items = chunks.groups.items();
        let counts = chunks.count_exponents(executor, items).map_err(named)?;
        let plan = TensorPlan::new(&counts, encoding);
        let coded = writer.coded(plan.parameters(planes.chunk_size_log2()))?;
        let encode =
            |number, chunk: &mut _| Ok(chunks.encode(number, &plan, chunk).map_err(named)?);
        if write_chunks(coded, items, encode, Some(tensor), executor)? {
            return Ok(());
        }
    }
    let mut raw = writer.raw()?;
    decode_within(container, tensor, executor, in_work, |bytes| {
        raw.write(bytes).map_err(TransferError::Write)
    })?;
    Ok(raw.finish()?)
}

/// The chunks of a coded tensor.
struct CodedChunks<'a, R: ?Sized> {
    groups: Groups<'a, R>,
    planes: &'a CodedPlanes,
    ends: RecordEnds<'a>,
    /// Buffers for exponents and for weights.
    buffers: Pool<[Vec<u8>; 2]>,
}

impl<R: Storage + ?Sized> CodedChunks<'_, R> {
    /// Calls `then` with the codec, the exponents and the sign-mantissa bytes of chunk `number`, with a buffer
    /// for weights and with the codec's buffers.
    fn with<T>(
        &self,
        number: u64,
        then: impl FnOnce(Codec, &[u8], &[u8], &mut Vec<u8>, &mut Scratch) -> T,
    ) -> Result<T, ReadError> {
        let shape = self.planes.chunk(number);
        let record = self.ends.record(number);
        self.groups.with(number, |container| {
            let decode = |record: &Record<'_>, sign_mantissa: &[u8], scratch: &mut Scratch| {
                let mut buffers = self.buffers.take();
                let [exponents, weights] = &mut buffers;
                exponents.resize(sign_mantissa.len(), 0);
                let (codec, palette) = (container.codec(), self.planes.palette());
                codec.decode_exponents(scratch, record, palette, exponents)?;
                let done = then(codec, exponents, sign_mantissa, weights, scratch);
                self.buffers.put(buffers);
                Ok::<_, unweight_format::Error>(done)
            };
            container.with_record(self.planes, &shape, record, decode)
        })
    }

    fn count_exponents(
        &self,
        executor: &dyn Executor,
        items: Items,
    ) -> Result<ExponentCounts, ReadError> {
        let count = |number, counts: &mut _| {
            self.with(number, |codec, exponents, _, _, _| {
                codec.count_exponents(exponents, counts);
            })
        };
        count_chunks(items, executor, count, |_| {})
    }

    fn encode(
        &self,
        number: u64,
        plan: &TensorPlan,
        chunk: &mut EncodedChunk,
    ) -> Result<(), ReadError> {
        self.with(
            number,
            |codec, exponents, sign_mantissa, weights, scratch| {
                chunk.sign_mantissa.clear();
                chunk.sign_mantissa.extend_from_slice(sign_mantissa);
                codec.encode_exponents(scratch, plan, exponents, sign_mantissa, &mut chunk.record);
                weights.resize(2 * sign_mantissa.len(), 0);
                codec.join(exponents, sign_mantissa, weights);
                chunk.checksum = checksum_of(weights);
            },
        )
    }
}
