//! Encoding in safe Rust. `inline(always)`: the instruction sets' rooms compile these again, with what they have.

use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};

use super::{ROW_BYTES, Rows, bytes};
use crate::fast::encode_table::{EncodeTable, PATCHED, PairCodes};

/// Splits little-endian weights into sign-mantissa bytes and exponents.
#[inline(always)]
pub(in crate::fast) fn split(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) {
    let (weights, _) = weights.as_chunks();
    for ((&weight, sign_mantissa), exponent) in weights.iter().zip(sign_mantissa).zip(exponents) {
        let weight = u16::from_le_bytes(weight);
        *sign_mantissa = (weight >> 8 & 0x80 | weight & 0x7f) as u8;
        *exponent = (weight >> 7) as u8;
    }
}

/// Lanes in flight: a code waits for the length of the one before it in its lane.
const IN_FLIGHT: usize = 4;

/// Codes exponents of whole steps, four lanes at a time and two exponents a look-up, into the rows. Gives each lane's number of bits, and appends the
/// positions of exponents without a code.
#[inline(always)]
pub(in crate::fast) fn pack(
    table: &EncodeTable,
    exponents: &[u8],
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    let (steps, _) = exponents.as_chunks::<STEP_WEIGHTS>();
    let mut ends = [0; LANES];
    let groups = rows.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    for (group, (rows, ends)) in groups.zip(ends.as_chunks_mut().0).enumerate() {
        *ends = pack_lanes(table, steps, group, rows, positions);
    }
    ends
}

#[inline(always)]
fn pack_lanes(
    table: &EncodeTable,
    steps: &[[u8; STEP_WEIGHTS]],
    group: usize,
    rows: &mut [[u8; ROW_BYTES]; IN_FLIGHT],
    positions: &mut Vec<u16>,
) -> [u32; IN_FLIGHT] {
    const GROUP_WEIGHTS: usize = IN_FLIGHT * LANE_STEP_WEIGHTS;
    let mut streams = [Stream::default(); IN_FLIGHT];
    let (base, pairs) = (table.palette_base(), table.pairs());
    for (number, step) in steps.iter().enumerate() {
        let weights: &[u8; GROUP_WEIGHTS] = &step.as_chunks().0[group];
        for lane in 0..IN_FLIGHT {
            let eight: &[u8; LANE_STEP_WEIGHTS] = &weights.as_chunks().0[lane];
            let (stream, row) = (&mut streams[lane], &mut rows[lane]);
            let first = number * STEP_WEIGHTS + group * GROUP_WEIGHTS + lane * LANE_STEP_WEIGHTS;
            let places = table.places(base, *eight);
            if !bytes::are_nibbles(places) {
                *stream = one_by_one(table, eight, first, *stream, row, positions);
                continue;
            }
            let [a, b, c, d] = bytes::pairs(places).map(|pair| pairs[usize::from(pair)]);
            if PairCodes::is_any_patched([a, b, c, d]) {
                note_patches(table, eight, first, positions);
            }
            let (front, back) = (a.and(b), c.and(d));
            if front.length + back.length <= APPENDABLE_BITS {
                stream.append(front.and(back), row);
            } else {
                stream.append(front, row);
                stream.append(back, row);
            }
        }
    }
    streams.map(Stream::length_bits)
}

/// Bits that can be appended to a stream at once: fewer than 8 are pending.
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

    /// How many bits it has.
    #[inline(always)]
    pub(in crate::fast) fn length_bits(self) -> u32 {
        8 * self.at as u32 + self.pending_bits
    }
}

/// Codes put together.
#[derive(Clone, Copy)]
pub(in crate::fast) struct Codes {
    pub(in crate::fast) bits: u64,
    pub(in crate::fast) length: u32,
}

impl Codes {
    #[inline(always)]
    fn and(self, behind: Codes) -> Codes {
        Codes {
            bits: self.bits | behind.bits << self.length,
            length: self.length + behind.length,
        }
    }
}

impl PairCodes {
    #[inline(always)]
    fn and(self, behind: PairCodes) -> Codes {
        let codes = |pair: PairCodes| Codes {
            bits: pair.bits().into(),
            length: pair.length_bits(),
        };
        codes(self).and(codes(behind))
    }
}

/// Appends the codes of a lane's step that holds exponents outside of the palette.
#[cold]
#[inline(never)]
fn one_by_one(
    table: &EncodeTable,
    exponents: &[u8; LANE_STEP_WEIGHTS],
    first: usize,
    mut stream: Stream,
    row: &mut [u8; ROW_BYTES],
    positions: &mut Vec<u16>,
) -> Stream {
    for &exponent in exponents {
        let exponent = usize::from(exponent);
        let codes = Codes {
            bits: table.bits()[exponent].into(),
            length: (table.lengths()[exponent] & !PATCHED).into(),
        };
        stream.append(codes, row);
    }
    note_patches(table, exponents, first, positions);
    stream
}

/// Appends the positions of exponents without a code; the first has position `first`.
#[cold]
#[inline(never)]
pub(in crate::fast) fn note_patches(
    table: &EncodeTable,
    exponents: &[u8; LANE_STEP_WEIGHTS],
    first: usize,
    positions: &mut Vec<u16>,
) {
    let is_patched = |exponent: u8| table.lengths()[usize::from(exponent)] & PATCHED != 0;
    let places = (first..)
        .zip(exponents)
        .filter(|&(_, &exponent)| is_patched(exponent));
    positions.extend(places.map(|(position, _)| position as u16));
}

/// Palette indices of exponents, two to a byte. `indices` has them by exponent; appends the positions of those that it marks.
#[inline(always)]
pub(in crate::fast) fn index(
    indices: &[u8; 256],
    exponents: &[u8],
    body: &mut [u8],
    positions: &mut Vec<u16>,
) {
    let (pairs, _) = exponents.as_chunks();
    for (number, (out, &[first, second])) in body.iter_mut().zip(pairs).enumerate() {
        let [first, second] = [first, second].map(|exponent| indices[usize::from(exponent)]);
        *out = first & 15 | (second & 15) << 4;
        if (first | second) & PATCHED != 0 {
            let marked = [first, second].map(|index| index & PATCHED != 0);
            let places = (2 * number..).zip(marked).filter(|&(_, marked)| marked);
            positions.extend(places.map(|(position, _)| position as u16));
        }
    }
}
