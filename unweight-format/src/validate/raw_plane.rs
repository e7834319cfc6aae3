//! The plane of a raw tensor (sections 3.4 and 4.2).

use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::{self, entry as field};
use crate::parse::RawEntry;
use crate::validate::payload::{between, misplaced_end, past_64_bits};
use crate::validate::require_zero;
use crate::validate::tensor::Located;

/// The payload of a raw tensor (section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPlane {
    data: Extent,
    checksums: Extent,
}

impl RawPlane {
    /// The plane of a raw tensor of `data_bytes` bytes.
    pub(super) fn resolve(
        raw: &RawEntry,
        data_bytes: u64,
        located: &Located<'_>,
    ) -> Result<RawPlane, Error> {
        let at = |offset: u64| located.entry_offset + offset;
        require_zero(
            Rule::RawFields,
            &[raw.chunk_size_log2],
            at(field::CHUNK_SIZE),
        )?;
        require_zero(Rule::RawFields, &raw.palette, at(field::PALETTE))?;
        let (plane, end) = RawPlane::place(located.payload_before, data_bytes)
            .ok_or(past_64_bits(located, raw.payload_end))?;
        if end != raw.payload_end {
            return Err(misplaced_end(
                located,
                raw.payload_end,
                Expected::Exactly(end),
            ));
        }
        Ok(plane)
    }

    /// Start and end of the plane after a payload that ends at `before`.
    fn place(before: u64, data_bytes: u64) -> Option<(RawPlane, u64)> {
        let nothing = Extent {
            offset: before,
            length: 0,
        };
        if data_bytes == 0 {
            return Some((
                RawPlane {
                    data: nothing,
                    checksums: nothing,
                },
                before,
            ));
        }
        let data = Extent {
            offset: layout::align(before, layout::PLANE_ALIGNMENT)?,
            length: data_bytes,
        };
        let checksums = Extent {
            offset: layout::align(
                data.offset.checked_add(data.length)?,
                layout::BLOCK_CHECKSUM_BYTES,
            )?,
            length: layout::BLOCK_CHECKSUM_BYTES * data_bytes.div_ceil(layout::BLOCK_BYTES),
        };
        let end = checksums.offset.checked_add(checksums.length)?;
        Some((RawPlane { data, checksums }, end))
    }

    /// The original bytes.
    pub const fn data(&self) -> Extent {
        self.data
    }

    /// The block checksums, a u32 each.
    pub const fn checksums(&self) -> Extent {
        self.checksums
    }

    /// Number of blocks.
    pub const fn block_count(&self) -> u64 {
        self.checksums.length / layout::BLOCK_CHECKSUM_BYTES
    }

    /// Extent of block `number`, which must be less than the block count.
    pub const fn block(&self, number: u64) -> Extent {
        let skip = number * layout::BLOCK_BYTES;
        let left = self.data.length - skip;
        self.data.part(
            skip,
            if left < layout::BLOCK_BYTES {
                left
            } else {
                layout::BLOCK_BYTES
            },
        )
    }

    /// Compares the bytes of block `number` with its checksum, whose four bytes are given as in the
    /// file.
    ///
    /// # Errors
    /// `raw-crc`.
    pub fn require_block_checksum(
        &self,
        number: u64,
        block: &[u8],
        stated: [u8; 4],
    ) -> Result<(), Error> {
        Error::unless_checksum(
            Rule::RawCrc,
            self.block(number).offset,
            crate::crc32(block),
            u32::from_le_bytes(stated),
        )
    }

    /// Padding between the data and the checksums.
    pub const fn padding(&self) -> Extent {
        between(self.data, self.checksums)
    }
}
