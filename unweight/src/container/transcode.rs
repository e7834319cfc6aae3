//! Transcoding from one encoding to the other, chunk by chunk (section 11.9).

use std::slice;

use unweight_cpu::fast::Output;
use unweight_cpu::reference::{TensorPlan, ValueCounts, transcoded_forms};
use unweight_format::layout::FIELDS;
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Encoding, Tensor};

use super::Container;
use super::coalesce::Groups;
use super::decode::decode_within;
use super::encode::TransferError;
use super::index::TensorIndex;
use super::source_chunks::plain_bytes;
use super::write_chunks::{EncodedChunk, write_chunks, write_plain_chunks};
use crate::memory::{index_bytes, largest_chunk_bytes, source_bytes, writer_bytes};
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::in_order;
use crate::{Executor, Purpose, ReadError, Storage};

/// Writes a container with the source section and the tensors of `container` into `sink`, with the
/// coded fields of more than 4 bits in this encoding. Other fields keep their forms and values, and
/// extensions are dropped. Checks every rule of the specification that opening the container has
/// not checked.
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
        .map(|tensor| tensor_bytes(&tensor) + largest_chunk_bytes(&tensor));
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

/// Writes `tensor` of `container` as the next tensor of `writer`. Its coded fields of more than 4
/// bits are written in this encoding; the tensor becomes raw if it has coded fields and would not
/// be smaller with them. Every checksum of the tensor is verified.
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
        largest_chunk_bytes(tensor),
    )?;
    let named = |error: ReadError| error.of_tensor(tensor.name());
    if !tensor.forms().is_raw() {
        let mut buffer = Vec::new();
        let index = container.index(tensor, &mut buffer).map_err(named)?;
        let pieces = Pieces {
            groups: Groups::new(container, &index, in_work, executor),
            index: &index,
            buffers: Pool::default(),
        };
        let constants = index.palettes().constant_bits();
        let forms = transcoded_forms(tensor.forms(), encoding);
        let counts = match forms.is_coded() {
            true => pieces.count(executor).map_err(named)?,
            false => Vec::new(),
        };
        let plan = TensorPlan::new(forms, constants, &counts);
        let encode = |number, plain: &mut [u8], chunk: &mut _| {
            pieces.encode(number, &plan, plain, chunk).map_err(named)?;
            Ok(true)
        };
        let items = pieces.groups.items();
        let is_smaller = if forms.is_coded() {
            let coded = writer.coded(plan.palettes(), index.payload().chunk_size_log2())?;
            write_chunks(coded, items, encode, Some(tensor), executor)?
        } else {
            let plain = writer.plain(plan.palettes())?;
            let bytes = |number| plain_bytes(forms, index.piece_bytes(number) as usize);
            write_plain_chunks(plain, items, bytes, encode, Some(tensor), executor)?
        };
        if is_smaller {
            return Ok(());
        }
    }
    let mut raw = writer.raw()?;
    decode_within(container, tensor, executor, in_work, |bytes| {
        raw.write(bytes).map_err(TransferError::Write)
    })?;
    Ok(raw.finish()?)
}

/// The chunks of a coded tensor, or the pieces of one with constant fields alone.
struct Pieces<'a, R: ?Sized> {
    groups: Groups<'a, R>,
    index: &'a TensorIndex<'a>,
    /// Buffers for weights.
    buffers: Pool<Vec<u8>>,
}

impl<R: Storage + ?Sized> Pieces<'_, R> {
    /// Calls `then` with the weights of a piece, their checksum, and the container.
    fn with<T>(
        &self,
        number: u64,
        then: impl FnOnce(&[u8], u32, &Container<'_, R>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.groups.with(number, |container| {
            let mut weights = self.buffers.take();
            weights.resize(self.index.piece_bytes(number) as usize, 0);
            let mut output = Output::from(&mut weights[..]);
            let checksum = container.decode_piece(self.index, number, &mut output)?;
            let done = then(&weights, checksum, container)?;
            self.buffers.put(weights);
            Ok(done)
        })
    }

    /// Counts the values of each coded field.
    fn count(&self, executor: &dyn Executor) -> Result<Vec<ValueCounts>, ReadError> {
        let forms = self.index.payload().forms();
        let none = || vec![ValueCounts::default(); forms.coded_count()];
        // Each thread has its own counts. They take 2 KB for each field, and are not handed over
        // chunk by chunk.
        let of_threads = Pool::<Option<Vec<ValueCounts>>>::default();
        let count = |number| {
            self.with(number, |weights, _, container| {
                let mut counts = of_threads.take().unwrap_or_else(none);
                for (coded, counts) in forms.coded().zip(&mut counts) {
                    container
                        .codec()
                        .count_field(forms.dtype(), coded.field, weights, counts);
                }
                of_threads.put(Some(counts));
                Ok(())
            })
        };
        in_order(executor, self.groups.items(), count, |()| {
            Ok::<_, ReadError>(())
        })?;
        let mut total = none();
        for of_thread in of_threads.into_values().flatten() {
            for (total, counts) in total.iter_mut().zip(&of_thread) {
                total.merge(counts);
            }
        }
        Ok(total)
    }

    fn encode(
        &self,
        number: u64,
        plan: &TensorPlan,
        plain: &mut [u8],
        chunk: &mut EncodedChunk,
    ) -> Result<(), ReadError> {
        let forms = plan.forms();
        self.with(number, |weights, checksum, container| {
            let codec = container.codec();
            chunk.records.clear();
            let records = &mut chunk.records;
            if forms.is_coded() {
                let piece = self.index.piece(number);
                container.with_scratch(self.index, piece.end - piece.start, |scratch| {
                    codec.encode_chunk(scratch, plan, &[None; FIELDS], weights, plain, records)
                })?;
            } else {
                codec.split(forms, weights, plain, &mut []);
            }
            let length = weights.len() as u64;
            chunk.checksum = crc32fast::Hasher::new_with_initial_len(checksum, length);
            Ok(())
        })
    }
}
