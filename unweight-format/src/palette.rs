//! The palette of a coded tensor (sections 3.2 and 4.3).

use crate::layout::PALETTE_ENTRIES;

/// The 16 exponents that can be coded in a tensor, strictly ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Palette([u8; PALETTE_ENTRIES]);

impl Palette {
    /// A palette of these exponents.
    ///
    /// # Errors
    /// The index of the first exponent that is not greater than the one before it.
    pub fn new(exponents: [u8; PALETTE_ENTRIES]) -> Result<Palette, usize> {
        match exponents.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(before) => Err(before + 1),
            None => Ok(Palette(exponents)),
        }
    }

    /// The exponents, by palette index.
    pub const fn exponents(&self) -> &[u8; PALETTE_ENTRIES] {
        &self.0
    }

    /// The palette index of an exponent.
    pub fn index_of(&self, exponent: u8) -> Option<usize> {
        self.0.binary_search(&exponent).ok()
    }

    /// The first exponent, if the palette is 16 consecutive exponents: exponent = base + index.
    pub fn base(&self) -> Option<u8> {
        let [first, .., last] = self.0;
        (usize::from(last - first) == PALETTE_ENTRIES - 1).then_some(first)
    }
}
