//! Counting values with NEON.
//!
//! Nearly all exponents of trained weights are in a window of 16 consecutive ones. Each of these
//! has a vector of 16 byte counters. A comparison with 16 values gives 255 for equal ones, and is
//! subtracted from the counters. Values outside the window are counted one by one.

use std::arch::aarch64::*;

use super::{BLOCK, encode, load, store};
use crate::fast::portable;

const WINDOW: usize = 16;
/// Counters in registers in one pass over a part. Each counter has a register with its value beside
/// it.
const AT_ONCE: usize = 8;
/// Blocks of a part. A byte counter may be full after that many, and a part stays in the L1 cache.
const FULL: usize = 255;

/// Counts the exponents of little-endian BF16 weights.
#[target_feature(enable = "neon")]
pub(super) fn weights(weights: &[u8], counts: &mut [u64; 256]) {
    let mut found = [[0; BLOCK]; FULL];
    let (blocks, rest) = weights.as_chunks();
    for blocks in blocks.chunks(FULL) {
        let found = &mut found[..blocks.len()];
        for (weights, found) in blocks.iter().zip(&mut *found) {
            store(encode::exponents(weights), found);
        }
        count_blocks(found, counts);
    }
    for weight in rest.as_chunks().0 {
        counts[usize::from((u16::from_le_bytes(*weight) >> 7) as u8)] += 1;
    }
}

/// Counts these values.
#[target_feature(enable = "neon")]
pub(super) fn values(values: &[u8], counts: &mut [u64; 256]) {
    let (blocks, rest) = values.as_chunks();
    for part in blocks.chunks(FULL) {
        count_blocks(part, counts);
    }
    for &value in rest {
        counts[usize::from(value)] += 1;
    }
}

/// Counts at most `FULL` blocks.
#[inline]
#[target_feature(enable = "neon")]
fn count_blocks(part: &[[u8; BLOCK]], counts: &mut [u64; 256]) {
    let greatest = part.first().map_or(0, |block| vmaxvq_u8(load(block)));
    let base = portable::count::base(greatest, 13);
    for first in (0..WINDOW).step_by(AT_ONCE) {
        count_some(part, usize::from(base) + first, counts);
    }
    count_outside(part, base, counts);
}

/// Counts `AT_ONCE` consecutive values, beginning with `first`.
#[inline]
#[target_feature(enable = "neon")]
fn count_some(part: &[[u8; BLOCK]], first: usize, counts: &mut [u64; 256]) {
    let mut counters = [vdupq_n_u8(0); AT_ONCE];
    for block in part {
        let block = load(block);
        for (place, counter) in counters.iter_mut().enumerate() {
            let equal = vceqq_u8(block, vdupq_n_u8((first + place) as u8));
            *counter = vsubq_u8(*counter, equal);
        }
    }
    for (place, counter) in counters.into_iter().enumerate() {
        counts[first + place] += u64::from(vaddlvq_u8(counter));
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn count_outside(part: &[[u8; BLOCK]], base: u8, counts: &mut [u64; 256]) {
    for block in part {
        let places = vsubq_u8(load(block), vdupq_n_u8(base));
        if usize::from(vmaxvq_u8(places)) < WINDOW {
            continue;
        }
        for &value in block {
            if usize::from(value.wrapping_sub(base)) >= WINDOW {
                counts[usize::from(value)] += 1;
            }
        }
    }
}
