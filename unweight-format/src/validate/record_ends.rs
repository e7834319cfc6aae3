//! The record ends of a coded tensor (section 3.5).

use core::ops::Range;

use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::{self, FIELDS, RECORD_ALIGNMENT};
use crate::payload::Payload;
use crate::validate::file_header::truncated;

/// Record ends of a tensor, or of some of its chunks, all checked.
#[derive(Clone, Copy, Debug)]
pub struct RecordEnds<'a> {
    payload: Payload,
    /// Number of the first chunk that is here.
    first_chunk: u64,
    /// End of the record before those of that chunk, in units of 16 bytes.
    before: u32,
    ends: &'a [[u8; 4]],
}

impl<'a> RecordEnds<'a> {
    /// The record ends of this payload, from the bytes at [`Payload::record_ends`].
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`; `file-truncated` if there are too few bytes.
    pub fn parse(payload: &Payload, bytes: &'a [u8]) -> Result<RecordEnds<'a>, Error> {
        RecordEnds::parse_chunks(payload, 0..payload.chunk_count(), bytes)
    }

    /// The record ends of these chunks, which must not exceed the tensor's, from the bytes at
    /// [`Payload::record_ends_of`]. They suffice for random access.
    ///
    /// # Errors
    /// The errors of [`parse`](RecordEnds::parse).
    pub fn parse_chunks(
        payload: &Payload,
        chunks: Range<u64>,
        bytes: &'a [u8],
    ) -> Result<RecordEnds<'a>, Error> {
        let extent = payload.record_ends_of(chunks.clone());
        let (ends, _) = bytes.as_chunks();
        let Some(ends) = ends.get(..(extent.length / layout::RECORD_END_BYTES) as usize) else {
            return Err(truncated(extent.offset + bytes.len() as u64, extent.end()));
        };
        let (before, ends) = match (chunks.start, ends.split_first()) {
            (1.., Some((&before, ends))) => (u32::from_le_bytes(before), ends),
            _ => (0, ends),
        };
        let parsed = RecordEnds {
            payload: *payload,
            first_chunk: chunks.start,
            before,
            ends,
        };
        parsed.check(chunks)?;
        Ok(parsed)
    }

    fn check(&self, chunks: Range<u64>) -> Result<(), Error> {
        let payload = &self.payload;
        let Some(last_chunk) = payload.chunk_count().checked_sub(1) else {
            return Ok(());
        };
        let of_whole_chunk = longest_records(payload, 1 << payload.chunk_size_log2());
        let of_last_chunk = longest_records(payload, payload.chunk(last_chunk).weights);
        let records_length = payload.records().length / RECORD_ALIGNMENT;

        let mut index = payload.record_index(self.first_chunk, 0);
        let mut before = self.before;
        let of_chunks = self.ends.chunks(payload.forms().coded_count());
        for (chunk, ends) in chunks.zip(of_chunks) {
            let longest = match chunk == last_chunk {
                true => &of_last_chunk,
                false => &of_whole_chunk,
            };
            for (&end, &longest) in ends.iter().zip(longest) {
                let end = u32::from_le_bytes(end);
                let at = payload.record_ends().offset + index * layout::RECORD_END_BYTES;
                let broken = |rule, found, expected| Err(Error::new(rule, at, found, expected));
                if end <= before {
                    let expected = Expected::AtLeast(u64::from(before) + 1);
                    return broken(Rule::RecordEnds, end.into(), expected);
                }
                if index + 1 == payload.record_count() && u64::from(end) != records_length {
                    let expected = Expected::Exactly(records_length);
                    return broken(Rule::RecordEnds, end.into(), expected);
                }
                if u64::from(end) > records_length {
                    let expected = Expected::AtMost(records_length);
                    return broken(Rule::RecordEnds, end.into(), expected);
                }
                let length = u64::from(end - before) * RECORD_ALIGNMENT;
                if length > longest {
                    return broken(Rule::RecordTooLong, length, Expected::AtMost(longest));
                }
                before = end;
                index += 1;
            }
        }
        Ok(())
    }

    /// Extent of the record of a chunk and a coded field, both given by their numbers in the
    /// tensor. The chunk must be one of those that were parsed.
    pub fn record(&self, chunk: u64, coded_field: usize) -> Extent {
        let record = self.place(chunk) + coded_field;
        self.between(record, record + 1)
    }

    /// Extent of all records of a chunk, which must be one of those that were parsed.
    pub fn chunk(&self, chunk: u64) -> Extent {
        self.between(self.place(chunk), self.place(chunk + 1))
    }

    /// The place in `ends` of the first record of a chunk.
    fn place(&self, chunk: u64) -> usize {
        self.payload.record_index(chunk - self.first_chunk, 0) as usize
    }

    /// Extent of the records with these places in `ends`.
    fn between(&self, start: usize, end: usize) -> Extent {
        let bytes_to = |place: usize| {
            let end = match place.checked_sub(1) {
                Some(before) => u32::from_le_bytes(self.ends[before]),
                None => self.before,
            };
            u64::from(end) * RECORD_ALIGNMENT
        };
        let skip = bytes_to(start);
        self.payload.records().part(skip, bytes_to(end) - skip)
    }
}

/// The greatest lengths of the records of a chunk of `weights` weights, by coded field.
fn longest_records(payload: &Payload, weights: u32) -> [u64; FIELDS] {
    let mut longest = [0; FIELDS];
    for (place, coded) in longest.iter_mut().zip(payload.forms().coded()) {
        *place = layout::longest_record_bytes(weights, coded.field.width());
    }
    longest
}
