//! The table *Q* of section 6 in the layout of the kernels. It is kept from record to record.

use unweight_format::layout::LONGEST_CODE_BITS;
use unweight_format::{Code, Palette};

use super::layout::Placing;

/// Number of bits in the look-up of a run of symbols.
pub(super) const RUN_BITS: usize = 11;
/// The most symbols in a run.
pub(super) const RUN_SYMBOLS: usize = 6;

/// Lengths and values by the next bits of a stream.
#[derive(Debug)]
pub(super) struct DecodeTable {
    made_of: Option<(Code, Palette, Placing)>,
    /// Lengths by the next 7 bits. The two codes of a pair of 8 bits differ only in their last bit.
    lengths: [u8; 128],
    /// Values by the next 8 bits.
    values: [u8; 256],
    /// Values rotated right by one bit, which is the layout of the two halves of a BF16 weight.
    rotated_values: [u8; 256],
    runs: Runs,
}

/// The runs of codes that lie completely in the next `RUN_BITS` bits of a stream.
#[derive(Debug)]
struct Runs {
    are_made: bool,
    /// The runs within the next *w* bits, for *w* from 0 to `RUN_BITS`, begin at index 2^*w*. A run
    /// of *w* bits is a symbol followed by a run of fewer bits.
    by_width: Box<[Run; 2 << RUN_BITS]>,
}

/// Consecutive symbols.
///
/// ```text
///   byte 7    value of the first symbol; byte 6 has that of the second, and so on
///   byte 1    number of symbols
///   byte 0    number of bits of their codes
/// ```
///
/// A shift of 64 bits uses the lowest six bits of its operand, so a run can be the operand.
///
/// Runs are stored from the end of a row towards its start, so that the next run overwrites the
/// bytes that are not values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run(u64);

impl Run {
    /// The values in reverse order, and two bytes that are not values.
    #[inline(always)]
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    #[inline(always)]
    pub(super) fn symbols(self) -> usize {
        (self.0 >> 8 & 7) as usize
    }

    /// The number of bits in bits 0 to 5. The bits above are unspecified.
    #[inline(always)]
    pub(super) fn shift(self) -> u64 {
        self.0
    }

    /// Returns this run preceded by a symbol.
    #[inline(always)]
    fn behind(self, value: u8, length: u8) -> Run {
        let symbols = self.0 >> 8 & 0x00ff_ffff_ffff_0000 | u64::from(value) << 56;
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
            values: [0; 256],
            rotated_values: [0; 256],
            runs: Runs {
                are_made: false,
                by_width: by_width.try_into().expect("as many as were made"),
            },
        }
    }
}

impl DecodeTable {
    /// Memory of a table, in bytes.
    pub(super) const BYTES: usize = size_of::<Self>() + size_of::<[Run; 2 << RUN_BITS]>();

    /// Rebuilds the table for this code if it holds another one. The values of this palette are the
    /// bytes that `placing` gives.
    pub(super) fn prepare(&mut self, code: &Code, palette: &Palette, placing: Placing) {
        if self.made_of == Some((*code, *palette, placing)) {
            return;
        }
        for entry in code.canonical() {
            let value = placing.byte(palette.padded()[usize::from(entry.entry)]);
            let length = entry.length_bits;
            for slot in (usize::from(entry.stream_bits())..256).step_by(1 << length) {
                self.values[slot] = value;
                self.rotated_values[slot] = value.rotate_right(1);
                self.lengths[slot % 128] = length;
            }
        }
        debug_assert!(
            self.lengths
                .iter()
                .all(|&length| length <= LONGEST_CODE_BITS)
        );
        self.made_of = Some((*code, *palette, placing));
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

    /// Values by the next 8 bits.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn values(&self) -> &[u8; 256] {
        &self.values
    }

    /// Values by the next 8 bits, rotated right by one.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(super) fn rotated_values(&self) -> &[u8; 256] {
        &self.rotated_values
    }

    /// The single value of the empty code, if the code is empty.
    pub(super) fn only_value(&self) -> Option<u8> {
        (self.lengths[0] == 0).then_some(self.values[0])
    }

    /// The value and the length of the first code in these 8 bits.
    #[inline(always)]
    pub(super) fn symbol(&self, next: u8) -> (u8, u32) {
        let length = self.lengths[usize::from(next & 127)];
        (self.values[usize::from(next)], length.into())
    }

    /// Builds the runs if they are not built yet. The code must not be empty.
    pub(super) fn prepare_runs(&mut self) {
        if self.runs.are_made {
            return;
        }
        let (code, palette, placing) = self
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
                let value = placing.byte(palette.padded()[usize::from(entry.entry)]);
                let places = these[first..].iter_mut().step_by(1 << length);
                for (bits, (run, behind)) in places.zip(&narrower[1 << rest..]).enumerate() {
                    let mut behind = *behind;
                    let mut rest = rest;
                    // After codes of one or two bits there may be room for more symbols.
                    while behind.symbols() == RUN_SYMBOLS {
                        rest -= 1;
                        behind = narrower[(1 << rest) + bits % (1 << rest)];
                    }
                    *run = behind.behind(value, length);
                }
            }
        }
        self.runs.are_made = true;
    }

    /// The runs for all values of the next `RUN_BITS` bits.
    /// [`prepare_runs`](DecodeTable::prepare_runs) must be called first.
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
        let palette = Palette::new(8, core::array::from_fn(|i| 100 + i as u8)).unwrap();
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
            let code = Code::from_lengths(lengths, 16).unwrap();
            table.prepare(&code, &palette, Placing::default());
            table.prepare_runs();
            for (bits, run) in table.runs().iter().enumerate() {
                let mut taken = 0;
                for &value in run.bytes().iter().rev().take(run.symbols()) {
                    let (expected, length) = table.symbol((bits >> taken) as u8);
                    assert_eq!(value, expected);
                    taken += length;
                }
                assert_eq!(u64::from(taken), run.shift() % 64);
                assert!(taken <= RUN_BITS as u32 && run.symbols() > 0);
            }
        }
    }

    /// The most entries of a code.
    const ENTRIES: usize = 16;

    /// Calls `check` with the code lengths of every complete code, in ascending order.
    fn each_code(lengths: &mut Vec<u8>, check: &mut impl FnMut(&[u8])) {
        // Sum of 2^(8 - length).
        let sum: u32 = lengths.iter().map(|length| 256 >> length).sum();
        match sum {
            256 => check(lengths),
            257.. => {}
            _ if lengths.len() == ENTRIES => {}
            _ => {
                for length in lengths.last().copied().unwrap_or(1)..=LONGEST_CODE_BITS {
                    lengths.push(length);
                    each_code(lengths, check);
                    lengths.pop();
                }
            }
        }
    }

    /// The kernels read a lane and write a row unchecked. They rely on a look-up taking at least one
    /// symbol, at most [`RUN_SYMBOLS`], and at most eight bits for each.
    ///
    /// Codes are canonical, so the lengths in ascending order determine which bits are codes. Another
    /// order gives the same runs with other values.
    #[test]
    fn every_code_has_runs_within_bounds() {
        let palette = Palette::new(8, core::array::from_fn(|i| 100 + i as u8)).unwrap();
        let mut table = DecodeTable::default();
        let mut codes = 0;
        each_code(&mut Vec::new(), &mut |lengths| {
            codes += 1;
            let lengths = core::array::from_fn(|entry| lengths.get(entry).copied());
            let code = Code::from_lengths(lengths, ENTRIES).unwrap();
            table.prepare(&code, &palette, Placing::default());
            table.prepare_runs();
            assert!(
                table
                    .lengths()
                    .iter()
                    .all(|length| (1..=8).contains(length))
            );
            for run in table.runs() {
                let (symbols, bits) = (run.symbols(), run.shift() % 64);
                assert!(
                    (1..=RUN_SYMBOLS).contains(&symbols),
                    "{lengths:?}: {symbols} symbols"
                );
                assert!(bits <= RUN_BITS as u64, "{lengths:?}: {bits} bits");
                assert!(
                    bits >= 1 && bits <= 8 * symbols as u64,
                    "{lengths:?}: {bits} bits"
                );
            }
        });
        // The number of complete binary trees by their leaves at each depth.
        assert_eq!(codes, 1456);
    }
}
