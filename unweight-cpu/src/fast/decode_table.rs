//! The table *Q* of section 6, as kernels want it, kept from record to record.

use unweight_format::layout::LONGEST_CODE_BITS;
use unweight_format::{Code, Palette};

/// Bits that a run of symbols is looked up by.
pub(super) const RUN_BITS: usize = 11;
/// Most symbols of a run.
pub(super) const RUN_SYMBOLS: usize = 6;

/// Lengths and exponents by the next bits of a stream.
#[derive(Debug)]
pub(super) struct DecodeTable {
    made_of: Option<(Code, Palette)>,
    /// By the next 7 bits: the codes of a pair of 8 bits differ in their last bit alone.
    lengths: [u8; 128],
    /// By the next 8 bits.
    exponents: [u8; 256],
    /// The same, rotated right by one bit: as the halves of a weight have them.
    rotated_exponents: [u8; 256],
    runs: Runs,
}

/// The codes that lie whole in the next `RUN_BITS` bits of a stream.
#[derive(Debug)]
struct Runs {
    are_made: bool,
    /// Those within the next *w* bits, *w* from 0 to `RUN_BITS`, from number 2^*w* on: a run of *w* bits is a symbol and
    /// a run of fewer bits.
    by_width: Box<[Run; 2 << RUN_BITS]>,
}

/// Symbols that follow each other.
///
/// ```text
///   byte 7    the first one's exponent; the second one's in byte 6, and so on
///   byte 1    how many there are
///   byte 0    how many bits their codes have: shifts by 64 bits take the lowest six bits of their operand, and those are it
/// ```
///
/// So they are stored from the end of a row towards its start: what is no exponent is then overwritten by the next run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run(u64);

impl Run {
    /// The exponents, the first one last, and two bytes that are none.
    #[inline(always)]
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    #[inline(always)]
    pub(super) fn symbols(self) -> usize {
        (self.0 >> 8 & 7) as usize
    }

    /// The number of bits in bits 0 to 5, and anything above.
    #[inline(always)]
    pub(super) fn shift(self) -> u64 {
        self.0
    }

    /// This run with a symbol before it.
    #[inline(always)]
    fn behind(self, exponent: u8, length: u8) -> Run {
        let symbols = self.0 >> 8 & 0x00ff_ffff_ffff_0000 | u64::from(exponent) << 56;
        let numbers = (self.0 & 0xffff) + (1 << 8) + u64::from(length);
        Run(symbols | numbers)
    }
}

impl Default for DecodeTable {
    fn default() -> Self {
        let by_width = vec![Run::default(); 2 << RUN_BITS].into_boxed_slice();
        DecodeTable {
            made_of: None,
            lengths: [0; 128],
            exponents: [0; 256],
            rotated_exponents: [0; 256],
            runs: Runs {
                are_made: false,
                by_width: by_width.try_into().expect("as many as were made"),
            },
        }
    }
}

impl DecodeTable {
    /// Makes the table that of this code, if it is not.
    pub(super) fn prepare(&mut self, code: &Code, palette: &Palette) {
        if self.made_of == Some((*code, *palette)) {
            return;
        }
        for entry in code.canonical() {
            let exponent = palette.exponents()[usize::from(entry.entry)];
            let length = entry.length_bits;
            for slot in (usize::from(entry.stream_bits())..256).step_by(1 << length) {
                self.exponents[slot] = exponent;
                self.rotated_exponents[slot] = exponent.rotate_right(1);
                self.lengths[slot % 128] = length;
            }
        }
        debug_assert!(
            self.lengths
                .iter()
                .all(|&length| length <= LONGEST_CODE_BITS)
        );
        self.made_of = Some((*code, *palette));
        self.runs.are_made = false;
    }

    /// Code lengths by the next 7 bits, at most 8.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn lengths(&self) -> &[u8; 128] {
        &self.lengths
    }

    /// Exponents by the next 8 bits.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn exponents(&self) -> &[u8; 256] {
        &self.exponents
    }

    /// Exponents by the next 8 bits, rotated right by one.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn rotated_exponents(&self) -> &[u8; 256] {
        &self.rotated_exponents
    }

    /// The only exponent, if its code is the empty one.
    pub(super) fn only_exponent(&self) -> Option<u8> {
        (self.lengths[0] == 0).then_some(self.exponents[0])
    }

    /// The one exponent whose code these 8 bits begin with, and its length.
    #[inline(always)]
    pub(super) fn symbol(&self, next: u8) -> (u8, u32) {
        let length = self.lengths[usize::from(next & 127)];
        (self.exponents[usize::from(next)], length.into())
    }

    /// Makes the runs, if they are not. The code must not be the empty one.
    pub(super) fn prepare_runs(&mut self) {
        if self.runs.are_made {
            return;
        }
        let (code, palette) = self
            .made_of
            .as_ref()
            .expect("a table of runs is one of symbols");
        for width in 0..=RUN_BITS {
            let (narrower, these) = self.runs.by_width.split_at_mut(1 << width);
            let these = &mut these[..1 << width];
            if width < LONGEST_CODE_BITS.into() {
                these.fill(Run::default());
            }
            for entry in code.canonical() {
                let length = entry.length_bits;
                let Some(rest) = width.checked_sub(length.into()) else {
                    break;
                };
                let first = usize::from(entry.stream_bits());
                let exponent = palette.exponents()[usize::from(entry.entry)];
                let places = these[first..].iter_mut().step_by(1 << length);
                for (bits, (run, behind)) in places.zip(&narrower[1 << rest..]).enumerate() {
                    let mut behind = *behind;
                    let mut rest = rest;
                    // Codes of one and two bits may leave room for more.
                    while behind.symbols() == RUN_SYMBOLS {
                        rest -= 1;
                        behind = narrower[(1 << rest) + bits % (1 << rest)];
                    }
                    *run = behind.behind(exponent, length);
                }
            }
        }
        self.runs.are_made = true;
    }

    /// The run of codes in the next `RUN_BITS` bits, for all their values. [`prepare_runs`](DecodeTable::prepare_runs) comes first.
    #[inline(always)]
    pub(super) fn runs(&self) -> &[Run; 1 << RUN_BITS] {
        debug_assert!(self.runs.are_made);
        let runs = self.runs.by_width.last_chunk();
        runs.expect("the widest come last")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_symbols_one_by_one_give() {
        let palette = Palette::new(core::array::from_fn(|i| 100 + i as u8)).unwrap();
        let skewed = [1, 2, 3, 4, 5, 6, 7, 8, 8];
        let mixed = [8, 1, 8, 3, 7, 6, 3, 5, 3, 4];
        for lengths in [
            &[1, 1][..],
            &[4; 16],
            &skewed,
            &mixed,
            &[2, 2, 2, 2],
            &[1, 2, 2],
        ] {
            let lengths = core::array::from_fn(|entry| lengths.get(entry).copied());
            let mut table = DecodeTable::default();
            table.prepare(&Code::from_lengths(lengths).unwrap(), &palette);
            table.prepare_runs();
            for (bits, run) in table.runs().iter().enumerate() {
                let mut taken = 0;
                for &exponent in run.bytes().iter().rev().take(run.symbols()) {
                    let (expected, length) = table.symbol((bits >> taken) as u8);
                    assert_eq!(exponent, expected);
                    taken += length;
                }
                assert_eq!(u64::from(taken), run.shift() % 64);
                assert!(taken <= RUN_BITS as u32 && run.symbols() > 0);
            }
        }
    }
}
