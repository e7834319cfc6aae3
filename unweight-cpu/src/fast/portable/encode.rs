//! Encoding in safe Rust. The functions are `inline(always)` because the modules of the ISAs
//! compile them again with their target features.

use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};

use super::pairs;
use crate::fast::encode_table::{EncodeTable, PATCHED};
use crate::fast::lanes::{ROW_BYTES, Rows};

/// Splits little-endian BF16 weights into sign-mantissa bytes and exponents.
#[inline(always)]
pub(in crate::fast) fn split(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) {
    let (weights, _) = weights.as_chunks();
    for ((&weight, sign_mantissa), exponent) in weights.iter().zip(sign_mantissa).zip(exponents) {
        let weight = u16::from_le_bytes(weight);
        *sign_mantissa = (weight >> 8 & 0x80 | weight & 0x7f) as u8;
        *exponent = (weight >> 7) as u8;
    }
}

/// Number of steps whose pairs are computed before their lanes are packed. It is small enough for
/// the L1 cache.
const PART_STEPS: usize = 16;
/// Pairs of weights in a step.
const STEP_PAIRS: usize = STEP_WEIGHTS / 2;

/// Packs the codes of values of whole steps into the rows, lane by lane, with one look-up for two
/// values. Returns each lane's number of bits, and appends the positions of values without a code.
#[inline(always)]
pub(in crate::fast) fn pack(
    table: &EncodeTable,
    values: &[u8],
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    let (steps, _) = values.as_chunks::<STEP_WEIGHTS>();
    let mut streams = [Stream::default(); LANES];
    let mut pairs = [None; PART_STEPS];
    for (number, steps) in steps.chunks(PART_STEPS).enumerate() {
        for (pairs, step) in pairs.iter_mut().zip(steps) {
            *pairs = pairs_of(table, step);
        }
        let first = number * PART_STEPS * STEP_WEIGHTS;
        for (lane, (stream, row)) in streams.iter_mut().zip(&mut *rows).enumerate() {
            let part = LanePart {
                table,
                steps,
                lane,
                first,
            };
            *stream = part.pack(&pairs[..steps.len()], *stream, row, positions);
        }
    }
    streams.map(Stream::length_bits)
}

/// The pairs of palette indices of a step's values, if all of them are in the palette.
#[inline(always)]
fn pairs_of(table: &EncodeTable, step: &[u8; STEP_WEIGHTS]) -> Option<[u8; STEP_PAIRS]> {
    let values = step.as_chunks().0;
    let values = values.first_chunk().expect("a step is of pairs");
    if let Some(base) = table.palette_base() {
        return pairs::of_values(values, base);
    }
    let places = table.places();
    let mut any = 0;
    let pairs = values.map(|both: [u8; 2]| {
        let [first, second] = both.map(|value| places[usize::from(value)]);
        any |= first | second;
        first | second << 4
    });
    (any & PATCHED == 0).then_some(pairs)
}

/// A lane's weights in some steps.
struct LanePart<'a> {
    table: &'a EncodeTable,
    steps: &'a [[u8; STEP_WEIGHTS]],
    lane: usize,
    /// The index in the chunk of the first step's first weight.
    first: usize,
}

impl LanePart<'_> {
    /// Appends the codes of these weights. `pairs` has the pairs of the steps.
    #[inline(always)]
    fn pack(
        &self,
        pairs: &[Option<[u8; STEP_PAIRS]>],
        mut stream: Stream,
        row: &mut [u8; ROW_BYTES],
        positions: &mut Vec<u16>,
    ) -> Stream {
        let (bits, lengths) = self.table.pairs();
        for (step, pairs) in pairs.iter().enumerate() {
            if let Some(pairs) = pairs {
                let four: [u8; LANE_STEP_WEIGHTS / 2] = pairs.as_chunks().0[self.lane];
                let [a, b, c, d] = four.map(|pair| Codes {
                    bits: bits[usize::from(pair)].into(),
                    length: lengths[usize::from(pair)].into(),
                });
                let whole = a.and(b).and(c.and(d));
                // A mark also makes the length exceed this limit.
                if whole.length <= APPENDABLE_BITS {
                    stream.append(whole, row);
                    continue;
                }
            }
            stream = self.one_by_one(step, stream, row, positions);
        }
        stream
    }

    /// Appends the codes of one step one by one. Only rare steps need this: they have a value
    /// without a code or outside of the palette, or codes too long to be appended together.
    #[cold]
    #[inline(never)]
    fn one_by_one(
        &self,
        step: usize,
        mut stream: Stream,
        row: &mut [u8; ROW_BYTES],
        positions: &mut Vec<u16>,
    ) -> Stream {
        let values: &[u8; LANE_STEP_WEIGHTS] = &self.steps[step].as_chunks().0[self.lane];
        let table = self.table;
        for &value in values {
            let value = usize::from(value);
            let codes = Codes {
                bits: table.bits()[value].into(),
                length: (table.lengths()[value] & !PATCHED).into(),
            };
            stream.append(codes, row);
        }
        let first = self.first + step * STEP_WEIGHTS + self.lane * LANE_STEP_WEIGHTS;
        note_patches(table, values, first, positions);
        stream
    }
}

/// Greatest number of bits in one append. Fewer than 8 bits are pending.
pub(in crate::fast) const APPENDABLE_BITS: u32 = 56;

/// A lane stream under construction.
#[derive(Clone, Copy, Default)]
pub(in crate::fast) struct Stream {
    at: usize,
    pending: u64,
    pending_bits: u32,
}

impl Stream {
    /// Appends codes of at most `APPENDABLE_BITS` bits.
    #[inline(always)]
    pub(in crate::fast) fn append(&mut self, codes: Codes, row: &mut [u8; ROW_BYTES]) {
        let bits = self.pending | codes.bits << self.pending_bits;
        let bit_count = self.pending_bits + codes.length;
        row[self.at..self.at + 8].copy_from_slice(&bits.to_le_bytes());
        self.at += bit_count as usize / 8;
        self.pending = bits >> (bit_count & !7);
        self.pending_bits = bit_count % 8;
    }

    /// The number of bits in the stream.
    #[inline(always)]
    pub(in crate::fast) fn length_bits(self) -> u32 {
        8 * self.at as u32 + self.pending_bits
    }
}

/// Concatenated codes.
#[derive(Clone, Copy)]
pub(in crate::fast) struct Codes {
    pub(in crate::fast) bits: u64,
    pub(in crate::fast) length: u32,
}

impl Codes {
    /// Concatenates these codes and the following ones. Marks are multiples of 64 bits, so they add
    /// up without changing a shift.
    #[inline(always)]
    fn and(self, behind: Codes) -> Codes {
        Codes {
            bits: self.bits | behind.bits << (self.length % 64),
            length: self.length + behind.length,
        }
    }
}

/// Appends the positions of values without a code. The first value has position `first`.
#[cold]
#[inline(never)]
pub(in crate::fast) fn note_patches(
    table: &EncodeTable,
    values: &[u8; LANE_STEP_WEIGHTS],
    first: usize,
    positions: &mut Vec<u16>,
) {
    let is_patched = |value: u8| table.lengths()[usize::from(value)] & PATCHED != 0;
    let places = (first..)
        .zip(values)
        .filter(|&(_, &value)| is_patched(value));
    positions.extend(places.map(|(position, _)| position as u16));
}

/// Writes palette indices of values, two to a byte. `indices` maps values to indices. Appends the
/// positions of values whose index is marked.
#[inline(always)]
pub(in crate::fast) fn index(
    indices: &[u8; 256],
    values: &[u8],
    body: &mut [u8],
    positions: &mut Vec<u16>,
) {
    let (pairs, _) = values.as_chunks();
    for (number, (out, &[first, second])) in body.iter_mut().zip(pairs).enumerate() {
        let [first, second] = [first, second].map(|value| indices[usize::from(value)]);
        *out = first & 15 | (second & 15) << 4;
        if (first | second) & PATCHED != 0 {
            let marked = [first, second].map(|index| index & PATCHED != 0);
            let places = (2 * number..).zip(marked).filter(|&(_, marked)| marked);
            positions.extend(places.map(|(position, _)| position as u16));
        }
    }
}
