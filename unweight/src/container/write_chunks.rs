//! Writing of a tensor's chunks, which threads encode (sections 3.5 and 11.8).

use std::sync::{LockResult, Mutex, PoisonError};

use unweight_cpu::ChunkRecords;
use unweight_format::Tensor;
use unweight_format::write::{CodedWriter, PlainWriter, Sink, WriteError};

use super::TransferError;
use crate::storage::pool::Pool;
use crate::threads::{Items, in_order};
use crate::{Executor, ReadError};

/// An encoded chunk.
#[derive(Debug, Default)]
pub(super) struct EncodedChunk {
    /// Its bytes of the plain plane.
    pub(super) plain: Vec<u8>,
    pub(super) records: ChunkRecords,
    /// Checksum of the chunk's original bytes.
    pub(super) checksum: crc32fast::Hasher,
}

/// Writes these chunks in order, and ends the tensor. Stops and returns false when they no longer
/// save space (section 11.8), or when `encode` returns false. If the chunks come from another
/// container's tensor, compares that tensor's checksum with the decoded bytes.
pub(super) fn write_chunks<S: Sink<Error: Send> + Send>(
    coded: CodedWriter<'_, '_, S>,
    chunks: Items,
    encode: impl Fn(u64, &mut EncodedChunk) -> Result<bool, ReadError> + Sync,
    decoded_from: Option<&Tensor<'_>>,
    executor: &dyn Executor,
) -> Result<bool, TransferError<S::Error>> {
    let mut tensor_checksum = crc32fast::Hasher::new();
    let pool = Pool::<EncodedChunk>::default();
    // Buffers for plain bytes have a pool of their own because the writer returns them earlier than
    // the rest of a chunk.
    let plain_pool = Pool::<Vec<u8>>::default();
    let coded = Mutex::new(coded);
    let outcome = in_order(
        executor,
        chunks,
        |number| {
            let mut chunk = pool.take();
            if chunk.plain.is_empty() {
                chunk.plain = plain_pool.take();
            }
            if !encode(number, &mut chunk)? {
                return Err(Stop::Raw);
            }
            // The offset of the plain bytes is known already, unlike those of the records, and the
            // bytes are in this processor's cache. So they are written here if the writer is free.
            // Otherwise the thread that takes the chunk writes them, because waiting would cost
            // more.
            if let Ok(mut coded) = coded.try_lock() {
                coded.plain(number, &chunk.plain)?;
                drop(coded);
                plain_pool.put(std::mem::take(&mut chunk.plain));
            }
            Ok((number, chunk))
        },
        |(number, chunk): (u64, EncodedChunk)| {
            let mut coded = unpoisoned(coded.lock());
            if !chunk.plain.is_empty() {
                coded.plain(number, &chunk.plain)?;
            }
            for record in chunk.records.iter() {
                coded.record(record)?;
            }
            tensor_checksum.combine(&chunk.checksum);
            pool.put(chunk);
            match coded.saves_space() {
                true => Ok(()),
                false => Err(Stop::Raw),
            }
        },
    );
    if !Stop::is_done(outcome)? {
        return Ok(false);
    }
    let checksum = checked(tensor_checksum, decoded_from)?;
    unpoisoned(coded.into_inner()).finish(checksum)?;
    Ok(true)
}

/// Does the same as [`write_chunks`], for a tensor without coded fields. It saves space.
pub(super) fn write_plain_chunks<S: Sink<Error: Send> + Send>(
    mut plain: PlainWriter<'_, '_, S>,
    chunks: Items,
    encode: impl Fn(u64, &mut EncodedChunk) -> Result<bool, ReadError> + Sync,
    decoded_from: Option<&Tensor<'_>>,
    executor: &dyn Executor,
) -> Result<bool, TransferError<S::Error>> {
    let mut tensor_checksum = crc32fast::Hasher::new();
    let pool = Pool::<EncodedChunk>::default();
    let outcome = in_order(
        executor,
        chunks,
        |number| {
            let mut chunk = pool.take();
            match encode(number, &mut chunk)? {
                true => Ok(chunk),
                false => Err(Stop::Raw),
            }
        },
        |chunk: EncodedChunk| {
            plain.write(&chunk.plain)?;
            tensor_checksum.combine(&chunk.checksum);
            pool.put(chunk);
            Ok(())
        },
    );
    if !Stop::is_done(outcome)? {
        return Ok(false);
    }
    plain.finish(checked(tensor_checksum, decoded_from)?)?;
    Ok(true)
}

fn checked(
    of_chunks: crc32fast::Hasher,
    decoded_from: Option<&Tensor<'_>>,
) -> Result<u32, ReadError> {
    let checksum = of_chunks.finalize();
    if let Some(tensor) = decoded_from {
        let broken = |error| ReadError::from(error).of_tensor(tensor.name());
        tensor.require_checksum(checksum).map_err(broken)?;
    }
    Ok(checksum)
}

/// Reason to stop writing chunks.
enum Stop<E> {
    /// The tensor is stored raw instead.
    Raw,
    Failed(TransferError<E>),
}

impl<E> Stop<E> {
    /// Whether all chunks were written.
    fn is_done(outcome: Result<(), Stop<E>>) -> Result<bool, TransferError<E>> {
        match outcome {
            Ok(()) => Ok(true),
            Err(Stop::Raw) => Ok(false),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
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
