//! Decoding of one chunk, and of one piece of a tensor without records.

use std::ops::Range;
use std::slice;

use unweight_cpu::fast::{Output, Scratch};
use unweight_format::layout::{self, FIELDS};
use unweight_format::{
    ChunkShape, CodedField, Error, Extent, Payload, Record, RecordShape, UncheckedRecord, crc32,
};

use super::Container;
use super::index::{TensorIndex, weight_bytes};
use crate::memory::chunk_bytes;
use crate::storage::limit_capacity;
use crate::{OverBudget, Purpose, ReadError, Storage};

/// The buffers and tables of one worker for the chunks of a container.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// Buffer for a chunk's records, used if the storage does not lend them.
    records: Vec<u8>,
    /// Buffer for plain bytes, used if the storage does not lend them.
    plain: Vec<u8>,
    scratch: Scratch,
    /// The most coded fields that the scratch was used for.
    coded_fields: usize,
}

impl Worker {
    /// Frees what an earlier chunk, or a storage, has made greater than a chunk of this many
    /// original bytes and coded fields needs.
    fn limit(&mut self, data_bytes: u64, coded_fields: usize) {
        limit_capacity(&mut self.records, data_bytes);
        limit_capacity(&mut self.plain, data_bytes);
        // One field takes no more than none.
        let coded_fields = coded_fields.max(1);
        if self.coded_fields > coded_fields {
            self.scratch = Scratch::default();
        }
        self.coded_fields = coded_fields;
    }
}

/// What is stored of a chunk.
struct StoredChunk<'a> {
    index: &'a TensorIndex<'a>,
    shape: ChunkShape,
    /// The chunk's records, one behind the other.
    records: &'a [u8],
    records_offset: u64,
    /// The chunk's bytes of the plain plane.
    plain: &'a [u8],
}

impl<'a> StoredChunk<'a> {
    /// The shape of the record of a coded field, its offset in the file and its bytes.
    fn record(&self, coded: &CodedField) -> (RecordShape, u64, &'a [u8]) {
        let shape = self.index.payload().record_shape(&self.shape, coded);
        let ends = self.index.record_ends();
        let Extent { offset, length } = ends.record(self.shape.number, coded.number);
        let start = (offset - self.records_offset) as usize;
        (shape, offset, &self.records[start..start + length as usize])
    }

    fn first_field(&self) -> CodedField {
        let first = self.index.payload().forms().coded_field(0);
        first.expect("a chunk is of a tensor with a coded field")
    }

    /// The first record, with every rule checked but `record-crc`.
    fn first_unchecked(&self) -> Result<UncheckedRecord<'a>, Error> {
        let (shape, offset, bytes) = self.record(&self.first_field());
        UncheckedRecord::parse(&shape, offset, bytes)
    }

    /// Checks all records, and calls `then` with them.
    fn with_records<T, E: From<Error>>(
        &self,
        then: impl FnOnce(&[Record<'a>]) -> Result<T, E>,
    ) -> Result<T, E> {
        let (shape, offset, bytes) = self.record(&self.first_field());
        let first = Record::parse(&shape, offset, bytes, self.plain)?;
        self.with_others(&first, then)
    }

    /// Checks all records but the first, and calls `then` with all.
    fn with_others<T, E: From<Error>>(
        &self,
        first: &Record<'a>,
        then: impl FnOnce(&[Record<'a>]) -> Result<T, E>,
    ) -> Result<T, E> {
        let forms = self.index.payload().forms();
        if forms.coded_count() == 1 {
            return then(slice::from_ref(first));
        }
        let mut records = [*first; FIELDS];
        for coded in forms.coded().skip(1) {
            let (shape, offset, bytes) = self.record(&coded);
            records[coded.number] = Record::parse(&shape, offset, bytes, self.plain)?;
        }
        then(&records[..forms.coded_count()])
    }

    /// Checks the padding bits of the plain plane, if they are in this chunk.
    fn require_plain_padding(&self) -> Result<(), Error> {
        require_plain_padding(self.index.payload(), self.shape.plain, self.plain)
    }
}

/// Checks the padding bits of the plain plane if its last byte is in `extent`, the extent of
/// `bytes`.
fn require_plain_padding(payload: &Payload, extent: Extent, bytes: &[u8]) -> Result<(), Error> {
    match bytes.last() {
        Some(&last) if extent.end() == payload.plain().end() => payload.require_plain_padding(last),
        _ => Ok(()),
    }
}

impl<S: Storage + ?Sized> Container<'_, S> {
    /// Decodes chunk `number` of a coded tensor into `weights`, its little-endian bytes or BF16
    /// weights, which may be uninitialised. All of them are initialised on success.
    ///
    /// # Errors
    /// The rules of sections 5 and 6; `padding`, for the padding bits of the plain plane; the
    /// errors of the storage; [`ReadError::OverBudget`].
    ///
    /// # Panics
    /// If the index does not have the chunk, or `weights` is not as long as the chunk.
    pub fn decode_chunk<'o>(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        weights: impl Into<Output<'o>>,
    ) -> Result<(), ReadError> {
        self.decode_checked(index, number, &mut weights.into())?;
        Ok(())
    }

    /// Same as [`Container::decode_chunk`]. Returns the weights' CRC-32.
    ///
    /// The first record is decoded before its checksum is known, because the checksum is computed
    /// at the same time. The errors are the same nevertheless: kernels are safe for any record, and
    /// after any failure the rules are checked again in their order.
    fn decode_checked(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        output: &mut Output<'_>,
    ) -> Result<u32, ReadError> {
        self.with_chunk(index, number, |chunk, scratch| {
            let mut decode = || {
                let first = chunk.first_unchecked()?;
                chunk.with_others(first.contents(), |records| {
                    let checksums = self.codec.decode_checked(
                        scratch,
                        index.palettes(),
                        records,
                        chunk.plain,
                        first.checksum_so_far(),
                        output,
                    )?;
                    first.require_checksum(checksums.record)?;
                    chunk.require_plain_padding()?;
                    Ok(checksums.weights)
                })
            };
            decode().map_err(|error: Error| {
                let in_order = chunk.with_records(|_| Ok::<_, Error>(()));
                ReadError::from(in_order.err().unwrap_or(error))
            })
        })
    }

    /// Reads and checks the records of chunk `number`, and calls `then` with them in the order of
    /// fields, with the chunk's bytes of the plain plane, and with a codec's buffers.
    ///
    /// # Errors
    /// The rules of sections 5 and 6 except those on lanes; `padding`, for the padding bits of the
    /// plain plane; the errors of the storage and of `then`; [`ReadError::OverBudget`].
    ///
    /// # Panics
    /// If the index does not have the chunk.
    pub fn with_records<T, E>(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        then: impl FnOnce(&[Record<'_>], &[u8], &mut Scratch) -> Result<T, E>,
    ) -> Result<T, ReadError>
    where
        ReadError: From<E>,
    {
        self.with_chunk(index, number, |chunk, scratch| {
            chunk.with_records(|records| {
                chunk.require_plain_padding()?;
                Ok(then(records, chunk.plain, scratch)?)
            })
        })
    }

    /// Reads what is stored of chunk `number`, and calls `then` with it.
    fn with_chunk<T>(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        then: impl FnOnce(&StoredChunk<'_>, &mut Scratch) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let shape = index.payload().chunk(number);
        let extent = index.record_ends().chunk(number);
        self.with_worker(index, shape.weights.into(), |worker| {
            let chunk = StoredChunk {
                index,
                shape,
                records: self.read(extent, &mut worker.records)?,
                records_offset: extent.offset,
                plain: self.read(shape.plain, &mut worker.plain)?,
            };
            then(&chunk, &mut worker.scratch)
        })
    }

    /// Calls `then` with a codec's buffers for so many weights of a tensor.
    ///
    /// # Errors
    /// [`ReadError::OverBudget`].
    pub(super) fn with_scratch<T>(
        &self,
        index: &TensorIndex<'_>,
        weights: u64,
        then: impl FnOnce(&mut Scratch) -> T,
    ) -> Result<T, ReadError> {
        self.with_worker(index, weights, |worker| Ok(then(&mut worker.scratch)))
    }

    /// Calls `then` with the buffers for so many weights.
    fn with_worker<T>(
        &self,
        index: &TensorIndex<'_>,
        weights: u64,
        then: impl FnOnce(&mut Worker) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let data_bytes = weights * weight_bytes(index.payload());
        let coded_fields = index.payload().forms().coded_count();
        self.require_chunk(data_bytes, coded_fields)?;
        let mut worker = self.workers.take();
        worker.limit(data_bytes, coded_fields);
        let done = then(&mut worker);
        worker.limit(data_bytes, coded_fields);
        self.workers.put(worker);
        done
    }

    /// Checks that the budget suffices for a chunk of this many original bytes and coded fields, or
    /// for as many bytes of a tensor without records.
    fn require_chunk(&self, data_bytes: u64, coded_fields: usize) -> Result<(), OverBudget> {
        let counted = match coded_fields {
            0 => data_bytes.min(layout::BLOCK_BYTES),
            _ => data_bytes,
        };
        let needed = self.held_bytes() + chunk_bytes(counted, coded_fields);
        self.budget.require(Purpose::Chunk, needed)
    }

    /// Decodes piece `number` of a tensor into `output`, and returns the CRC-32 of its bytes.
    ///
    /// # Errors
    /// The errors of [`Container::decode_chunk`], and `block-crc`.
    pub(super) fn decode_piece(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        output: &mut Output<'_>,
    ) -> Result<u32, ReadError> {
        match index.payload().forms().is_coded() {
            true => self.decode_checked(index, number, output),
            false => self.decode_plain(index, index.piece(number), output),
        }
    }

    /// Decodes weights of a tensor without records, at most as many as a piece has. The number of
    /// the first is a multiple of 8. Returns the CRC-32 of their bytes.
    pub(super) fn decode_plain(
        &self,
        index: &TensorIndex<'_>,
        weights: Range<u64>,
        output: &mut Output<'_>,
    ) -> Result<u32, ReadError> {
        if index.payload().forms().is_raw() {
            return self.with_plain(index, weights, |plain| crc32(output.fill(plain)));
        }
        let count = weights.end - weights.start;
        self.with_worker(index, count, |Worker { scratch, .. }| {
            let decoded = self.with_plain(index, weights, |plain| {
                let palettes = index.palettes();
                let decoded = self
                    .codec
                    .decode_chunk(scratch, palettes, &[], plain, output);
                decoded.map(crc32)
            })?;
            Ok(decoded?)
        })
    }

    /// Reads the plain bits of weights of a tensor without records, checks the blocks that have
    /// them, and calls `then` with them.
    pub(super) fn with_plain<T>(
        &self,
        index: &TensorIndex<'_>,
        weights: Range<u64>,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, ReadError> {
        let payload = index.payload();
        self.require_chunk((weights.end - weights.start) * weight_bytes(payload), 0)?;
        let part = payload.plain_of_weights(weights);
        let [checksums, read] = stored_plain(payload, part);
        let mut buffer = Vec::new();
        let stated = self.read(checksums, &mut buffer)?;
        let mut buffer = Vec::new();
        let bytes = self.read(read, &mut buffer)?;
        let first = (read.offset - payload.plain().offset) / layout::BLOCK_BYTES;
        let blocks = bytes.chunks(layout::BLOCK_BYTES as usize);
        for ((number, block), &stated) in (first..).zip(blocks).zip(stated.as_chunks().0) {
            payload.require_block_checksum(number, block, stated)?;
        }
        require_plain_padding(payload, read, bytes)?;
        let start = (part.offset - read.offset) as usize;
        Ok(then(&bytes[start..start + part.length as usize]))
    }
}

/// The extents to read for a part of a plain plane without records: block checksums, and the blocks
/// that have the part. Without block checksums they are none, and the part.
pub(super) fn stored_plain(payload: &Payload, part: Extent) -> [Extent; 2] {
    let plane = payload.plain();
    if payload.block_count() == 0 {
        let nothing = Extent {
            offset: payload.block_checksums().offset,
            length: 0,
        };
        return [nothing, part];
    }
    let first = (part.offset - plane.offset) / layout::BLOCK_BYTES;
    let end = (part.end() - plane.offset).div_ceil(layout::BLOCK_BYTES);
    let checksums = Extent {
        offset: payload.block_checksums().offset + first * layout::BLOCK_CHECKSUM_BYTES,
        length: (end - first) * layout::BLOCK_CHECKSUM_BYTES,
    };
    let blocks = Extent {
        offset: payload.block(first).offset,
        length: payload.block(end - 1).end() - payload.block(first).offset,
    };
    [checksums, blocks]
}
