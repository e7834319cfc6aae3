//! The code of each exponent in the layout of the kernels. The table is kept from record to record.

use unweight_format::layout::PALETTE_ENTRIES;
use unweight_format::{Code, Palette};

/// Codes by exponent.
#[derive(Debug)]
pub(super) struct EncodeTable {
    made_of: Option<(Code, Palette)>,
    /// Codes with their first bit in the stream in bit 0. An exponent without a code has the
    /// placeholder's code.
    bits: [u8; 256],
    /// Lengths of at most 8; `PATCHED` is set for an exponent without a code.
    lengths: [u8; 256],
    /// Palette index of each exponent; `PATCHED` for an exponent outside of the palette.
    places: [u8; 256],
    /// Concatenated codes of two exponents. The index has the first palette index in bits 0 to 3
    /// and the second one above.
    pair_bits: [u16; 256],
    /// Lengths of at most 16; `PATCHED` is set if either exponent has no code.
    pair_lengths: [u8; 256],
}

/// Mark of an exponent without a code.
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
            let exponent = usize::from(palette.exponents()[usize::from(entry.entry)]);
            self.bits[exponent] = entry.stream_bits();
            self.lengths[exponent] = entry.length_bits;
        }
        self.places = [PATCHED; 256];
        for (place, exponent) in (0..).zip(palette.exponents()) {
            self.places[usize::from(*exponent)] = place;
        }
        let of_place = palette.exponents().map(|exponent| {
            let exponent = usize::from(exponent);
            (self.bits[exponent], self.lengths[exponent])
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

    /// The first exponent of the palette, if the palette is 16 consecutive exponents.
    pub(super) fn palette_base(&self) -> Option<u8> {
        self.made_of.and_then(|(_, palette)| palette.base())
    }

    /// The palette index of each exponent; 16 or more for an exponent outside of the palette.
    pub(super) fn places(&self) -> &[u8; 256] {
        &self.places
    }

    /// Concatenated codes of two exponents and their lengths, by their palette indices. Lengths are
    /// at most 16 without `PATCHED`.
    pub(super) fn pairs(&self) -> (&[u16; 256], &[u8; 256]) {
        (&self.pair_bits, &self.pair_lengths)
    }

    /// Codes by exponent.
    pub(super) fn bits(&self) -> &[u8; 256] {
        &self.bits
    }

    /// Lengths by exponent, at most 8 without `PATCHED`.
    pub(super) fn lengths(&self) -> &[u8; 256] {
        &self.lengths
    }
}
