//! Counting exponents in safe Rust, two at a time.
//!
//! Nearly all exponents of a trained tensor lie in a window of 16 consecutive ones. Two places in it are one byte, and that
//! is counted: half as many counters are loaded and stored as there are exponents. What lies outside is counted one by one.
//!
//! `inline(always)`: the instruction sets' rooms compile these again, with what they have.

use super::bytes;

/// Exponents of a register.
const EIGHT: usize = 8;
/// How many pairs occurred, by the four places that a register has for them: equal pairs that follow each other would
/// wait for one another's counter.
type Pairs = [[u32; 256]; 4];
/// Registers after which a counter may be full.
const FULL: usize = u32::MAX as usize;

/// Adds how often each exponent occurs in little-endian weights.
#[inline(always)]
pub(in crate::fast) fn weights(weights: &[u8], counts: &mut [u64; 256]) {
    let (eights, rest) = weights.as_chunks::<{ 2 * EIGHT }>();
    let exponents = |eight: &[u8; 2 * EIGHT]| {
        let both = u128::from_le_bytes(*eight);
        // The exponent of every other weight; what comes between is the other half's.
        let of = |four: u64| four >> 7 & 0x00ff_00ff_00ff_00ff;
        of(both as u64) | of((both >> 64) as u64) << 8
    };
    count(eights, exponents, counts);
    for weight in rest.as_chunks().0 {
        counts[usize::from((u16::from_le_bytes(*weight) >> 7) as u8)] += 1;
    }
}

/// Adds how often each of these exponents occurs.
#[inline(always)]
pub(in crate::fast) fn exponents(exponents: &[u8], counts: &mut [u64; 256]) {
    let (eights, rest) = exponents.as_chunks::<EIGHT>();
    count(eights, |&eight| u64::from_le_bytes(eight), counts);
    for &exponent in rest {
        counts[usize::from(exponent)] += 1;
    }
}

/// Counts the exponents that `exponents` gives for each element.
#[inline(always)]
fn count<T>(eights: &[T], exponents: impl Fn(&T) -> u64, counts: &mut [u64; 256]) {
    const SAMPLE: usize = 8;
    let sample = eights.iter().take(SAMPLE);
    let greatest = sample
        .flat_map(|eight| exponents(eight).to_le_bytes())
        .max();
    // One above the greatest of a few is as far up as any will be, and they thin out downwards.
    let base = greatest.unwrap_or(0).saturating_sub(14).min(u8::MAX - 15);
    let subtrahend = bytes::splat(base);
    for eights in eights.chunks(FULL) {
        let mut pairs: Box<Pairs> = Box::new([[0; 256]; 4]);
        for eight in eights {
            let exponents = exponents(eight);
            let places = bytes::subtract(exponents, subtrahend);
            if bytes::are_nibbles(places) {
                for (counters, pair) in pairs.iter_mut().zip(bytes::pairs(places)) {
                    counters[usize::from(pair)] += 1;
                }
            } else {
                for exponent in exponents.to_le_bytes() {
                    counts[usize::from(exponent)] += 1;
                }
            }
        }
        for pair in 0..256 {
            let count: u64 = pairs.iter().map(|counters| u64::from(counters[pair])).sum();
            counts[usize::from(base) + pair % 16] += count;
            counts[usize::from(base) + pair / 16] += count;
        }
    }
}
