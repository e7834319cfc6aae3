//! The code of each exponent, as kernels want it, kept from record to record.

use unweight_format::layout::PALETTE_ENTRIES;
use unweight_format::{Code, Palette};

/// Codes by exponent.
#[derive(Debug)]
pub(super) struct EncodeTable {
    made_of: Option<(Code, Palette)>,
    /// First bit in the stream lowest. An exponent without a code has the placeholder's.
    bits: [u8; 256],
    /// At most 8; `PATCHED` beside it where the exponent has no code.
    lengths: [u8; 256],
    /// The place of each exponent in the palette; `PATCHED` where it has none.
    places: [u8; 256],
    /// By the places of two exponents, the first one's in bits 0 to 3, the second one's above: their codes put together.
    pair_bits: [u16; 256],
    /// At most 16; `PATCHED` beside it where an exponent has no code.
    pair_lengths: [u8; 256],
}

/// Marks an exponent without a code.
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
    /// Makes the table that of this code, if it is not.
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

    /// The first exponent of the palette, if that is 16 consecutive ones.
    pub(super) fn palette_base(&self) -> Option<u8> {
        self.made_of.and_then(|(_, palette)| palette.base())
    }

    /// The place of each exponent in the palette: 16 or more where it has none.
    pub(super) fn places(&self) -> &[u8; 256] {
        &self.places
    }

    /// Codes of two exponents, put together, and their lengths, at most 16 but for `PATCHED`: by their places.
    pub(super) fn pairs(&self) -> (&[u16; 256], &[u8; 256]) {
        (&self.pair_bits, &self.pair_lengths)
    }

    /// Codes by exponent.
    pub(super) fn bits(&self) -> &[u8; 256] {
        &self.bits
    }

    /// Lengths by exponent, at most 8 but for `PATCHED`.
    pub(super) fn lengths(&self) -> &[u8; 256] {
        &self.lengths
    }
}
