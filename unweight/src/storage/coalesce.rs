//! Merged reads: what is merged, and the bytes that were read ahead.

use unweight_format::Extent;

use crate::{Storage, read_extent};

/// When neighbouring reads are merged into a single longer one. This saves round trips to storages
/// with a high latency, for example object stores.
///
/// Merged reads take memory, which counts towards the budget. With a small budget they become
/// shorter, so that no operation is refused because of them. If a merged read fails, its parts are
/// read one by one, so results and errors are the same as without merging.
///
/// ```
/// use unweight::{Coalesce, OpenOptions};
///
/// let options = OpenOptions::new().coalesce(Coalesce::new().gap_bytes(64 << 10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesce {
    gap_bytes: u64,
    longest_bytes: u64,
}

impl Coalesce {
    /// Gaps of at most 1 MiB, and reads of at most 8 MiB.
    pub const fn new() -> Coalesce {
        Coalesce {
            gap_bytes: 1 << 20,
            longest_bytes: 8 << 20,
        }
    }

    /// The longest gap between two reads that is read too, in order to merge them. A suitable value
    /// is the number of bytes that the storage delivers in one round trip. Opening a file reads
    /// that many bytes at once.
    pub const fn gap_bytes(self, gap_bytes: u64) -> Coalesce {
        Coalesce { gap_bytes, ..self }
    }

    /// The longest merged read. Several threads may read as much at a time.
    pub const fn longest_bytes(self, longest_bytes: u64) -> Coalesce {
        Coalesce {
            longest_bytes,
            ..self
        }
    }

    pub(crate) const fn gap(self) -> u64 {
        self.gap_bytes
    }

    pub(crate) const fn longest(self) -> u64 {
        self.longest_bytes
    }

    /// Extends `first` by those of the following extents, in order, that are near enough. The
    /// result has at most `longest` bytes, unless `first` alone has more.
    pub(crate) fn merged(
        self,
        first: Extent,
        following: impl Iterator<Item = Extent>,
        longest: u64,
    ) -> Extent {
        let mut end = first.end();
        for next in following {
            let is_near = next.offset >= end && next.offset - end <= self.gap_bytes;
            if !is_near || next.end() - first.offset > longest {
                break;
            }
            end = next.end();
        }
        Extent {
            offset: first.offset,
            length: end - first.offset,
        }
    }
}

impl Default for Coalesce {
    fn default() -> Coalesce {
        Coalesce::new()
    }
}

/// Bytes of a storage that were read ahead.
#[derive(Debug, Default)]
pub(crate) struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// The extent that was asked for last, even if its read failed.
    asked: Option<Extent>,
}

impl Window {
    /// The bytes of this extent, if all of them were read ahead.
    pub(crate) fn get(&self, extent: Extent) -> Option<&[u8]> {
        let offset = extent.offset.checked_sub(self.start)?;
        Extent { offset, ..extent }.of(&self.bytes)
    }

    /// Reads an extent ahead, in place of what the window had. If that fails, the window is empty:
    /// the reads that it was meant for then report the error.
    pub(crate) fn load<S: Storage + ?Sized>(&mut self, storage: &S, extent: Extent) {
        self.asked = Some(extent);
        self.start = extent.offset;
        self.bytes.clear();
        let mut buffer = Vec::new();
        if let Ok(bytes) = read_extent(storage, extent, &mut buffer)
            && self.bytes.try_reserve_exact(bytes.len()).is_ok()
        {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Does the same as [`Window::load`], unless the window was just asked for this extent.
    pub(crate) fn load_once<S: Storage + ?Sized>(&mut self, storage: &S, extent: Extent) {
        if self.asked != Some(extent) {
            self.load(storage, extent);
        }
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.bytes.capacity() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn merges_extents_up_to_the_gap_and_the_length() {
        let coalesce = Coalesce::new().gap_bytes(10);
        let first = extent(100, 20);
        let merged = |following: &[Extent], longest| {
            coalesce.merged(first, following.iter().copied(), longest)
        };
        assert_eq!(merged(&[], 1000), first);
        assert_eq!(merged(&[extent(130, 5)], 1000), extent(100, 35));
        assert_eq!(merged(&[extent(131, 5)], 1000), first);
        assert_eq!(
            merged(&[extent(120, 5), extent(130, 9)], 39),
            extent(100, 39)
        );
        assert_eq!(
            merged(&[extent(120, 5), extent(130, 9)], 38),
            extent(100, 25)
        );
        // An extent that begins before the end of the last one is not merged.
        assert_eq!(merged(&[extent(119, 5)], 1000), first);
        assert_eq!(merged(&[extent(120, 5)], 0), first);
    }

    #[test]
    fn a_window_has_only_what_was_read() {
        let storage = &[1u8, 2, 3, 4, 5][..];
        let mut window = Window::default();
        assert_eq!(window.get(extent(0, 1)), None);
        window.load(storage, extent(1, 3));
        assert_eq!(window.get(extent(1, 3)), Some(&[2, 3, 4][..]));
        assert_eq!(window.get(extent(3, 1)), Some(&[4][..]));
        assert_eq!(window.get(extent(0, 1)), None);
        assert_eq!(window.get(extent(3, 2)), None);
        window.load(storage, extent(1, 5));
        assert_eq!(window.get(extent(1, 1)), None, "the storage is shorter");
    }
}
