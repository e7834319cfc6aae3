//! The records of one chunk, one behind the other.

use unweight_format::layout::FIELDS;

/// The records of one chunk, one for each coded field in the order of fields.
#[derive(Clone, Debug, Default)]
pub struct ChunkRecords {
    bytes: Vec<u8>,
    /// The end of each record in `bytes`.
    ends: [usize; FIELDS],
    count: usize,
}

impl ChunkRecords {
    /// Removes all records, and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Appends the record that `write` appends to the bytes.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends[self.count] = self.bytes.len();
        self.count += 1;
    }

    /// Number of records.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no records.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of all records together.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Capacity of the buffer in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The records, in the order of fields.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        (0..self.count).map(|number| {
            let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[start..self.ends[number]]
        })
    }
}
