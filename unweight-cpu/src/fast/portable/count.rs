//! Counting values in safe Rust, two at a time.
//!
//! Nearly all exponents of trained weights are in a window of 16 consecutive ones. Two window
//! positions fit in one byte, and the counters count such pairs. That halves the number of counter
//! loads and stores. Blocks with a value outside the window are counted one by one.
//!
//! The functions are `inline(always)` because the modules of the ISAs compile them again with their
//! target features.

use super::pairs;

/// Pairs of a block.
const PAIRS: usize = 32;
/// Counts of pairs. Four consecutive pairs use four separate counters, so that equal consecutive
/// pairs do not wait for each other's counter.
type Counters = [[u32; 256]; 4];
/// Number of blocks after which a counter may be full.
const FULL: usize = u32::MAX as usize / PAIRS;

/// Start of the window of 16 values, given the greatest value of a few samples. Exponents become
/// rarer downwards, and hardly any is above the greatest of the samples, which is at `place` in the
/// window. All values of a field of at most 4 bits are in the lowest window.
#[inline(always)]
pub(in crate::fast) fn base(greatest: u8, place: u8) -> u8 {
    match greatest {
        0..16 => 0,
        16.. => (greatest - place).min(u8::MAX - 15),
    }
}

/// Counts the exponents of little-endian BF16 weights.
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

/// Counts these values.
#[inline(always)]
pub(in crate::fast) fn values(values: &[u8], counts: &mut [u64; 256]) {
    let (both, last) = values.as_chunks::<2>();
    count(both, pairs::of_values::<PAIRS>, |&both| both, counts);
    for &value in last {
        counts[usize::from(value)] += 1;
    }
}

/// Counts the two values that `values` returns for each element. `pairs` returns the pairs of a
/// block.
#[inline(always)]
fn count<T>(
    elements: &[T],
    pairs: impl Fn(&[T; PAIRS], u8) -> Option<[u8; PAIRS]>,
    values: impl Fn(&T) -> [u8; 2],
    counts: &mut [u64; 256],
) {
    let one_by_one = |elements: &[T], counts: &mut [u64; 256]| {
        for value in elements.iter().flat_map(&values) {
            counts[usize::from(value)] += 1;
        }
    };
    let (blocks, rest) = elements.as_chunks::<PAIRS>();
    let sample = blocks.first().map_or(&[][..], |block| &block[..]);
    let greatest = sample.iter().flat_map(&values).max();
    let base = base(greatest.unwrap_or(0), 14);
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
