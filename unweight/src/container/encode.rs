//! Encoding of whole tensors into a container (section 11).

use std::fmt;

use unweight_cpu::TensorCounts;
use unweight_cpu::fast::Codec;
use unweight_cpu::reference::{Sample, TensorPlan};
use unweight_format::write::{ContainerWriter, Sink, WriteError};
use unweight_format::{Encoding, Extent, Payload, layout, limits};

use super::source_chunks::{SourceChunks, Worker};
use super::write_chunks::{write_chunks, write_plain_chunks};
use crate::storage::pool::Pool;
use crate::storage::{StorageError, limit_capacity};
use crate::{Executor, OverBudget, ReadError, Storage, read_extent};

/// Bytes of a tensor that is raw whatever its weights are: a plain plane and a palette, which is
/// the least that is stored otherwise, take as many (section 11.8).
const LONGEST_RAW_BYTES: u64 = layout::SMALL_TENSOR_ALIGNMENT + layout::PALETTE_ENTRIES as u64;

/// The error of copying a tensor into a container.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransferError<E> {
    /// Reading the tensor failed.
    Read(ReadError),
    /// Writing the tensor failed.
    Write(WriteError<E>),
}

impl<E> From<ReadError> for TransferError<E> {
    fn from(error: ReadError) -> Self {
        TransferError::Read(error)
    }
}

impl<E> From<OverBudget> for TransferError<E> {
    fn from(error: OverBudget) -> Self {
        TransferError::Read(error.into())
    }
}

impl<E> From<WriteError<E>> for TransferError<E> {
    fn from(error: WriteError<E>) -> Self {
        TransferError::Write(error)
    }
}

impl<E: fmt::Display> fmt::Display for TransferError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::Read(error) => error.fmt(f),
            TransferError::Write(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransferError<E> {}

/// Encodes tensors into containers, with buffers that are reused for one tensor after the other.
/// Each worker needs at most [`Scratch::most_bytes`](unweight_cpu::fast::Scratch::most_bytes) of
/// them, 512 KiB for one coded field, and a chunk.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    chunks_in_work: u64,
    workers: Pool<Worker>,
    /// Buffers for tensors that are read at once.
    whole: Pool<Vec<u8>>,
}

impl Default for Encoder {
    /// An encoder with the [current](Codec::current) codec.
    fn default() -> Encoder {
        Encoder::new(Codec::current())
    }
}

impl Encoder {
    /// An encoder without allocated buffers.
    pub fn new(codec: Codec) -> Encoder {
        Encoder {
            codec,
            chunks_in_work: u64::MAX,
            workers: Pool::default(),
            whole: Pool::default(),
        }
    }

    /// Limits the chunks, and thereby the threads, that are in work at a time.
    pub fn chunks_in_work(self, at_most: u64) -> Encoder {
        Encoder {
            chunks_in_work: at_most,
            ..self
        }
    }

    /// Writes the next tensor of `writer` from `data`, its original bytes in `storage` (section
    /// 11). Fields are coded in this encoding or stored once where that saves space.
    ///
    /// A tensor of at most 32,768 weights is read once. A larger one is read twice, to choose forms
    /// and palettes and to write it; a third time if the first weights mislead about the forms, or
    /// if the tensor turns out not to become smaller.
    ///
    /// # Errors
    /// [`TransferError`]; a [`Misuse`](unweight_format::write::Misuse) if `data` has not the
    /// declared length.
    ///
    /// # Panics
    /// If the chunk size is not 12 to 16.
    pub fn encode_tensor<R, S>(
        &self,
        writer: &mut ContainerWriter<'_, S>,
        storage: &R,
        data: Extent,
        encoding: Encoding,
        chunk_size_log2: u8,
        executor: &dyn Executor,
    ) -> Result<(), TransferError<S::Error>>
    where
        R: Storage + ?Sized,
        S: Sink<Error: Send> + Send,
    {
        assert!(limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2));
        let Some(tensor) = writer.next_tensor().copied() else {
            return copy_raw_tensor(writer, storage, data);
        };
        let is_whole = tensor.data_bytes() == Some(data.length);
        let has_fields = !tensor.dtype.fields().is_empty();
        if !is_whole || !has_fields || data.length <= LONGEST_RAW_BYTES {
            return copy_raw_tensor(writer, storage, data);
        }
        let chunks = SourceChunks {
            codec: self.codec,
            storage,
            data,
            tensor,
            chunk_size_log2,
            workers: &self.workers,
            chunks_in_work: self.chunks_in_work,
            executor,
        };
        if !chunks.are_all_sampled() {
            return encode(writer, &chunks, encoding);
        }
        // Threads would wait for each other longer than they work.
        let mut buffer = self.whole.take();
        let bytes = read_extent(storage, data, &mut buffer)
            .map_err(|error| ReadError::Io(error.into()).of_tensor(tensor.name))?;
        let chunks = chunks.in_memory(bytes);
        let done = encode(writer, &chunks, encoding);
        limit_capacity(&mut buffer, data.length);
        self.whole.put(buffer);
        done
    }
}

/// Writes the next tensor of `writer` from its chunks.
fn encode<R, S>(
    writer: &mut ContainerWriter<'_, S>,
    chunks: &SourceChunks<'_, R>,
    encoding: Encoding,
) -> Result<(), TransferError<S::Error>>
where
    R: Storage + ?Sized,
    S: Sink<Error: Send> + Send,
{
    let choose =
        |sample: Sample| sample.choose_forms(encoding, chunks.weights(), chunks.chunk_size_log2);
    // The forms of most tensors show in a few weights. The rest of the sample is taken in the pass
    // that counts, or writes the tensor raw.
    let guess = choose(chunks.sample_some()?);
    let (forms, counts) = if chunks.are_all_sampled() {
        (guess, None)
    } else if guess.are_raw() {
        let mut raw = writer.raw()?;
        let sample =
            chunks.copy_and_sample(|bytes| raw.write(bytes).map_err(TransferError::Write))?;
        let forms = choose(sample);
        if forms.are_raw() {
            return Ok(raw.finish()?);
        }
        (forms, None)
    } else {
        let (counts, sample) = chunks.count_and_sample(guess)?;
        (choose(sample), Some(counts))
    };
    if !forms.are_raw() {
        let counted = counts.and_then(|counts| Some((counts.plan_for(&forms)?, counts)));
        let (plan, counts) = match counted {
            Some(counted) => counted,
            None => {
                let counts = chunks.count(forms)?;
                (counts.plan(), counts)
            }
        };
        if store(writer, chunks, &plan, &counts)? {
            return Ok(());
        }
    }
    let mut raw = writer.raw()?;
    chunks.copy(|bytes| raw.write(bytes).map_err(TransferError::Write))?;
    Ok(raw.finish()?)
}

/// Writes the next tensor of `writer` as planned. Returns false, and leaves the tensor unwritten,
/// if it is not smaller than a raw one.
fn store<R, S>(
    writer: &mut ContainerWriter<'_, S>,
    chunks: &SourceChunks<'_, R>,
    plan: &TensorPlan,
    counts: &TensorCounts,
) -> Result<bool, TransferError<S::Error>>
where
    R: Storage + ?Sized,
    S: Sink<Error: Send> + Send,
{
    let encode = |number: u64, plain: &mut [u8], chunk: &mut _| {
        chunks.encode(number, plan, &counts.of_chunk(number, plan), plain, chunk)
    };
    if plan.forms().is_coded() {
        let coded = writer.coded(plan.palettes(), chunks.chunk_size_log2)?;
        return write_chunks(coded, chunks.items(), encode, None, chunks.executor);
    }
    let payload = Payload::place(0, plan.forms(), chunks.weights(), 0);
    if !payload.is_ok_and(|payload| payload.saves_space()) {
        return Ok(false);
    }
    let plain = writer.plain(plan.palettes())?;
    let bytes = |number| chunks.plain_bytes(number, plan.forms());
    write_plain_chunks(plain, chunks.items(), bytes, encode, None, chunks.executor)
}

/// Copies `data`, the original bytes of the next tensor of `writer`, into the container as a raw
/// tensor.
///
/// # Errors
/// [`TransferError`].
pub fn copy_raw_tensor<S: Sink>(
    writer: &mut ContainerWriter<'_, S>,
    storage: &(impl Storage + ?Sized),
    data: Extent,
) -> Result<(), TransferError<S::Error>> {
    // A piece may take no more memory than a chunk in work.
    const PIECE_BYTES: u64 = 8 * layout::BLOCK_BYTES;
    let name = writer.next_tensor().map_or("", |tensor| tensor.name);
    let named = |error: StorageError| ReadError::Io(error.into()).of_tensor(name);
    let mut raw = writer.raw()?;
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < data.length {
        let piece = Extent {
            offset: data.offset + done,
            length: PIECE_BYTES.min(data.length - done),
        };
        let bytes = read_extent(storage, piece, &mut buffer).map_err(named)?;
        raw.write(bytes)?;
        done += piece.length;
    }
    Ok(raw.finish()?)
}
