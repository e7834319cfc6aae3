//! The code of each exponent, as kernels want it, kept from record to record.

use unweight_format::layout::PALETTE_ENTRIES;
use unweight_format::{Code, Palette};

use super::portable::bytes;

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
    /// By the places of two exponents: the first one's in bits 0 to 3, the second one's above.
    pairs: [PairCodes; 256],
}

/// Marks an exponent without a code.
pub(super) const PATCHED: u8 = 0x80;

/// Two codes put together: their bits in bits 0 to 15, how many there are in bits 16 to 20; bit 31 if an exponent has
/// no code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairCodes(u32);

impl PairCodes {
    #[inline(always)]
    pub(super) fn bits(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    pub(super) fn length_bits(self) -> u32 {
        self.0 >> 16 & 31
    }

    #[inline(always)]
    pub(super) fn is_any_patched(pairs: [PairCodes; 4]) -> bool {
        pairs.iter().fold(0, |any, pair| any | pair.0) >> 31 != 0
    }
}

impl Default for EncodeTable {
    fn default() -> Self {
        EncodeTable {
            made_of: None,
            bits: [0; 256],
            lengths: [0; 256],
            places: [0; 256],
            pairs: [PairCodes::default(); 256],
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
            let (bits, length) = (
                self.bits[usize::from(exponent)],
                self.lengths[usize::from(exponent)],
            );
            (
                u32::from(bits),
                u32::from(length & !PATCHED),
                length & PATCHED != 0,
            )
        });
        self.pairs = std::array::from_fn(|pair| {
            let (first, second) = (
                of_place[pair % PALETTE_ENTRIES],
                of_place[pair / PALETTE_ENTRIES],
            );
            let bits = first.0 | second.0 << first.1;
            let is_patched = u32::from(first.2 || second.2);
            PairCodes(bits | (first.1 + second.1) << 16 | is_patched << 31)
        });
        self.made_of = Some((*code, *palette));
    }

    /// The first exponent of the palette, if that is 16 consecutive ones.
    pub(super) fn palette_base(&self) -> Option<u8> {
        self.made_of.and_then(|(_, palette)| palette.base())
    }

    /// The places of eight exponents in the palette: 16 or more where there is none.
    #[inline(always)]
    pub(super) fn places(&self, base: Option<u8>, exponents: [u8; 8]) -> u64 {
        match base {
            Some(base) => bytes::subtract(u64::from_le_bytes(exponents), bytes::splat(base)),
            None => {
                u64::from_le_bytes(exponents.map(|exponent| self.places[usize::from(exponent)]))
            }
        }
    }

    /// Codes of two exponents, by their places.
    pub(super) fn pairs(&self) -> &[PairCodes; 256] {
        &self.pairs
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
