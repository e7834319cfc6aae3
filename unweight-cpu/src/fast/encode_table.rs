//! The code of each value in the layout of the kernels. The table is kept from record to record.

use unweight_format::layout::PALETTE_ENTRIES;
use unweight_format::{Code, Palette};

/// Codes by value.
#[derive(Debug)]
pub(super) struct EncodeTable {
    made_of: Option<(Code, Palette)>,
    /// Codes with their first bit in the stream in bit 0. An value without a code has the
    /// placeholder's code.
    bits: [u8; 256],
    /// Lengths of at most 8; `PATCHED` is set for a value without a code.
    lengths: [u8; 256],
    /// Palette index of each value; `PATCHED` for a value outside of the palette.
    places: [u8; 256],
    /// Concatenated codes of two values. The index has the first palette index in bits 0 to 3 and
    /// the second one above.
    pair_bits: [u16; 256],
    /// Lengths of at most 16; `PATCHED` is set if either value has no code.
    pair_lengths: [u8; 256],
}

/// Mark of a value without a code.
pub(super) const PATCHED: u8 = 0x80;

impl Default for EncodeTable {
    fn default() -> Self {
        EncodeTable {
            made_of: None,
            bits: [0; 256],
            lengths: [0; 256],
            places: [0; 256],
            pair_bits: [0; 256],
            pair_lengths: [0; 256],
        }
    }
}

impl EncodeTable {
    /// Rebuilds the table for this code if it holds another one.
    pub(super) fn prepare(&mut self, code: &Code, palette: &Palette) {
        if self.made_of == Some((*code, *palette)) {
            return;
        }
        let placeholder = code.placeholder();
        self.bits = [placeholder.stream_bits(); 256];
        self.lengths = [placeholder.length_bits | PATCHED; 256];
        for entry in code.canonical() {
            let value = usize::from(palette.values()[usize::from(entry.entry)]);
            self.bits[value] = entry.stream_bits();
            self.lengths[value] = entry.length_bits;
        }
        self.places = [PATCHED; 256];
        for (place, value) in (0..).zip(palette.values()) {
            self.places[usize::from(*value)] = place;
        }
        let of_place = palette.padded().map(|value| {
            let value = usize::from(value);
            (self.bits[value], self.lengths[value])
        });
        for pair in 0..256 {
            let (first_bits, first_length) = of_place[pair % PALETTE_ENTRIES];
            let (second_bits, second_length) = of_place[pair / PALETTE_ENTRIES];
            let is_patched = (first_length | second_length) & PATCHED;
            let (first_length, second_length) = (first_length & !PATCHED, second_length & !PATCHED);
            self.pair_bits[pair] = u16::from(first_bits) | u16::from(second_bits) << first_length;
            self.pair_lengths[pair] = (first_length + second_length) | is_patched;
        }
        self.made_of = Some((*code, *palette));
    }

    /// The first value of the palette, if its values are consecutive. No value of the field is
    /// above those of a palette of fewer than 16.
    pub(super) fn palette_base(&self) -> Option<u8> {
        self.made_of.and_then(|(_, palette)| palette.base())
    }

    /// The palette index of each value; 16 or more for a value outside of the palette.
    pub(super) fn places(&self) -> &[u8; 256] {
        &self.places
    }

    /// Concatenated codes of two values and their lengths, by their palette indices. Lengths are at
    /// most 16 without `PATCHED`.
    pub(super) fn pairs(&self) -> (&[u16; 256], &[u8; 256]) {
        (&self.pair_bits, &self.pair_lengths)
    }

    /// Codes by value.
    pub(super) fn bits(&self) -> &[u8; 256] {
        &self.bits
    }

    /// Lengths by value, at most 8 without `PATCHED`.
    pub(super) fn lengths(&self) -> &[u8; 256] {
        &self.lengths
    }
}
