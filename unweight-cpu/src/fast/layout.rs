//! Where the fields and the plain bits of a weight are, for kernels that take eight bytes of
//! weights at a time.

use unweight_format::layout::FIELDS;
use unweight_format::{Field, Forms, Palettes};

/// The layout of a tensor's weights. A *word* is eight bytes of weights: 8, 4, 2 or 1 of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Bytes of a weight.
    pub(super) weight_bytes: usize,
    /// Plain bits of a weight.
    pub(super) plain_bits: usize,
    /// The plain bits of a word.
    pub(super) plain_mask: u64,
    /// The constants of a word.
    pub(super) constants: u64,
    /// How four plain bits of a weight of one or two bytes move, if it has so many.
    pub(super) nibbles: Option<Nibbles>,
    moves: Moves,
    places: [Place; FIELDS],
    coded: usize,
}

/// The plain bits of weights of one or two bytes that have four, in at most two runs: those of FP8
/// E4M3 with a coded exponent, also where it was made BF16. A byte of the plain plane has those of
/// two weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nibbles {
    /// Bits of a run in both nibbles, when these are as far apart as the weights, and how far up
    /// they are in the weights.
    runs: [(u32, u32); 2],
}

impl Nibbles {
    /// For weights of so many bytes with these plain bits.
    fn of(plain_mask: u64, weight_bytes: usize) -> Option<Nibbles> {
        if plain_mask.count_ones() != 4 || weight_bytes > 2 {
            return None;
        }
        let mut nibbles = Nibbles::default();
        let mut runs = nibbles.runs.iter_mut();
        let mut number = 0;
        for (place, length) in runs_of(plain_mask) {
            let run = ((1 << length) - 1) << number;
            *runs.next()? = (run | run << (8 * weight_bytes), place - number);
            number += length;
        }
        Some(nibbles)
    }

    /// Two weights of one byte with the plain bits of a byte, the first in the lower byte.
    #[inline(always)]
    pub(super) fn deposit_bytes(&self, plain: u8) -> u16 {
        let nibbles = (u16::from(plain) | u16::from(plain) << 4) & 0x0f0f;
        let [(one, up), (two, further)] = self.runs;
        (nibbles & one as u16) << up | (nibbles & two as u16) << further
    }

    /// Two weights of two bytes with the plain bits of a byte, the first in the lower half.
    #[inline(always)]
    pub(super) fn deposit_halves(&self, plain: u8) -> u32 {
        let nibbles = (u32::from(plain) | u32::from(plain) << 12) & 0x000f_000f;
        let [(one, up), (two, further)] = self.runs;
        (nibbles & one) << up | (nibbles & two) << further
    }

    /// The plain bits of two weights of one byte.
    #[inline(always)]
    pub(super) fn extract_bytes(&self, weights: u16) -> u8 {
        let [(one, up), (two, further)] = self.runs;
        let nibbles = weights >> up & one as u16 | weights >> further & two as u16;
        (nibbles | nibbles >> 4) as u8
    }

    /// The plain bits of two weights of two bytes.
    #[inline(always)]
    pub(super) fn extract_halves(&self, weights: u32) -> u8 {
        let [(one, up), (two, further)] = self.runs;
        let nibbles = weights >> up & one | weights >> further & two;
        (nibbles | nibbles >> 12) as u8
    }
}

/// The place of a field in a weight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Its lowest bit.
    pub(super) low: u32,
    /// The greatest value.
    pub(super) greatest: u8,
}

impl Place {
    pub(super) const fn of(field: Field) -> Place {
        Place {
            low: field.low(),
            greatest: u8::MAX >> (8 - field.width()),
        }
    }
}

impl Layout {
    /// The layout of weights with these forms, and without constants.
    pub(super) fn of(forms: Forms) -> Layout {
        let weight_bytes = forms.dtype().weight_bytes();
        let mut places = [Place::default(); FIELDS];
        for (place, coded) in places.iter_mut().zip(forms.coded()) {
            *place = Place::of(coded.field);
        }
        let plain_mask = in_each_weight(forms.plain_mask(), weight_bytes);
        Layout {
            weight_bytes,
            plain_bits: forms.plain_bits() as usize,
            plain_mask,
            constants: 0,
            nibbles: Nibbles::of(forms.plain_mask(), weight_bytes),
            moves: Moves::of(plain_mask),
            places,
            coded: forms.coded_count(),
        }
    }

    /// The layout of weights with these forms and constants.
    pub(super) fn with_constants(palettes: &Palettes) -> Layout {
        let layout = Layout::of(palettes.forms());
        Layout {
            constants: in_each_weight(palettes.constant_bits(), layout.weight_bytes),
            ..layout
        }
    }

    /// The layout of bytes of which only the lowest `width` bits are used, all of them plain: the
    /// values of a field of so many bits, whose bit string is their plain plane.
    pub(super) fn of_values(width: u32) -> Layout {
        let plain_mask = in_each_weight((1 << width) - 1, 1);
        Layout {
            weight_bytes: 1,
            plain_bits: width as usize,
            plain_mask,
            constants: 0,
            nibbles: Nibbles::of((1 << width) - 1, 1),
            moves: Moves::of(plain_mask),
            places: [Place::default(); FIELDS],
            coded: 0,
        }
    }

    /// The places of the coded fields.
    pub(super) fn places(&self) -> &[Place] {
        &self.places[..self.coded]
    }

    /// The runs of plain bits of a weight, from the lowest on: where they are, and how many bits
    /// they have.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        runs_of(self.plain_mask & (u64::MAX >> (64 - 8 * self.weight_bytes)))
    }

    /// Plain bits of a word.
    pub(super) fn word_bits(&self) -> usize {
        8 / self.weight_bytes * self.plain_bits
    }

    /// Bytes of the plain plane of so many weights.
    pub(super) fn plain_bytes(&self, weights: usize) -> usize {
        (weights * self.plain_bits).div_ceil(8)
    }

    /// Checks that these lengths belong together: bytes of weights, bytes of their plain plane, and
    /// values of each coded field.
    ///
    /// # Panics
    /// If they do not.
    pub(super) fn require_lengths(
        &self,
        weights: usize,
        plain: usize,
        values: impl ExactSizeIterator<Item = usize>,
    ) {
        assert!(weights.is_multiple_of(self.weight_bytes), "whole weights");
        let count = weights / self.weight_bytes;
        let needed = self.plain_bytes(count);
        assert_eq!(plain, needed, "plain bytes of the weights");
        assert_eq!(
            values.len(),
            self.places().len(),
            "values of each coded field"
        );
        for values in values {
            assert_eq!(values, count, "values of the weights");
        }
    }

    /// Moves the plain bits of a word together.
    #[inline(always)]
    pub(super) fn extract(&self, word: u64) -> u64 {
        self.moves.together(word & self.plain_mask)
    }

    /// Moves bits to the places of the plain bits of a word. Bits above are dropped.
    #[inline(always)]
    pub(super) fn deposit(&self, bits: u64) -> u64 {
        self.moves.apart(bits) & self.plain_mask
    }
}

/// The runs of one bits of a mask, from the lowest on: where they are, and how many bits they have.
fn runs_of(mut mask: u64) -> impl Iterator<Item = (u32, u32)> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then_some(mask.trailing_zeros())?;
        let length = (mask >> place).trailing_ones();
        mask &= !((u64::MAX >> (64 - length)) << place);
        Some((place, length))
    })
}

/// These bits of a weight, in each weight of a word.
pub(super) fn in_each_weight(bits: u64, weight_bytes: usize) -> u64 {
    let shifts = (0..8).step_by(weight_bytes).map(|byte| 8 * byte);
    shifts.fold(0, |word, shift| word | bits << shift)
}

/// Moves of bits by 1, 2, 4, 8, 16 and 32 places, which together have the result of PEXT and PDEP:
/// "compress" and "expand" of H. S. Warren, *Hacker's Delight*, sections 7-4 and 7-5.
#[derive(Clone, Copy, Debug)]
struct Moves([u64; 6]);

impl Moves {
    /// The moves for the bits of `mask`.
    fn of(mut mask: u64) -> Moves {
        let mut zeros = !mask << 1;
        Moves(std::array::from_fn(|step| {
            // Bit i is the parity of the zeros below bit i that are not accounted for yet.
            let parity = (0..6).fold(zeros, |bits, shift| bits ^ bits << (1 << shift));
            let moved = parity & mask;
            mask = mask ^ moved | moved >> (1 << step);
            zeros &= !parity;
            moved
        }))
    }

    #[inline(always)]
    fn together(&self, mut bits: u64) -> u64 {
        for (step, moved) in self.0.iter().enumerate() {
            let moving = bits & moved;
            bits = bits ^ moving | moving >> (1 << step);
        }
        bits
    }

    #[inline(always)]
    fn apart(&self, mut bits: u64) -> u64 {
        for (step, moved) in self.0.iter().enumerate().rev() {
            bits = bits & !moved | bits << (1 << step) & moved;
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unweight_format::bits::{pdep, pext};

    proptest! {
        #[test]
        fn moves_have_the_result_of_pext_and_pdep(mask: u64, more: u64, bits: u64) {
            for mask in [mask, mask & more, mask | more] {
                let moves = Moves::of(mask);
                prop_assert_eq!(moves.together(bits & mask), pext(bits, mask));
                prop_assert_eq!(moves.apart(bits) & mask, pdep(bits, mask));
            }
        }
    }

    #[test]
    fn nibbles_move_as_plain_bits_do() {
        for mask in 0..=u8::MAX {
            let Some(nibbles) = Nibbles::of(mask.into(), 1) else {
                continue;
            };
            let both = in_each_weight(mask.into(), 1) & 0xffff;
            for plain in 0..=u8::MAX {
                let weights = nibbles.deposit_bytes(plain);
                assert_eq!(u64::from(weights), pdep(plain.into(), both));
                assert_eq!(nibbles.extract_bytes(weights | !both as u16), plain);
            }
        }
        for mask in 0..=u16::MAX {
            let Some(nibbles) = Nibbles::of(mask.into(), 2) else {
                continue;
            };
            let both = in_each_weight(mask.into(), 2) & 0xffff_ffff;
            for plain in [0, 1, 0x5a, 0xc7, 0xff] {
                let weights = nibbles.deposit_halves(plain);
                assert_eq!(u64::from(weights), pdep(plain.into(), both));
                assert_eq!(nibbles.extract_halves(weights | !both as u32), plain);
            }
        }
        for (mask, bytes, is_some) in [
            (0x87, 1, true),
            (0x0f, 1, true),
            (0x95, 1, false),
            (0x83, 1, false),
            (0x8070, 2, true),
            (0x807f, 2, false),
            (0x87, 4, false),
        ] {
            assert_eq!(Nibbles::of(mask, bytes).is_some(), is_some, "{mask:x}");
        }
    }
}
