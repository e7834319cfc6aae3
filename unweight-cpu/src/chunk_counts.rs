//! Compact exponent counts of a chunk. They are kept from the counting pass over a tensor to the
//! encoding pass.

use unweight_format::Palette;
use unweight_format::layout::PALETTE_ENTRIES;

use crate::reference::ExponentCounts;

/// Number of exponents whose counts are kept. The counts of trained weights halve with each lower
/// exponent, so a chunk of 2^15 weights seldom has more.
const KEPT: usize = 24;
/// Number of chunks whose counts are kept, from the first on: 3.1 MiB of counts for 2 GiB of
/// weights in chunks of the default size. Later chunks are counted again, so the memory is bounded
/// for a tensor of any size.
const CHUNKS_KEPT: u64 = 1 << 15;

/// Need of the counts of a tensor with this many chunks, in bytes.
pub fn counts_bytes(chunks: u64) -> u64 {
    size_of::<ChunkCounts>() as u64 * chunks.min(CHUNKS_KEPT)
}

/// The kept counts of a tensor's chunks.
#[derive(Debug)]
pub struct TensorCounts {
    of_chunks: Vec<ChunkCounts>,
}

impl TensorCounts {
    /// Empty counts for a tensor with this many chunks.
    pub fn of_chunks(chunks: u64) -> TensorCounts {
        TensorCounts {
            of_chunks: Vec::with_capacity(chunks.min(CHUNKS_KEPT) as usize),
        }
    }

    /// Keeps the counts of the next chunk if there is room.
    pub fn push(&mut self, counts: ChunkCounts) {
        if (self.of_chunks.len() as u64) < CHUNKS_KEPT {
            self.of_chunks.push(counts);
        }
    }

    /// The number of occurrences of each palette entry in chunk `number`, if it was kept.
    pub fn of_palette(&self, number: u64, palette: &Palette) -> Option<[u64; PALETTE_ENTRIES]> {
        self.of_chunks.get(number as usize)?.of_palette(palette)
    }
}

/// The counts of the greatest exponents of a chunk: 100 bytes for some 64 KB of weights.
#[derive(Clone, Debug)]
pub struct ChunkCounts {
    /// The smallest exponent whose count is kept.
    base: u8,
    /// Whether no smaller exponent occurs.
    is_whole: bool,
    counts: [u32; KEPT],
}

impl ChunkCounts {
    /// The compact counts of a chunk of at most 2^16 weights.
    pub fn of(counts: &ExponentCounts) -> ChunkCounts {
        let counts = counts.as_array();
        let greatest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let base = (greatest + 1).saturating_sub(KEPT);
        ChunkCounts {
            base: base as u8,
            is_whole: counts[..base].iter().all(|&count| count == 0),
            counts: std::array::from_fn(|place| counts[base + place] as u32),
        }
    }

    /// Whether the counts of all exponents are kept.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Adds the kept counts to `total`.
    pub fn add_to(&self, total: &mut ExponentCounts) {
        let total = total.as_array_mut()[usize::from(self.base)..].iter_mut();
        for (total, &count) in total.zip(&self.counts) {
            *total += u64::from(count);
        }
    }

    /// The number of occurrences of each palette entry, if it was kept.
    fn of_palette(&self, palette: &Palette) -> Option<[u64; PALETTE_ENTRIES]> {
        // Palettes are in ascending order.
        if !self.is_whole && palette.exponents()[0] < self.base {
            return None;
        }
        Some(palette.exponents().map(|exponent| {
            let place = exponent.checked_sub(self.base).map(usize::from);
            let count = place.and_then(|place| self.counts.get(place));
            count.copied().unwrap_or(0).into()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_no_more_chunks_than_there_is_room_for() {
        let palette = Palette::new(std::array::from_fn(|i| i as u8)).unwrap();
        let mut counts = ExponentCounts::default();
        counts.add_exponents(&[3]);
        let mut tensor = TensorCounts::of_chunks(CHUNKS_KEPT + 2);
        for _ in 0..CHUNKS_KEPT + 2 {
            tensor.push(ChunkCounts::of(&counts));
        }
        let room = tensor.of_chunks.capacity() * size_of::<ChunkCounts>();
        assert_eq!(room as u64, counts_bytes(CHUNKS_KEPT + 2));
        for (number, is_kept) in [(0, true), (CHUNKS_KEPT - 1, true), (CHUNKS_KEPT, false)] {
            let found = tensor.of_palette(number, &palette);
            assert_eq!(found.map(|counts| counts[3]), is_kept.then_some(1));
        }
    }

    #[test]
    fn gives_the_counts_of_a_palette_or_nothing() {
        let palette = |base: u8| Palette::new(std::array::from_fn(|i| base + i as u8)).unwrap();
        for exponents in [
            &[0u8][..],
            &[255, 255, 250],
            &[120, 110, 3],
            &[90, 100],
            &[5, 9],
        ] {
            let mut counts = ExponentCounts::default();
            counts.add_exponents(exponents);
            let kept = ChunkCounts::of(&counts);
            for base in 0..=240 {
                let expected = palette(base)
                    .exponents()
                    .map(|exponent| counts.of(exponent));
                match kept.of_palette(&palette(base)) {
                    Some(found) => assert_eq!(found, expected),
                    None => assert!(exponents.iter().any(|&exponent| exponent < kept.base)),
                }
            }
        }
    }
}
