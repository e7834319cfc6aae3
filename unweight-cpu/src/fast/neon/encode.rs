//! Splitting weights and packing palette indices with NEON.

use std::arch::aarch64::*;

use super::{BLOCK, is_any_marked, load, store};
use crate::fast::encode_table::PATCHED;
use crate::fast::portable;

/// Splits little-endian BF16 weights into sign-mantissa bytes and exponents.
#[target_feature(enable = "neon")]
pub(super) fn split(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) {
    assert_eq!(weights.len(), 2 * sign_mantissa.len());
    assert_eq!(exponents.len(), sign_mantissa.len());
    let (blocks, rest) = weights.as_chunks::<{ 2 * BLOCK }>();
    let (sm_blocks, sm_rest) = sign_mantissa.as_chunks_mut();
    let (exponent_blocks, exponent_rest) = exponents.as_chunks_mut();
    for ((block, sign_mantissa), out) in blocks.iter().zip(sm_blocks).zip(exponent_blocks) {
        let (low, high) = bytes_apart(block);
        store(vbslq_u8(vdupq_n_u8(0x80), high, low), sign_mantissa);
        store(exponents_of(low, high), out);
    }
    portable::encode::split(rest, sm_rest, exponent_rest);
}

/// The exponents of 16 little-endian weights.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn exponents(weights: &[u8; 2 * BLOCK]) -> uint8x16_t {
    let (low, high) = bytes_apart(weights);
    exponents_of(low, high)
}

/// The low and the high bytes of 16 little-endian weights.
#[inline]
#[target_feature(enable = "neon")]
fn bytes_apart(weights: &[u8; 2 * BLOCK]) -> (uint8x16_t, uint8x16_t) {
    let (halves, _) = weights.as_chunks();
    let (first, second) = (load(&halves[0]), load(&halves[1]));
    (vuzp1q_u8(first, second), vuzp2q_u8(first, second))
}

#[inline]
#[target_feature(enable = "neon")]
fn exponents_of(low: uint8x16_t, high: uint8x16_t) -> uint8x16_t {
    vsriq_n_u8::<7>(vaddq_u8(high, high), low)
}

/// Writes the palette indices of values of whole steps, two to a byte. `indices` maps values to
/// indices. Appends the positions of values whose index is marked.
#[target_feature(enable = "neon")]
pub(super) fn index(indices: &[u8; 256], values: &[u8], body: &mut [u8], positions: &mut Vec<u16>) {
    assert_eq!(values.len(), 2 * body.len());
    let table = Table::load(indices);
    let (blocks, _) = values.as_chunks::<{ 2 * BLOCK }>();
    for (number, (block, out)) in blocks.iter().zip(body.as_chunks_mut().0).enumerate() {
        let (halves, _) = block.as_chunks();
        let first = table.look_up(load(&halves[0]));
        let second = table.look_up(load(&halves[1]));
        let (even, odd) = (vuzp1q_u8(first, second), vuzp2q_u8(first, second));
        // A mark is the highest bit of an index and its only set bit. For an even index it is
        // cleared, for an odd one it is shifted out.
        store(vsliq_n_u8::<4>(even, odd), out);
        if is_any_marked(vorrq_u8(first, second)) {
            note_marked(indices, block, 2 * BLOCK * number, positions);
        }
    }
}

/// Appends the positions of values whose index is marked. The first value has position `first`.
#[cold]
#[inline(never)]
fn note_marked(
    indices: &[u8; 256],
    values: &[u8; 2 * BLOCK],
    first: usize,
    positions: &mut Vec<u16>,
) {
    let is_marked = |value: u8| indices[usize::from(value)] & PATCHED != 0;
    let places = (first..)
        .zip(values)
        .filter(|&(_, &value)| is_marked(value));
    positions.extend(places.map(|(position, _)| position as u16));
}

/// Table of 256 bytes in half of all registers.
#[derive(Clone, Copy)]
struct Table([uint8x16x4_t; 4]);

impl Table {
    #[inline]
    #[target_feature(enable = "neon")]
    fn load(bytes: &[u8; 256]) -> Table {
        let (parts, _) = bytes.as_chunks::<64>();
        let part = |number: usize| {
            let (quarters, _) = parts[number].as_chunks();
            uint8x16x4_t(
                load(&quarters[0]),
                load(&quarters[1]),
                load(&quarters[2]),
                load(&quarters[3]),
            )
        };
        Table([part(0), part(1), part(2), part(3)])
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn look_up(&self, indices: uint8x16_t) -> uint8x16_t {
        let [a, b, c, d] = self.0;
        // `tbx` leaves its first operand unchanged for indices of 64 or more.
        let within = |part: u8| vsubq_u8(indices, vdupq_n_u8(64 * part));
        let found = vqtbl4q_u8(a, indices);
        let found = vqtbx4q_u8(found, b, within(1));
        let found = vqtbx4q_u8(found, c, within(2));
        vqtbx4q_u8(found, d, within(3))
    }
}
