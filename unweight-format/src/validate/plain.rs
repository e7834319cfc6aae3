//! Checks of a plain plane (section 3.5).

use crate::bits::padding_mask;
use crate::error::{Error, Expected, Rule};
use crate::layout;
use crate::payload::Payload;

impl Payload {
    /// Compares the bytes of block `number` of the plain plane with its checksum, whose four bytes
    /// are given as in the file. The number must be less than the block count.
    ///
    /// # Errors
    /// `block-crc`.
    pub fn require_block_checksum(
        &self,
        number: u64,
        block: &[u8],
        stated: [u8; layout::BLOCK_CHECKSUM_BYTES as usize],
    ) -> Result<(), Error> {
        Error::unless_checksum(
            Rule::BlockCrc,
            self.block(number).offset,
            crate::crc32(block),
            u32::from_le_bytes(stated),
        )
    }

    /// The bits of the plain plane's last byte that are padding; 0 if there are none.
    pub const fn plain_padding_mask(&self) -> u8 {
        padding_mask(self.weights(), self.forms().plain_bits())
    }

    /// Checks the padding bits of the plain plane, given its last byte. A plane of no bytes has
    /// none.
    ///
    /// # Errors
    /// `padding`.
    pub fn require_plain_padding(&self, last: u8) -> Result<(), Error> {
        match last & self.plain_padding_mask() {
            0 => Ok(()),
            bits => Err(Error::new(
                Rule::Padding,
                self.plain().end().saturating_sub(1),
                bits.into(),
                Expected::Exactly(0),
            )),
        }
    }
}
