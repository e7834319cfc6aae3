//! The patches of a record (section 5.5).

use crate::error::{Error, Expected, Rule};
use crate::layout::PATCH_BYTES;

/// A weight whose exponent the record does not code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Number of the weight in its chunk.
    pub position: u16,
    /// Its exponent.
    pub exponent: u8,
}

/// The patches of a record: ascending positions, all in the chunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patches<'a> {
    bytes: &'a [[u8; PATCH_BYTES]],
}

impl<'a> Patches<'a> {
    /// Patches of a chunk of `weights` weights, from the bytes at `offset` in the file.
    pub(super) fn parse(bytes: &'a [u8], offset: u64, weights: u32) -> Result<Patches<'a>, Error> {
        let (bytes, _) = bytes.as_chunks();
        let mut least = 0;
        for (index, &patch) in bytes.iter().enumerate() {
            let at = offset + (index * PATCH_BYTES) as u64;
            let position = u32::from(read(patch).position);
            if position < least {
                return Err(Error::new(
                    Rule::PatchOrder,
                    at,
                    position.into(),
                    Expected::AtLeast(least.into()),
                ));
            }
            if position >= weights {
                return Err(Error::new(
                    Rule::PatchPosition,
                    at,
                    position.into(),
                    Expected::AtMost(u64::from(weights) - 1),
                ));
            }
            least = position + 1;
        }
        Ok(Patches { bytes })
    }

    /// Number of patches.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no patches.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Patch `number`, or `None` if there are fewer.
    pub fn number(&self, number: usize) -> Option<Patch> {
        self.bytes.get(number).map(|&bytes| read(bytes))
    }

    /// The patches, by ascending position.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Patch> + use<'a> {
        self.bytes.iter().map(|&bytes| read(bytes))
    }
}

fn read([low, high, exponent]: [u8; PATCH_BYTES]) -> Patch {
    Patch {
        position: u16::from_le_bytes([low, high]),
        exponent,
    }
}
