//! Counting exponents in safe Rust, two at a time.
//!
//! Nearly all exponents of a trained tensor lie in a window of 16 consecutive ones. Two places in it are one byte, and that
//! is counted: half as many counters are loaded and stored as there are exponents. Blocks with an exponent outside are counted one by one.
//!
//! `inline(always)`: the instruction sets' rooms compile these again, with what they have.

use super::pairs;

/// Pairs of a block.
const PAIRS: usize = 32;
/// How many pairs occurred, by the four places that four pairs have in turn: equal pairs that follow each other would
/// wait for one another's counter.
type Counters = [[u32; 256]; 4];
/// Blocks after which a counter may be full.
const FULL: usize = u32::MAX as usize / PAIRS;

/// Adds how often each exponent occurs in little-endian weights.
#[inline(always)]
pub(in crate::fast) fn weights(weights: &[u8], counts: &mut [u64; 256]) {
    let (both, last) = weights.as_chunks::<4>();
    let exponents = |both: &[u8; 4]| {
        let exponents = u32::from_le_bytes(*both) >> 7;
        [exponents as u8, (exponents >> 16) as u8]
    };
    count(both, pairs::of_weights::<PAIRS>, exponents, counts);
    for weight in last.as_chunks().0 {
        counts[usize::from((u16::from_le_bytes(*weight) >> 7) as u8)] += 1;
    }
}

/// Adds how often each of these exponents occurs.
#[inline(always)]
pub(in crate::fast) fn exponents(exponents: &[u8], counts: &mut [u64; 256]) {
    let (both, last) = exponents.as_chunks::<2>();
    count(both, pairs::of_exponents::<PAIRS>, |&both| both, counts);
    for &exponent in last {
        counts[usize::from(exponent)] += 1;
    }
}

/// Counts the two exponents that `exponents` gives for each element, and `pairs` for a block of them.
#[inline(always)]
fn count<T>(
    elements: &[T],
    pairs: impl Fn(&[T; PAIRS], u8) -> Option<[u8; PAIRS]>,
    exponents: impl Fn(&T) -> [u8; 2],
    counts: &mut [u64; 256],
) {
    let one_by_one = |elements: &[T], counts: &mut [u64; 256]| {
        for exponent in elements.iter().flat_map(&exponents) {
            counts[usize::from(exponent)] += 1;
        }
    };
    let (blocks, rest) = elements.as_chunks::<PAIRS>();
    let sample = blocks.first().map_or(&[][..], |block| &block[..]);
    let greatest = sample.iter().flat_map(&exponents).max();
    // One above the greatest of a few is as far up as any will be, and they thin out downwards.
    let base = greatest.unwrap_or(0).saturating_sub(14).min(u8::MAX - 15);
    for blocks in blocks.chunks(FULL) {
        let mut counters: Box<Counters> = Box::new([[0; 256]; 4]);
        for block in blocks {
            match pairs(block, base) {
                Some(pairs) => {
                    for four in pairs.as_chunks::<4>().0 {
                        for (counters, &pair) in counters.iter_mut().zip(four) {
                            counters[usize::from(pair)] += 1;
                        }
                    }
                }
                None => one_by_one(block, counts),
            }
        }
        for pair in 0..256 {
            let count: u64 = counters
                .iter()
                .map(|counters| u64::from(counters[pair]))
                .sum();
            counts[usize::from(base) + pair % 16] += count;
            counts[usize::from(base) + pair / 16] += count;
        }
    }
    one_by_one(rest, counts);
}
