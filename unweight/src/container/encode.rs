//! Encoding of whole tensors into a container (section 11).

use std::fmt;
use std::sync::{LockResult, Mutex, PoisonError};

use unweight_format::write::{CodedWriter, ContainerWriter, Sink, WriteError};
use unweight_format::{Encoding, Extent, Tensor, layout, limits};

use unweight_cpu::fast::{Codec, Scratch};
use unweight_cpu::reference::{ExponentCounts, TensorPlan};
use unweight_cpu::{ChunkCounts, TensorCounts};

use crate::storage::pool::Pool;
use crate::storage::{StorageError, limit_capacity};
use crate::threads::{Items, in_order};
use crate::{Executor, OverBudget, ReadError, Storage, Weights, read_extent};

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

/// An encoded chunk.
#[derive(Default)]
pub(crate) struct EncodedChunk {
    pub(crate) sign_mantissa: Vec<u8>,
    pub(crate) record: Vec<u8>,
    /// Checksum of the chunk's original bytes.
    pub(crate) checksum: crc32fast::Hasher,
}

/// Encodes tensors into containers, with buffers that are reused for one tensor after the other.
/// Each worker needs some 512 KiB of them.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    chunks_in_work: u64,
    workers: Pool<Worker>,
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
        }
    }

    /// Limits the chunks, and thereby the threads, that are in work at a time.
    pub fn chunks_in_work(self, at_most: u64) -> Encoder {
        Encoder {
            chunks_in_work: at_most,
            ..self
        }
    }

    /// Writes the next tensor of `writer`, a BF16 tensor, from its weights (section 11). It is
    /// coded in this encoding if that saves space, and stored raw otherwise. The weights are read
    /// twice: once for the palette, once for the encoding. A tensor that is finally stored raw is
    /// read a third time.
    ///
    /// # Errors
    /// [`TransferError`]; a [`Misuse`](unweight_format::write::Misuse) if the number of `weights`
    /// differs from the declaration.
    ///
    /// # Panics
    /// If the chunk size is not 12 to 16.
    pub fn encode_tensor<S, W>(
        &self,
        writer: &mut ContainerWriter<'_, S>,
        weights: &W,
        encoding: Encoding,
        chunk_size_log2: u8,
        executor: &dyn Executor,
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
        let items = Items::new(chunks.len()).at_most(self.chunks_in_work);
        let name = writer.next_tensor().map_or("", |tensor| tensor.name);
        let named = |error: ReadError| error.of_tensor(name);
        if encoding != Encoding::Raw && (1..=limits::CODED_WEIGHTS).contains(&count) {
            let (counts, of_chunks) = chunks.count_exponents(executor, items).map_err(named)?;
            let plan = TensorPlan::new(&counts, encoding);
            let coded = writer.coded(plan.parameters(chunk_size_log2))?;
            let encode = |number: u64, chunk: &mut _| {
                let counts = of_chunks.of_palette(number, plan.palette());
                let encoded = chunks.encode(number, &plan, counts, chunk);
                Ok(encoded.map_err(named)?)
            };
            if write_chunks(coded, items, encode, None, executor)? {
                return Ok(());
            }
        }
        let mut raw = writer.raw()?;
        in_order(
            executor,
            items,
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

/// Writes these chunks in order. Stops and returns false when they no longer save space
/// (section 11.7). If the chunks come from another container's tensor, compares that tensor's
/// checksum with the decoded bytes.
pub(crate) fn write_chunks<S: Sink<Error: Send> + Send>(
    coded: CodedWriter<'_, '_, S>,
    chunks: Items,
    encode: impl Fn(u64, &mut EncodedChunk) -> Result<(), TransferError<S::Error>> + Sync,
    decoded_from: Option<&Tensor<'_>>,
    executor: &dyn Executor,
) -> Result<bool, TransferError<S::Error>> {
    let mut tensor_checksum = crc32fast::Hasher::new();
    let pool = Pool::<EncodedChunk>::default();
    // Sign-mantissa buffers have a pool of their own because the writer returns them earlier than
    // the rest of a chunk.
    let sign_mantissa_pool = Pool::<Vec<u8>>::default();
    let coded = Mutex::new(coded);
    let outcome = in_order(
        executor,
        chunks,
        |number| {
            let mut chunk = pool.take();
            chunk.record.clear();
            if chunk.sign_mantissa.is_empty() {
                chunk.sign_mantissa = sign_mantissa_pool.take();
            }
            encode(number, &mut chunk).map_err(Stop::Failed)?;
            // The offset of the sign-mantissa bytes is known already, unlike the record's, and the
            // bytes are in this processor's cache. So they are written here if the writer is free.
            // Otherwise the thread that takes the chunk writes them, because waiting would cost
            // more.
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

/// Reason to stop writing chunks.
enum Stop<E> {
    /// The tensor is smaller if it is stored raw.
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
        Stop::Failed(error.into())
    }
}

/// Ignores a poisoned lock. The panic of the other thread reaches the caller, so nothing is
/// finished after it.
fn unpoisoned<T>(lock: LockResult<T>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

/// The chunks of a tensor's weights.
struct Chunks<'w, W: ?Sized> {
    codec: Codec,
    weights: &'w W,
    /// The number of weights. It is read once, so that a changing source cannot change it.
    count: u64,
    chunk_size_log2: u8,
    workers: &'w Pool<Worker>,
}

/// The buffers and tables of one worker.
#[derive(Debug, Default)]
struct Worker {
    /// Buffer for a chunk's weights, used if the storage does not lend them.
    weights: Vec<u8>,
    scratch: Scratch,
}

impl<W: Weights + ?Sized> Chunks<'_, W> {
    fn len(&self) -> u64 {
        self.count.div_ceil(1 << self.chunk_size_log2)
    }

    /// Calls `then` with the bytes of chunk `number` and with a codec's buffers.
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

    /// Counts the exponents of the tensor, and of each chunk for the choice of its code.
    fn count_exponents(
        &self,
        executor: &dyn Executor,
        items: Items,
    ) -> Result<(ExponentCounts, TensorCounts), ReadError> {
        let mut of_chunks = TensorCounts::of_chunks(self.len());
        let count = |number, counts: &mut _| {
            self.with(number, |bytes, _| self.codec.count_weights(bytes, counts))
        };
        let keep = |counts| of_chunks.push(counts);
        let total = count_chunks(items, executor, count, keep)?;
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
            // Every byte is overwritten, so a buffer of the same length is not cleared first.
            chunk.sign_mantissa.resize(bytes.len() / 2, 0);
            let (sign_mantissa, record) = (&mut chunk.sign_mantissa[..], &mut chunk.record);
            let checksum =
                self.codec
                    .encode_checked(scratch, plan, counts, bytes, sign_mantissa, record);
            chunk.checksum = crc32fast::Hasher::new_with_initial_len(checksum, bytes.len() as u64);
        })
    }
}

/// Counts the exponents of all chunks. `count` adds those of one chunk, and `each` receives the
/// counts that are kept, in order.
pub(crate) fn count_chunks(
    chunks: Items,
    executor: &dyn Executor,
    count: impl Fn(u64, &mut ExponentCounts) -> Result<(), ReadError> + Sync,
    mut each: impl FnMut(ChunkCounts),
) -> Result<ExponentCounts, ReadError> {
    let mut total = ExponentCounts::default();
    in_order(
        executor,
        chunks,
        |number| {
            let mut counts = ExponentCounts::default();
            count(number, &mut counts)?;
            let kept = ChunkCounts::of(&counts);
            // The full counts take 2 KB. Fetching them from another processor costs as much time as
            // counting a chunk.
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
