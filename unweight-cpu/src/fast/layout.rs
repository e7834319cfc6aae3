//! Where the fields and the plain bits of a weight are, for kernels that take eight bytes of
//! weights at a time.

use unweight_format::layout::FIELDS;
use unweight_format::{Field, Forms, Palettes};

use super::bf16;

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
    /// How four plain bits of a weight of one byte move, if it has so many.
    pub(super) nibbles: Option<Nibbles>,
    moves: Moves,
    places: [Place; FIELDS],
    coded: usize,
}

/// The plain bits of weights of one byte that have four, in at most two runs: those of FP8 E4M3
/// with a coded exponent. A byte of the plain plane has those of two weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nibbles {
    /// Bits of a run in a nibble, and how far up they are in the weight.
    runs: [(u16, u32); 2],
}

impl Nibbles {
    /// For weights with these plain bits.
    fn of(plain_mask: u8) -> Option<Nibbles> {
        if plain_mask.count_ones() != 4 {
            return None;
        }
        let mut nibbles = Nibbles::default();
        let mut runs = nibbles.runs.iter_mut();
        let (mut left, mut number) = (plain_mask, 0);
        while left != 0 {
            let place = left.trailing_zeros();
            let length = (left >> place).trailing_ones();
            let run = ((1 << length) - 1) << number;
            // The bits of two nibbles, a byte apart.
            *runs.next()? = (run | run << 8, place - number);
            left &= !((((1u16 << length) - 1) << place) as u8);
            number += length;
        }
        Some(nibbles)
    }

    /// Two weights with the plain bits of a byte, the first in the lower byte.
    #[inline(always)]
    pub(super) fn deposit(&self, plain: u8) -> u16 {
        let nibbles = (u16::from(plain) | u16::from(plain) << 4) & 0x0f0f;
        let [(one, up), (two, further)] = self.runs;
        (nibbles & one) << up | (nibbles & two) << further
    }

    /// The plain bits of two weights.
    #[inline(always)]
    pub(super) fn extract(&self, weights: u16) -> u8 {
        let [(one, up), (two, further)] = self.runs;
        let nibbles = weights >> up & one | weights >> further & two;
        (nibbles | nibbles >> 4) as u8
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
            nibbles: match weight_bytes {
                1 => Nibbles::of(plain_mask as u8),
                _ => None,
            },
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
            nibbles: Nibbles::of(plain_mask as u8),
            moves: Moves::of(plain_mask),
            places: [Place::default(); FIELDS],
            coded: 0,
        }
    }

    /// The places of the coded fields.
    pub(super) fn places(&self) -> &[Place] {
        &self.places[..self.coded]
    }

    /// Plain bits of a word.
    pub(super) fn word_bits(&self) -> usize {
        8 / self.weight_bytes * self.plain_bits
    }

    /// Bytes of the plain plane of so many weights.
    pub(super) fn plain_bytes(&self, weights: usize) -> usize {
        (weights * self.plain_bits).div_ceil(8)
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

/// Whether weights with these forms are BF16 weights whose exponent is coded and whose other bits
/// are plain. There are faster kernels for these.
pub(super) fn is_bf16_exponent(forms: Forms) -> bool {
    let mut coded = forms.coded();
    let is_exponent = coded
        .next()
        .is_some_and(|coded| coded.field.mask() == bf16::EXPONENT);
    is_exponent
        && forms.dtype().weight_bytes() == 2
        && forms.plain_mask() == !bf16::EXPONENT & 0xffff
}

/// These bits of a weight, in each weight of a word.
fn in_each_weight(bits: u64, weight_bytes: usize) -> u64 {
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
    use unweight_format::Dtype;
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
            let Some(nibbles) = Nibbles::of(mask) else {
                continue;
            };
            let both = in_each_weight(mask.into(), 1) & 0xffff;
            for plain in 0..=u8::MAX {
                let weights = nibbles.deposit(plain);
                assert_eq!(u64::from(weights), pdep(plain.into(), both));
                assert_eq!(nibbles.extract(weights | !both as u16), plain);
            }
        }
        assert!(Nibbles::of(0x87).is_some() && Nibbles::of(0x0f).is_some());
        assert!(Nibbles::of(0x95).is_none() && Nibbles::of(0x83).is_none());
    }

    #[test]
    fn knows_the_weights_of_the_faster_kernels() {
        let is = |dtype, forms| is_bf16_exponent(Forms::from_bits(dtype, forms).unwrap());
        assert!(is(Dtype::Bf16, 0x001) && is(Dtype::Bf16, 0x002));
        for forms in [0x000, 0x003, 0x011, 0x031, 0x301, 0x010] {
            assert!(!is(Dtype::Bf16, forms), "{forms:x}");
        }
        assert!(!is(Dtype::F16, 0x001) && !is(Dtype::F8E4M3, 0x001));
    }
}
