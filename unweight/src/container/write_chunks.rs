//! Writing of a tensor's chunks, which threads encode (sections 3.5 and 11.8).

use std::sync::{LockResult, Mutex, PoisonError};

use unweight_cpu::ChunkRecords;
use unweight_format::write::{Access, CodedWriter, PlainWriter, SharedSink, Sink, WriteError};
use unweight_format::{Extent, Payload, Tensor};

use super::TransferError;
use crate::storage::pool::Pool;
use crate::threads::{Items, in_order, in_order_and_finish};
use crate::{Executor, ReadError};

/// An encoded chunk, without its bytes of the plain plane.
#[derive(Debug, Default)]
pub(super) struct EncodedChunk {
    pub(super) records: ChunkRecords,
    /// Checksum of the chunk's original bytes.
    pub(super) checksum: crc32fast::Hasher,
}

/// Writes these chunks, and ends the tensor. `encode` writes a chunk's bytes of the plain plane and
/// the rest of it. Stops and returns false when they no longer save space (section 11.8), or when
/// `encode` returns false. If the chunks come from another container's tensor, compares that
/// tensor's checksum with the decoded bytes.
///
/// Each thread writes what it has encoded. The place of a chunk's plain bytes is known before; the
/// records follow each other, so the caller's thread adds up their lengths in order, and the
/// thread that has them writes them when their place is known.
pub(super) fn write_chunks<S: Sink<Error: Send> + Send>(
    mut coded: CodedWriter<'_, '_, S>,
    chunks: Items,
    encode: impl Fn(u64, &mut [u8], &mut EncodedChunk) -> Result<bool, ReadError> + Sync,
    decoded_from: Option<&Tensor<'_>>,
    executor: &dyn Executor,
) -> Result<bool, TransferError<S::Error>> {
    let mut tensor_checksum = crc32fast::Hasher::new();
    let pool = Pool::<EncodedChunk>::default();
    let (mut places, access) = coded.lend();
    let payload = *places.payload();
    let file;
    let (plain, mut records) = match access {
        Access::Memory { plain, records } => (
            Plain::Memory(pieces_of(plain, &payload)),
            Records::Memory(records),
        ),
        Access::Shared(sink) => {
            file = File::Shared(sink);
            (Plain::File(&file, Box::default()), Records::File(&file))
        }
        Access::Exclusive(sink) => {
            file = File::Exclusive(Mutex::new(sink));
            (Plain::File(&file, Box::default()), Records::File(&file))
        }
    };
    let outcome = in_order_and_finish(
        executor,
        chunks,
        |number| {
            let mut chunk = pool.take();
            let extent = payload.chunk(number).plain;
            match plain.put(number, extent, |plain| encode(number, plain, &mut chunk))? {
                true => Ok(chunk),
                false => Err(Stop::Raw),
            }
        },
        |chunk: EncodedChunk| {
            let lengths = chunk.records.iter().map(<[u8]>::len);
            let Some(place) = places.next_chunk(lengths)? else {
                return Err(Stop::Raw);
            };
            tensor_checksum.combine(&chunk.checksum);
            Ok((chunk, records.next(place)))
        },
        |(chunk, place): (EncodedChunk, RecordsPlace<'_, '_, S>)| {
            place.put(chunk.records.bytes())?;
            pool.put(chunk);
            Ok(())
        },
    );
    if !Stop::is_done(outcome)? {
        return Ok(false);
    }
    let checksum = checked(tensor_checksum, decoded_from)?;
    coded.finish(checksum)?;
    Ok(true)
}

/// A lent sink that is no memory, for all threads.
enum File<'p, S: Sink> {
    Shared(&'p dyn SharedSink<Error = S::Error>),
    Exclusive(Mutex<&'p mut S>),
}

impl<S: Sink> File<'_, S> {
    fn put(&self, extent: Extent, bytes: &[u8]) -> Result<(), Stop<S::Error>> {
        let done = match self {
            File::Shared(sink) => sink.write_at(extent.offset, bytes),
            File::Exclusive(sink) => unpoisoned(sink.lock()).write_at(extent.offset, bytes),
        };
        done.map_err(|error| WriteError::Sink(error).into())
    }
}

/// Where the plain bytes of chunks go.
enum Plain<'f, 'p, S: Sink> {
    /// The bytes of each chunk. Each is taken once.
    Memory(Vec<Mutex<&'p mut [u8]>>),
    File(&'f File<'p, S>, Box<Pool<Vec<u8>>>),
}

impl<S: Sink> Plain<'_, '_, S> {
    /// Writes what `encode` writes as the plain bytes of chunk `number`, which have this extent.
    /// Writes nothing, or nothing that stays, if it returns false.
    fn put(
        &self,
        number: u64,
        extent: Extent,
        encode: impl FnOnce(&mut [u8]) -> Result<bool, ReadError>,
    ) -> Result<bool, Stop<S::Error>> {
        match self {
            Plain::Memory(pieces) => {
                let mut piece = unpoisoned(pieces[number as usize].lock());
                Ok(encode(&mut piece)?)
            }
            Plain::File(file, buffers) => {
                let mut plain = buffers.take();
                // Every byte is overwritten, so a buffer of the same length is not cleared first.
                plain.resize(extent.length as usize, 0);
                let is_encoded = encode(&mut plain)?;
                if is_encoded {
                    file.put(extent, &plain)?;
                }
                buffers.put(plain);
                Ok(is_encoded)
            }
        }
    }
}

/// The plane's bytes of each chunk.
fn pieces_of<'p>(mut plane: &'p mut [u8], payload: &Payload) -> Vec<Mutex<&'p mut [u8]>> {
    let piece = |number| {
        let length = payload.chunk(number).plain.length as usize;
        let piece = plane.split_off_mut(..length);
        Mutex::new(piece.expect("the plane has all chunks"))
    };
    (0..payload.chunk_count()).map(piece).collect()
}

/// Where the records of chunks go, one chunk after the other.
enum Records<'f, 'p, S: Sink> {
    /// What is left of them.
    Memory(&'p mut [u8]),
    File(&'f File<'p, S>),
}

impl<'f, 'p, S: Sink> Records<'f, 'p, S> {
    /// The place of the next chunk's records, which have this extent.
    fn next(&mut self, extent: Extent) -> RecordsPlace<'f, 'p, S> {
        match self {
            Records::Memory(left) => {
                let place = left.split_off_mut(..extent.length as usize);
                RecordsPlace::Memory(place.expect("records fit the memory that was lent for them"))
            }
            Records::File(file) => RecordsPlace::File(file, extent),
        }
    }
}

/// Where the records of a chunk go.
enum RecordsPlace<'f, 'p, S: Sink> {
    Memory(&'p mut [u8]),
    File(&'f File<'p, S>, Extent),
}

impl<S: Sink> RecordsPlace<'_, '_, S> {
    fn put(self, records: &[u8]) -> Result<(), Stop<S::Error>> {
        match self {
            RecordsPlace::Memory(to) => {
                to.copy_from_slice(records);
                Ok(())
            }
            RecordsPlace::File(file, extent) => file.put(extent, records),
        }
    }
}

/// Does the same as [`write_chunks`], for a tensor without coded fields. It saves space.
pub(super) fn write_plain_chunks<S: Sink<Error: Send> + Send>(
    mut plain: PlainWriter<'_, '_, S>,
    chunks: Items,
    plain_bytes: impl Fn(u64) -> usize + Sync,
    encode: impl Fn(u64, &mut [u8], &mut EncodedChunk) -> Result<bool, ReadError> + Sync,
    decoded_from: Option<&Tensor<'_>>,
    executor: &dyn Executor,
) -> Result<bool, TransferError<S::Error>> {
    let mut tensor_checksum = crc32fast::Hasher::new();
    let pool = Pool::<(Vec<u8>, EncodedChunk)>::default();
    let outcome = in_order(
        executor,
        chunks,
        |number| {
            let (mut plain, mut chunk) = pool.take();
            // Every byte is overwritten, so a buffer of the same length is not cleared first.
            plain.resize(plain_bytes(number), 0);
            match encode(number, &mut plain, &mut chunk)? {
                true => Ok((plain, chunk)),
                false => Err(Stop::Raw),
            }
        },
        |(bytes, chunk): (Vec<u8>, EncodedChunk)| {
            plain.write(&bytes)?;
            tensor_checksum.combine(&chunk.checksum);
            pool.put((bytes, chunk));
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
