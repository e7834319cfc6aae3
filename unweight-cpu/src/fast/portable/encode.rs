//! Encoding in safe Rust. `inline(always)`: the instruction sets' rooms compile these again, with what they have.

use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};

use super::{ROW_BYTES, Rows};
use crate::fast::encode::{EncodeTable, PATCHED};

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

/// Counts that run side by side: equal exponents that follow each other would wait for one another's counter.
const HISTOGRAMS: usize = 4;

/// Adds how often each exponent occurs in little-endian weights.
#[inline(always)]
pub(in crate::fast) fn count_weights(weights: &[u8], counts: &mut [u64; 256]) {
    let (weights, _) = weights.as_chunks();
    let exponent = |&weight: &[u8; 2]| (u16::from_le_bytes(weight) >> 7) as u8;
    let (groups, rest) = weights.as_chunks::<HISTOGRAMS>();
    let groups = groups.iter().map(|group| group.each_ref().map(exponent));
    count(groups, rest.iter().map(exponent), counts);
}

/// Adds how often each of these exponents occurs.
#[inline(always)]
pub(in crate::fast) fn count_exponents(exponents: &[u8], counts: &mut [u64; 256]) {
    let (groups, rest) = exponents.as_chunks();
    count(groups.iter().copied(), rest.iter().copied(), counts);
}

#[inline(always)]
fn count(
    groups: impl Iterator<Item = [u8; HISTOGRAMS]>,
    rest: impl Iterator<Item = u8>,
    counts: &mut [u64; 256],
) {
    let mut histograms = [[0u64; 256]; HISTOGRAMS];
    for group in groups {
        for (histogram, exponent) in histograms.iter_mut().zip(group) {
            histogram[usize::from(exponent)] += 1;
        }
    }
    for exponent in rest {
        counts[usize::from(exponent)] += 1;
    }
    for histogram in histograms {
        for (count, more) in counts.iter_mut().zip(histogram) {
            *count += more;
        }
    }
}

/// Lanes in flight: a code waits for the length of the one before it in its lane.
const IN_FLIGHT: usize = 4;

/// Codes exponents of whole steps, four lanes at a time, into the rows. Gives each lane's number of bits, and appends the
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
    const HALF: usize = LANE_STEP_WEIGHTS / 2;
    let table = table.both();
    let mut pending = [0u64; IN_FLIGHT];
    let mut pending_bits = [0u32; IN_FLIGHT];
    let mut at = [0; IN_FLIGHT];
    for (number, step) in steps.iter().enumerate() {
        let weights: &[u8; GROUP_WEIGHTS] = &step.as_chunks().0[group];
        let mut marks = 0;
        for half in 0..2 {
            for lane in 0..IN_FLIGHT {
                let four: &[u8; HALF] = &weights.as_chunks().0[2 * lane + half];
                let [a, b, c, d] = four.map(|exponent| table[usize::from(exponent)]);
                marks |= a | b | c | d;
                let ((ab, ab_bits), (cd, cd_bits)) = (pair(a, b), pair(c, d));
                // At most 7 bits were left over, and four codes have at most 32.
                let bits = pending[lane] | (ab | cd << ab_bits) << pending_bits[lane];
                let bit_count = pending_bits[lane] + ab_bits + cd_bits;
                rows[lane][at[lane]..at[lane] + 8].copy_from_slice(&bits.to_le_bytes());
                at[lane] += bit_count as usize / 8;
                pending[lane] = bits >> (bit_count & !7);
                pending_bits[lane] = bit_count % 8;
            }
        }
        if (marks >> 8) as u8 & PATCHED != 0 {
            let first = number * STEP_WEIGHTS + group * GROUP_WEIGHTS;
            let is_patched =
                |exponent: u8| (table[usize::from(exponent)] >> 8) as u8 & PATCHED != 0;
            let places = (first..)
                .zip(weights)
                .filter(|&(_, &exponent)| is_patched(exponent));
            positions.extend(places.map(|(position, _)| position as u16));
        }
    }
    std::array::from_fn(|lane| 8 * at[lane] as u32 + pending_bits[lane])
}

/// Two codes put together, and their length.
#[inline(always)]
fn pair(first: u16, second: u16) -> (u64, u32) {
    let length = |code: u16| u32::from(code >> 8 & 15);
    let bits = u64::from(first & 0xff) | u64::from(second & 0xff) << length(first);
    (bits, length(first) + length(second))
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
