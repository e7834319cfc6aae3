//! The patches of a record (section 5.5).

use crate::error::{Error, Expected, Rule};
use crate::layout::PATCH_BYTES;
use crate::record_shape::RecordShape;

/// A weight whose value the record does not code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Number of the weight in its chunk.
    pub position: u16,
    /// The value of its field.
    pub value: u8,
}

/// The patches of a record: ascending positions, all in the chunk, with values that the
/// field can have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patches<'a> {
    bytes: &'a [[u8; PATCH_BYTES]],
}

impl<'a> Patches<'a> {
    /// Patches of a record of this shape, from the bytes at `offset` in the file.
    pub(super) fn parse(
        shape: &RecordShape,
        bytes: &'a [u8],
        offset: u64,
    ) -> Result<Patches<'a>, Error> {
        let (bytes, _) = bytes.as_chunks();
        let greatest = (1 << shape.width()) - 1;
        let mut least = 0;
        for (index, &patch) in bytes.iter().enumerate() {
            let at = offset + (index * PATCH_BYTES) as u64;
            let Patch { position, value } = read(patch);
            let position = u32::from(position);
            if position < least {
                return Err(Error::new(
                    Rule::PatchOrder,
                    at,
                    position.into(),
                    Expected::AtLeast(least.into()),
                ));
            }
            if position >= shape.weights() {
                return Err(Error::new(
                    Rule::PatchPosition,
                    at,
                    position.into(),
                    Expected::AtMost(u64::from(shape.weights()) - 1),
                ));
            }
            if u32::from(value) > greatest {
                return Err(Error::new(
                    Rule::PatchValue,
                    at + 2,
                    value.into(),
                    Expected::AtMost(greatest.into()),
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

fn read([low, high, value]: [u8; PATCH_BYTES]) -> Patch {
    Patch {
        position: u16::from_le_bytes([low, high]),
        value,
    }
}
