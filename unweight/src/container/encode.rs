//! Whole tensors into a container (section 11).

use std::fmt;
use std::sync::{LockResult, Mutex, PoisonError};

use unweight_format::write::{CodedWriter, ContainerWriter, Misuse, Sink, WriteError};
use unweight_format::{Encoding, Extent, Tensor, layout, limits};

use unweight_cpu::fast::{Codec, Scratch};
use unweight_cpu::reference::{ExponentCounts, TensorPlan};
use unweight_cpu::{ChunkCounts, TensorCounts};

use crate::storage::pool::Pool;
use crate::storage::{StorageError, limit_capacity};
use crate::threads::in_order;
use crate::{Executor, ExecutorError, OverBudget, ReadError, Storage, Weights, read_extent};

/// Why a tensor did not get from where it was into a container.
#[derive(Debug)]
pub enum TransferError<E> {
    /// It could not be read.
    Read(ReadError),
    /// It could not be written.
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

/// One chunk, encoded.
#[derive(Default)]
pub(crate) struct EncodedChunk {
    pub(crate) sign_mantissa: Vec<u8>,
    pub(crate) record: Vec<u8>,
    /// Over the chunk's original bytes.
    pub(crate) checksum: crc32fast::Hasher,
}

/// Writes the next tensor of `writer`, BF16, from its weights, as section 11 says: in this encoding if that saves space, otherwise raw.
/// Reads the weights twice: for the palette, and to encode them (a third time where the tensor ends up raw).
///
/// # Errors
/// [`TransferError`]; a [`Misuse`] if `weights` are not as many as the declared tensor has.
///
/// # Panics
/// If the chunk size is not 12 to 16.
pub fn encode_tensor<S, W>(
    writer: &mut ContainerWriter<'_, S>,
    weights: &W,
    encoding: Encoding,
    chunk_size_log2: u8,
    executor: &impl Executor,
) -> Result<(), TransferError<S::Error>>
where
    S: Sink<Error: Send> + Send,
    W: Weights + ?Sized,
{
    Encoder::new(Codec::current()).encode_tensor(
        writer,
        weights,
        encoding,
        chunk_size_log2,
        executor,
    )
}

/// A codec with buffers, which one tensor after the other uses. Each worker needs some 512 KiB of them.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    workers: Pool<Worker>,
}

impl Encoder {
    /// An encoder that has allocated nothing yet.
    pub fn new(codec: Codec) -> Encoder {
        Encoder {
            codec,
            workers: Pool::default(),
        }
    }

    /// As [`encode_tensor`].
    ///
    /// # Errors
    /// As [`encode_tensor`].
    ///
    /// # Panics
    /// As [`encode_tensor`].
    pub fn encode_tensor<S, W>(
        &self,
        writer: &mut ContainerWriter<'_, S>,
        weights: &W,
        encoding: Encoding,
        chunk_size_log2: u8,
        executor: &impl Executor,
    ) -> Result<(), TransferError<S::Error>>
    where
        S: Sink<Error: Send> + Send,
        W: Weights + ?Sized,
    {
        assert!(limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2));
        let count = weights.count();
        let chunks = Chunks {
            codec: self.codec,
            weights,
            count,
            chunk_size_log2,
            workers: &self.workers,
        };
        let name = writer.next_tensor().map_or("", |tensor| tensor.name);
        let named = |error: ReadError| error.of_tensor(name);
        if encoding != Encoding::Raw && (1..=limits::CODED_WEIGHTS).contains(&count) {
            let (counts, of_chunks) = chunks.count_exponents(executor).map_err(named)?;
            let plan = TensorPlan::new(&counts, encoding);
            let coded = writer.coded(plan.parameters(chunk_size_log2))?;
            let encode = |number: u64, chunk: &mut _| {
                let counts = of_chunks.of_palette(number, plan.palette());
                let encoded = chunks.encode(number, &plan, counts, chunk);
                Ok(encoded.map_err(named)?)
            };
            if write_chunks(coded, chunks.len(), encode, None, executor)? {
                return Ok(());
            }
        }
        let mut raw = writer.raw()?;
        in_order(
            executor,
            chunks.len(),
            |number| {
                Ok(chunks
                    .with(number, |bytes, _| bytes.to_vec())
                    .map_err(named)?)
            },
            |bytes| raw.write(&bytes).map_err(TransferError::Write),
        )?;
        Ok(raw.finish()?)
    }
}

/// Copies `data`, the original bytes of the next tensor of `writer`, into it raw.
///
/// # Errors
/// [`TransferError`].
pub fn copy_raw_tensor<S: Sink>(
    writer: &mut ContainerWriter<'_, S>,
    storage: &(impl Storage + ?Sized),
    data: Extent,
) -> Result<(), TransferError<S::Error>> {
    // No more than a chunk in work may take.
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

/// Writes `chunk_count` chunks in order. Gives up, and gives false, when they no longer save space (section 11.7).
/// Where the chunks were decoded from another container's tensor, its checksum must be that of what was decoded.
pub(crate) fn write_chunks<S: Sink<Error: Send> + Send>(
    coded: CodedWriter<'_, '_, S>,
    chunk_count: u64,
    encode: impl Fn(u64, &mut EncodedChunk) -> Result<(), TransferError<S::Error>> + Sync,
    decoded_from: Option<&Tensor<'_>>,
    executor: &impl Executor,
) -> Result<bool, TransferError<S::Error>> {
    let mut tensor_checksum = crc32fast::Hasher::new();
    let pool = Pool::<EncodedChunk>::default();
    // Back from the writer sooner than the rest of a chunk.
    let sign_mantissa_pool = Pool::<Vec<u8>>::default();
    let coded = Mutex::new(coded);
    let outcome = in_order(
        executor,
        chunk_count,
        |number| {
            let mut chunk = pool.take();
            chunk.record.clear();
            if chunk.sign_mantissa.is_empty() {
                chunk.sign_mantissa = sign_mantissa_pool.take();
            }
            encode(number, &mut chunk).map_err(Stop::Failed)?;
            // Unlike a record's, their place is known, and they are in this processor's cache. Should another thread have the
            // writer, whoever takes the chunk puts them there: to wait would cost more.
            if let Ok(mut coded) = coded.try_lock() {
                coded.sign_mantissa(number, &chunk.sign_mantissa)?;
                drop(coded);
                sign_mantissa_pool.put(std::mem::take(&mut chunk.sign_mantissa));
            }
            Ok((number, chunk))
        },
        |(number, chunk): (u64, EncodedChunk)| {
            let mut coded = unpoisoned(coded.lock());
            if !chunk.sign_mantissa.is_empty() {
                coded.sign_mantissa(number, &chunk.sign_mantissa)?;
            }
            coded.record(&chunk.record)?;
            tensor_checksum.combine(&chunk.checksum);
            pool.put(chunk);
            if coded.saves_space() {
                Ok(())
            } else {
                Err(Stop::SavesNothing)
            }
        },
    );
    let coded = unpoisoned(coded.into_inner());
    match outcome {
        Ok(()) => {
            let checksum = tensor_checksum.finalize();
            if let Some(tensor) = decoded_from {
                let broken = |error| ReadError::from(error).of_tensor(tensor.name());
                tensor.require_checksum(checksum).map_err(broken)?;
            }
            coded.finish(checksum)?;
            Ok(true)
        }
        Err(Stop::SavesNothing) => Ok(false),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Why chunks are no longer written.
enum Stop<E> {
    /// The tensor is smaller raw.
    SavesNothing,
    Failed(TransferError<E>),
}

impl<E> From<ReadError> for Stop<E> {
    fn from(error: ReadError) -> Self {
        Stop::Failed(error.into())
    }
}

impl<E> From<WriteError<E>> for Stop<E> {
    fn from(error: WriteError<E>) -> Self {
        match error {
            // Each item writes its own.
            WriteError::Misuse(Misuse::ChunkTwice { chunk }) => {
                ReadError::from(ExecutorError::Twice { item: chunk }).into()
            }
            other => Stop::Failed(other.into()),
        }
    }
}

/// A panic of another thread is on its way to the caller: nothing is finished after it.
fn unpoisoned<T>(lock: LockResult<T>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

/// The chunks that a tensor's weights are cut into.
struct Chunks<'w, W: ?Sized> {
    codec: Codec,
    weights: &'w W,
    /// Asked for once.
    count: u64,
    chunk_size_log2: u8,
    workers: &'w Pool<Worker>,
}

/// The buffers and tables of one worker.
#[derive(Debug, Default)]
struct Worker {
    /// For a chunk's weights, where the storage does not lend them.
    weights: Vec<u8>,
    scratch: Scratch,
}

impl<W: Weights + ?Sized> Chunks<'_, W> {
    fn len(&self) -> u64 {
        self.count.div_ceil(1 << self.chunk_size_log2)
    }

    /// Gives the bytes of chunk `number` to `then`, and a codec's buffers.
    fn with<T>(
        &self,
        number: u64,
        then: impl FnOnce(&[u8], &mut Scratch) -> T,
    ) -> Result<T, ReadError> {
        let first = number << self.chunk_size_log2;
        let count = (self.count - first).min(1 << self.chunk_size_log2);
        let mut worker = self.workers.take();
        let Worker { weights, scratch } = &mut worker;
        let bytes = self.weights.read_bytes(first, count as usize, weights);
        let done = bytes.and_then(|bytes| match bytes.len() as u64 == 2 * count {
            true => Ok(then(bytes, scratch)),
            false => {
                let (offset, length) = (2 * first, 2 * count);
                let extent = Extent { offset, length };
                Err(StorageError::wrong_length(extent, bytes.len() as u64).into())
            }
        });
        limit_capacity(&mut worker.weights);
        self.workers.put(worker);
        done.map_err(ReadError::Io)
    }

    /// The counts of the tensor and, for their codes, of its chunks.
    fn count_exponents(
        &self,
        executor: &impl Executor,
    ) -> Result<(ExponentCounts, TensorCounts), ReadError> {
        let mut of_chunks = TensorCounts::of_chunks(self.len());
        let count = |number, counts: &mut _| {
            self.with(number, |bytes, _| self.codec.count_weights(bytes, counts))
        };
        let keep = |counts| of_chunks.push(counts);
        let total = count_chunks(self.len(), executor, count, keep)?;
        Ok((total, of_chunks))
    }

    fn encode(
        &self,
        number: u64,
        plan: &TensorPlan,
        counts: Option<[u64; layout::PALETTE_ENTRIES]>,
        chunk: &mut EncodedChunk,
    ) -> Result<(), ReadError> {
        self.with(number, |bytes, scratch| {
            // All of it is written over: a chunk that was as long is not filled with zeros first.
            chunk.sign_mantissa.resize(bytes.len() / 2, 0);
            let (sign_mantissa, record) = (&mut chunk.sign_mantissa[..], &mut chunk.record);
            let checksum =
                self.codec
                    .encode_checked(scratch, plan, counts, bytes, sign_mantissa, record);
            chunk.checksum = crc32fast::Hasher::new_with_initial_len(checksum, bytes.len() as u64);
        })
    }
}

/// The counts of all chunks together; `count` adds those of one, and `each` takes what is kept of them in order.
pub(crate) fn count_chunks(
    chunk_count: u64,
    executor: &impl Executor,
    count: impl Fn(u64, &mut ExponentCounts) -> Result<(), ReadError> + Sync,
    mut each: impl FnMut(ChunkCounts),
) -> Result<ExponentCounts, ReadError> {
    let mut total = ExponentCounts::default();
    in_order(
        executor,
        chunk_count,
        |number| {
            let mut counts = ExponentCounts::default();
            count(number, &mut counts)?;
            let kept = ChunkCounts::of(&counts);
            // All of them are 2 KB, as much to fetch from another processor as a chunk takes to be counted.
            let all = (!kept.is_whole()).then(|| Box::new(counts));
            Ok::<_, ReadError>((kept, all))
        },
        |(kept, all)| {
            match all {
                Some(counts) => total.merge(&counts),
                None => kept.add_to(&mut total),
            }
            each(kept);
            Ok(())
        },
    )?;
    Ok(total)
}

pub(crate) fn checksum_of(bytes: &[u8]) -> crc32fast::Hasher {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(bytes);
    checksum
}
