//! The counts of a chunk's exponents, small enough to be kept from the pass that counts a tensor to the pass that encodes it.

use unweight_format::Palette;
use unweight_format::layout::PALETTE_ENTRIES;

use crate::reference::ExponentCounts;

/// Exponents that are kept. Those of trained weights thin out downwards by half each, so 2^15 of them seldom have more.
const KEPT: usize = 24;

/// The counts of the greatest exponents of a chunk: 104 bytes for some 64 KB of weights.
#[derive(Clone, Debug)]
pub(crate) struct ChunkCounts {
    /// The least exponent that is kept.
    base: u8,
    /// Whether none below it occurs.
    is_whole: bool,
    counts: [u32; KEPT],
}

impl ChunkCounts {
    /// Of at most 2^16 weights.
    pub(crate) fn of(counts: &ExponentCounts) -> ChunkCounts {
        let counts = counts.as_array();
        let greatest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let base = (greatest + 1).saturating_sub(KEPT);
        ChunkCounts {
            base: base as u8,
            is_whole: counts[..base].iter().all(|&count| count == 0),
            counts: std::array::from_fn(|place| counts[base + place] as u32),
        }
    }

    /// How often each palette entry occurs, if that was kept.
    pub(crate) fn of_palette(&self, palette: &Palette) -> Option<[u64; PALETTE_ENTRIES]> {
        // A palette ascends.
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
