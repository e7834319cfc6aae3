//! The record ends of a coded tensor (section 4.3).

use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout;
use crate::validate::CodedPlanes;
use crate::validate::file_header::truncated;

/// Record ends of a tensor, all checked.
#[derive(Clone, Copy, Debug)]
pub struct RecordEnds<'a> {
    planes: CodedPlanes,
    ends: &'a [[u8; 4]],
}

impl<'a> RecordEnds<'a> {
    /// The record ends of these planes, from the bytes at [`CodedPlanes::record_ends`].
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`; `file-truncated` if there are too few bytes.
    pub fn parse(planes: &CodedPlanes, bytes: &'a [u8]) -> Result<RecordEnds<'a>, Error> {
        let extent = planes.record_ends();
        let (ends, _) = bytes.as_chunks();
        let Some(ends) = ends.get(..planes.chunk_count() as usize) else {
            return Err(truncated(extent.offset + bytes.len() as u64, extent.end()));
        };
        let parsed = RecordEnds {
            planes: *planes,
            ends,
        };
        let mut before = 0;
        for number in 0..planes.chunk_count() {
            let end = parsed.end(number);
            planes.record_between(number, before, end)?;
            before = end;
        }
        Ok(parsed)
    }

    /// Extent of record `number`, which must be less than the chunk count.
    pub fn record(&self, number: u64) -> Extent {
        let start = number.checked_sub(1).map_or(0, |before| self.end(before));
        let skip = u64::from(start) * layout::RECORD_ALIGNMENT;
        let end = u64::from(self.end(number)) * layout::RECORD_ALIGNMENT;
        self.planes.records().part(skip, end - skip)
    }

    fn end(&self, number: u64) -> u32 {
        u32::from_le_bytes(self.ends[number as usize])
    }
}

impl CodedPlanes {
    /// Extent of record `number`, given its end and that of the record before it (0 for the first)
    /// in units of 16 bytes. These two suffice for random access to one chunk. The number must be
    /// less than the chunk count.
    ///
    /// # Errors
    /// `record-ends`, `record-too-long`.
    pub fn record_between(&self, number: u64, before: u32, end: u32) -> Result<Extent, Error> {
        let at = self.record_ends().offset + number * layout::RECORD_END_BYTES;
        let broken = |rule, found, expected| Err(Error::new(rule, at, found, expected));
        if end <= before {
            let expected = Expected::AtLeast(u64::from(before) + 1);
            return broken(Rule::RecordEnds, end.into(), expected);
        }
        let whole = self.records().length / layout::RECORD_ALIGNMENT;
        let is_last = number + 1 == self.chunk_count();
        if is_last && u64::from(end) != whole {
            return broken(Rule::RecordEnds, end.into(), Expected::Exactly(whole));
        }
        if u64::from(end) > whole {
            return broken(Rule::RecordEnds, end.into(), Expected::AtMost(whole));
        }
        let length = u64::from(end - before) * layout::RECORD_ALIGNMENT;
        let longest = layout::longest_record_bytes(self.chunk(number).weights);
        if length > longest {
            return broken(Rule::RecordTooLong, length, Expected::AtMost(longest));
        }
        let skip = u64::from(before) * layout::RECORD_ALIGNMENT;
        Ok(self.records().part(skip, length))
    }
}
