//! Compact counts of the values of a field in a chunk. They are kept from the counting pass over a
//! tensor to the encoding pass.

use unweight_format::Palette;
use unweight_format::layout::PALETTE_ENTRIES;

use crate::reference::ValueCounts;

/// Number of values whose counts are kept. The counts of trained weights halve with each lower
/// exponent, so a chunk of 2^15 weights seldom has more.
const KEPT: usize = 24;

/// The counts of the greatest values of a chunk: 100 bytes for some 64 KB of weights.
#[derive(Clone, Debug)]
pub(crate) struct ChunkCounts {
    /// The smallest value whose count is kept.
    base: u8,
    /// Whether no smaller value occurs.
    is_whole: bool,
    counts: [u32; KEPT],
}

impl ChunkCounts {
    /// The compact counts of a chunk of at most 2^16 weights.
    pub(crate) fn of(counts: &ValueCounts) -> ChunkCounts {
        let counts = counts.as_array();
        let greatest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let base = (greatest + 1).saturating_sub(KEPT);
        ChunkCounts {
            base: base as u8,
            is_whole: counts[..base].iter().all(|&count| count == 0),
            counts: std::array::from_fn(|place| counts[base + place] as u32),
        }
    }

    /// Whether the counts of all values are kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Adds the kept counts to `total`.
    pub(crate) fn add_to(&self, total: &mut ValueCounts) {
        let total = total.as_array_mut()[usize::from(self.base)..].iter_mut();
        for (total, &count) in total.zip(&self.counts) {
            *total += u64::from(count);
        }
    }

    /// The number of occurrences of each palette entry, if it was kept.
    pub(crate) fn of_palette(&self, palette: &Palette) -> Option<[u64; PALETTE_ENTRIES]> {
        // Palettes are in ascending order.
        if !self.is_whole && palette.values()[0] < self.base {
            return None;
        }
        let mut of_entries = [0; PALETTE_ENTRIES];
        for (of_entry, &value) in of_entries.iter_mut().zip(palette.values()) {
            let place = value.checked_sub(self.base).map(usize::from);
            let count = place.and_then(|place| self.counts.get(place));
            *of_entry = count.copied().unwrap_or(0).into();
        }
        Some(of_entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_counts_of_a_palette_or_nothing() {
        let palette = |base: u8| Palette::new(8, std::array::from_fn(|i| base + i as u8)).unwrap();
        for values in [
            &[0u8][..],
            &[255, 255, 250],
            &[120, 110, 3],
            &[90, 100],
            &[5, 9],
        ] {
            let mut counts = ValueCounts::default();
            counts.add_values(values);
            let kept = ChunkCounts::of(&counts);
            for base in 0..=240 {
                let expected: Vec<u64> = palette(base)
                    .values()
                    .iter()
                    .map(|&value| counts.of(value))
                    .collect();
                match kept.of_palette(&palette(base)) {
                    Some(found) => assert_eq!(found, expected[..]),
                    None => assert!(values.iter().any(|&value| value < kept.base)),
                }
            }
        }
    }

    #[test]
    fn a_narrow_palette_has_no_counts_behind_its_entries() {
        let mut counts = ValueCounts::default();
        counts.add_values(&[0, 0, 0, 3]);
        let found = ChunkCounts::of(&counts)
            .of_palette(&Palette::lowest(2))
            .unwrap();
        assert_eq!(
            (found[..4].to_vec(), found[4..].iter().sum()),
            (vec![3, 0, 0, 1], 0)
        );
    }
}
