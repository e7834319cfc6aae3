//! Stored bits by purpose.

use std::ops::AddAssign;

use unweight_format::layout::{
    LANE_ENDS_BYTES, PATCH_BYTES, RECORD_CHECKED_FROM, RECORD_HEADER_BYTES,
};
use unweight_format::{Body, Record};

/// Numbers of bits by purpose. Sums saturate: a storage may claim to be longer than any file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredBits {
    /// Bits of the plain plane.
    pub plain: u64,
    /// Huffman codes, or palette indices.
    pub codes: u64,
    /// Values of verbatim records.
    pub verbatim: u64,
    /// Patches.
    pub patches: u64,
    /// Lane ends.
    pub lane_ends: u64,
    /// Kinds, patch counts and code lengths.
    pub record_headers: u64,
    /// Record ends.
    pub record_ends: u64,
    /// Palettes of coded fields.
    pub palettes: u64,
    /// Values of constant fields.
    pub constants: u64,
    /// Checksums of records and blocks.
    pub checksums: u64,
    /// Padding.
    pub padding: u64,
}

impl StoredBits {
    /// The purposes with their names and bits.
    pub fn by_purpose(&self) -> [(&'static str, u64); 11] {
        [
            ("plain bits", self.plain),
            ("codes", self.codes),
            ("verbatim values", self.verbatim),
            ("patches", self.patches),
            ("lane ends", self.lane_ends),
            ("record headers", self.record_headers),
            ("record ends", self.record_ends),
            ("palettes", self.palettes),
            ("constants", self.constants),
            ("checksums", self.checksums),
            ("padding", self.padding),
        ]
    }

    /// The sum.
    pub fn sum(&self) -> u64 {
        let bits = self.by_purpose().map(|(_, bits)| bits);
        bits.into_iter().fold(0, u64::saturating_add)
    }

    /// What a record takes. `codes` is the number of bits of its codes or indices.
    pub(crate) fn of_record(record: &Record<'_>, codes: u64) -> StoredBits {
        let mut stored = StoredBits {
            codes,
            patches: 8 * (PATCH_BYTES * record.patches().len()) as u64,
            record_headers: 8 * (RECORD_HEADER_BYTES - RECORD_CHECKED_FROM) as u64,
            checksums: 8 * RECORD_CHECKED_FROM as u64,
            ..StoredBits::default()
        };
        match record.body() {
            Body::Verbatim(_) => {
                let shape = record.shape();
                stored.verbatim = u64::from(shape.weights()) * u64::from(shape.width());
            }
            Body::Huffman { .. } => stored.lane_ends = 8 * LANE_ENDS_BYTES as u64,
            Body::Palette(_) => {}
        }
        // The rest is padding: unused bits of the lanes' last bytes, and the record's own padding.
        stored.padding = 8 * record.bytes().len() as u64 - stored.sum();
        stored
    }
}

impl AddAssign for StoredBits {
    fn add_assign(&mut self, other: StoredBits) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.plain, other.plain);
        add(&mut self.codes, other.codes);
        add(&mut self.verbatim, other.verbatim);
        add(&mut self.patches, other.patches);
        add(&mut self.lane_ends, other.lane_ends);
        add(&mut self.record_headers, other.record_headers);
        add(&mut self.record_ends, other.record_ends);
        add(&mut self.palettes, other.palettes);
        add(&mut self.constants, other.constants);
        add(&mut self.checksums, other.checksums);
        add(&mut self.padding, other.padding);
    }
}
