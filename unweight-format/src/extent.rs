//! Ranges of a file's bytes.

/// A range of bytes of a file, by absolute offset and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Extent {
    /// Offset of the first byte from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Extent {
    /// Offset of the first byte after the extent. It fits 64 bits for extents in validated types.
    pub const fn end(self) -> u64 {
        self.offset + self.length
    }

    /// The extent's bytes in `file`, or `None` if the file is shorter.
    pub fn of(self, file: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let length = usize::try_from(self.length).ok()?;
        file.get(start..)?.get(..length)
    }

    /// The part of this extent that starts after `skip` bytes and has `length` bytes.
    pub(crate) const fn part(self, skip: u64, length: u64) -> Extent {
        Extent {
            offset: self.offset + skip,
            length,
        }
    }
}
