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
    pub(super) deposit: Deposit,
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
    /// The product of a nibble and this number has each run at its place in a weight of two bytes. 0
    /// if there is none: the product has the nibble once for each run, and these would meet.
    factor: u16,
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
        let [(_, up), (two, further)] = nibbles.runs;
        nibbles.factor = match two {
            0 => 1 << up,
            _ if further - up >= 4 => 1 << up | 1 << further,
            _ => 0,
        };
        Some(nibbles)
    }

    /// The plain bits of eight weights of one byte at their places. They are the lowest four bits of
    /// each byte; those above are dropped.
    #[inline(always)]
    pub(super) fn deposit_bytes(&self, word: u64) -> u64 {
        let [(one, up), (two, further)] = self.runs;
        let in_word = |run: u32| u64::from(run) * 0x0001_0001_0001_0001;
        (word & in_word(one)) << up | (word & in_word(two)) << further
    }

    /// The plain bits of a weight of two bytes, and others beside them. They are the lowest four
    /// bits; those above are dropped.
    #[inline(always)]
    pub(super) fn deposit_half(&self, weight: u16) -> u16 {
        (weight & 15).wrapping_mul(self.factor)
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

/// Where values stand in the bytes of a [`DecodeTable`](super::decode_table::DecodeTable): at
/// their field's place in weights of one byte, with the constants. By default, they are the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Placing {
    low: u32,
    constants: u8,
}

impl Placing {
    /// The byte with this value.
    #[inline(always)]
    pub(super) fn byte(self, value: u8) -> u8 {
        value << self.low | self.constants
    }
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
            deposit: Deposit::of(forms.plain_mask(), weight_bytes),
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
            deposit: Deposit::of((1 << width) - 1, 1),
            moves: Moves::of(plain_mask),
            places: [Place::default(); FIELDS],
            coded: 0,
        }
    }

    /// How the kernels that join the last coded field want its values.
    pub(super) fn placing(&self) -> Placing {
        match (self.weight_bytes, self.places().last()) {
            (1, Some(place)) => Placing {
                low: place.low,
                constants: self.constants as u8,
            },
            _ => Placing::default(),
        }
    }

    /// The kind of moves of the plain bits. If it is that of nibbles, `nibbles` has them.
    pub(super) fn deposit_kind(&self) -> DepositKind {
        match self.nibbles {
            Some(nibbles) if self.weight_bytes == 1 || nibbles.factor != 0 => DepositKind::Nibbles,
            _ => self.deposit.kind,
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
    in_each(bits, 8 * weight_bytes)
}

/// How the plain bits of a word, one behind the other, move to their places in its weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deposit {
    /// Moves the upper half of the weights' bits to the upper half of the word, then those of the
    /// upper half of each half, and so on.
    halves: [Half; 3],
    /// Moves each run of plain bits to its place in each weight.
    runs: [Moved; Deposit::RUNS],
    /// The plain bits before all moves.
    together: u64,
    /// The plain bits after all moves, but for `up`.
    apart: u64,
    /// Carries the sign to its place above other bits.
    carry: u64,
    /// How far up the lowest run moves.
    up: u32,
    pub(super) kind: DepositKind,
}

/// The fewest operations that moving plain bits needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DepositKind {
    /// The plain bits are one run and perhaps a sign of one bit further up, and at most half of the
    /// weight's bits. A half that moves then does not meet one that stays, and one mask is enough.
    Sparse,
    /// The same, but more bits.
    Dense,
    /// Any runs.
    Any,
    /// Moves by [`Nibbles`], in weights of one byte or with a [factor](Nibbles::deposit_half).
    Nibbles,
}

/// A move of the upper half of some bits.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// How far up the upper half moves.
    up: u32,
    /// The places of the lower halves.
    lower: u64,
    /// The places of the upper halves after the move.
    upper: u64,
}

/// A move of some bits.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    mask: u64,
    up: u32,
}

impl Deposit {
    /// The most runs of plain bits of a weight: one beside each field.
    pub(super) const RUNS: usize = FIELDS + 1;

    /// For weights of so many bytes with these plain bits.
    fn of(plain_mask: u64, weight_bytes: usize) -> Deposit {
        let (width, plain_bits) = (8 * weight_bytes, plain_mask.count_ones() as usize);
        let mut halves = [Half::default(); 3];
        let mut weights = 8 / weight_bytes;
        for half in &mut halves {
            if weights == 1 || plain_bits == 0 {
                break;
            }
            weights /= 2;
            let lower = in_each(u64::MAX >> (64 - weights * plain_bits), 2 * weights * width);
            *half = Half {
                up: (weights * (width - plain_bits)) as u32,
                lower,
                upper: lower << (weights * width),
            };
        }
        let mut runs = [Moved::default(); Deposit::RUNS];
        let (mut count, mut number, mut last_length) = (0, 0, 0);
        for ((place, length), moved) in runs_of(plain_mask).zip(&mut runs) {
            let run = (u64::MAX >> (64 - length)) << number;
            *moved = Moved {
                mask: in_each_weight(run, weight_bytes),
                up: place - number,
            };
            number += length;
            (count, last_length) = (count + 1, length);
        }
        let [first, sign, ..] = runs;
        Deposit {
            halves,
            runs,
            together: u64::MAX
                .checked_shr(64 - (64 / width * plain_bits) as u32)
                .unwrap_or(0),
            apart: in_each_weight(plain_mask >> first.up, weight_bytes),
            // Where the sign is 0, the carry stays below its place.
            carry: (sign.mask << sign.up.saturating_sub(first.up)).wrapping_sub(sign.mask),
            up: first.up,
            kind: match (count, last_length) {
                (0 | 1, _) | (2, 1) if 2 * plain_bits <= width => DepositKind::Sparse,
                (0 | 1, _) | (2, 1) => DepositKind::Dense,
                _ => DepositKind::Any,
            },
        }
    }

    /// Whether the lowest plain bit is that of the weight.
    pub(super) fn is_low(&self) -> bool {
        self.up == 0
    }

    /// Moves the lowest bits of a word to the places of its plain bits, in weights of
    /// 8 / 2^`HALVINGS` bytes. `KIND` is the [kind](Deposit::kind) as a number. `BITS` is the number
    /// of plain bits of a weight if these [are low](Deposit::is_low), or 0.
    #[inline(always)]
    pub(super) fn word<const HALVINGS: usize, const KIND: u8, const BITS: usize>(
        &self,
        mut bits: u64,
    ) -> u64 {
        let is_sparse = KIND == DepositKind::Sparse as u8;
        // A dense move drops the bits above.
        if is_sparse || HALVINGS == 0 {
            bits &= self.together;
        }
        for (number, half) in self.halves[..HALVINGS].iter().enumerate() {
            let up = match BITS {
                0 => half.up,
                // A shift by a constant is one operation instead of two.
                _ => (((64 >> HALVINGS) - BITS) << (HALVINGS - 1 - number)) as u32,
            };
            bits = match is_sparse {
                // What moves from or stays at another place than those of the masks is dropped.
                true => (bits | bits << up) & (half.lower | half.upper),
                false => bits & half.lower | bits << up & half.upper,
            };
        }
        if KIND == DepositKind::Any as u8 {
            let moved = |run: &Moved| (bits & run.mask) << run.up;
            return self.runs.iter().fold(0, |word, run| word | moved(run));
        }
        let moved = bits.wrapping_add(self.carry) & self.apart;
        match BITS {
            0 => moved << self.up,
            _ => moved,
        }
    }
}

/// These bits in each part of so many bits of a word.
fn in_each(bits: u64, width: usize) -> u64 {
    (0..64)
        .step_by(width)
        .fold(0, |word, shift| word | bits << shift)
}

/// Moves of bits by 1, 2, 4, 8, 16 and 32 places, which together have the result of PEXT:
/// "compress" of H. S. Warren, *Hacker's Delight*, section 7-4.
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
            }
        }

        #[test]
        fn deposits_as_pdep_does(field_starts: u64, more: u64, bits: u64) {
            fn of<const BYTES: usize, const HALVINGS: usize>(mask: u64, bits: u64) {
                let deposit = Deposit::of(mask, BYTES);
                let expected = pdep(bits, in_each_weight(mask, BYTES));
                let by_kind = [
                    (DepositKind::Sparse, deposit.word::<HALVINGS, 0, 0>(bits)),
                    (DepositKind::Dense, deposit.word::<HALVINGS, 1, 0>(bits)),
                    (DepositKind::Any, deposit.word::<HALVINGS, 2, 0>(bits)),
                ];
                for (kind, found) in by_kind {
                    if deposit.kind as u8 <= kind as u8 {
                        assert_eq!(found, expected, "{BYTES} bytes, mask {mask:x}, {kind:?}");
                    }
                }
                if deposit.kind == DepositKind::Sparse && deposit.is_low() && BYTES == 1 {
                    let found = match mask.count_ones() {
                        3 => deposit.word::<HALVINGS, 0, 3>(bits),
                        _ => return,
                    };
                    assert_eq!(found, expected, "mask {mask:x}");
                }
            }
            for mask in [0x83, 0x87, 0x07, 0x0f, 0x8f, 0x06, 0x86, 0x95] {
                of::<1, 3>(mask, bits);
            }
            for mask in [0x8000, 0x8070, 0x807f, 0x83ff, 0x000f] {
                of::<2, 2>(mask, bits);
            }
            of::<8, 0>(0x8000_03ff_ffff_ffe0, bits);
            // Few runs: nothing but 1 and 0 alternate at these places.
            let starts = field_starts & more & more.rotate_left(21) & more.rotate_left(42);
            let mut mask = starts;
            for shift in [1, 2, 4, 8, 16, 32] {
                mask ^= mask << shift;
            }
            for mask in [mask, !mask] {
                let runs = |width: u32| runs_of(mask & (u64::MAX >> (64 - width))).count();
                if runs(8) <= Deposit::RUNS {
                    of::<1, 3>(mask & 0xff, bits);
                }
                if runs(16) <= Deposit::RUNS {
                    of::<2, 2>(mask & 0xffff, bits);
                }
                if runs(32) <= Deposit::RUNS {
                    of::<4, 1>(mask & 0xffff_ffff, bits);
                }
                if runs(64) <= Deposit::RUNS {
                    of::<8, 0>(mask, bits);
                }
            }
        }
    }

    #[test]
    fn nibbles_are_deposited_as_plain_bits_are() {
        let with_garbage = |nibbles: u64| nibbles | 0xa0f0_50f0_a0f0_50f0;
        for mask in 0..=u8::MAX {
            let mask = mask.into();
            let Some(nibbles) = Nibbles::of(mask, 1) else {
                continue;
            };
            for nibble in 0..16 {
                let found = nibbles.deposit_bytes(with_garbage(in_each_weight(nibble, 1)));
                assert_eq!(found, in_each_weight(pdep(nibble, mask), 1), "{mask:x}");
            }
        }
        let mut factors = 0;
        for mask in 0..=u16::MAX {
            let Some(nibbles) = Nibbles::of(mask.into(), 2).filter(|nibbles| nibbles.factor != 0)
            else {
                continue;
            };
            factors += 1;
            for nibble in 0..16 {
                let found = nibbles.deposit_half(with_garbage(nibble) as u16) & mask;
                assert_eq!(u64::from(found), pdep(nibble, mask.into()), "{mask:x}");
            }
        }
        assert!(factors > 13, "more than those of a single run");
    }

    #[test]
    fn nibbles_are_extracted_as_plain_bits_are() {
        for mask in 0..=u8::MAX {
            let Some(nibbles) = Nibbles::of(mask.into(), 1) else {
                continue;
            };
            let both = in_each_weight(mask.into(), 1) & 0xffff;
            for plain in 0..=u8::MAX {
                let weights = pdep(plain.into(), both) | !both;
                assert_eq!(nibbles.extract_bytes(weights as u16), plain);
            }
        }
        for mask in 0..=u16::MAX {
            let Some(nibbles) = Nibbles::of(mask.into(), 2) else {
                continue;
            };
            let both = in_each_weight(mask.into(), 2) & 0xffff_ffff;
            for plain in [0, 1, 0x5a, 0xc7, 0xff] {
                let weights = pdep(plain.into(), both) | !both;
                assert_eq!(nibbles.extract_halves(weights as u32), plain);
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
