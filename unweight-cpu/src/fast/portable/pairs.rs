//! Pairs of positions in a window of 16 consecutive values. Two positions make one byte, the first
//! one in bits 0 to 3, which halves the number of table look-ups. The loops have no branches, and
//! the compiler vectorizes them unless it knows that each byte becomes an index. It would then
//! extract the bytes from the vectors before they are pairs. The black boxes prevent that.

use std::hint::black_box;

/// The pairs of these values, if all of them are in the window from `base` on. `base` is at most
/// 240.
#[inline(always)]
pub(in crate::fast) fn of_values<const PAIRS: usize>(
    values: &[[u8; 2]; PAIRS],
    base: u8,
) -> Option<[u8; PAIRS]> {
    let bases = u16::from_le_bytes([base; 2]);
    let mut pairs = [0; PAIRS];
    let mut any = 0;
    for (pair, &values) in pairs.iter_mut().zip(values) {
        // A lower byte below the window becomes 16 or more, because `base` is at most 240. Its
        // borrow from the upper byte is harmless.
        let places = u16::from_le_bytes(values).wrapping_sub(bases);
        any |= places;
        *pair = (places | places >> 4) as u8;
    }
    (any & 0xf0f0 == 0).then_some(black_box(pairs))
}

/// Same as [`of_values`], but for pairs of little-endian weights.
#[inline(always)]
pub(in crate::fast) fn of_weights<const PAIRS: usize>(
    weights: &[[u8; 4]; PAIRS],
    base: u8,
) -> Option<[u8; PAIRS]> {
    let bases = u32::from(base) << 16 | u32::from(base);
    let mut pairs = [0; PAIRS];
    let mut any = 0;
    for (pair, &weights) in pairs.iter_mut().zip(weights) {
        let values = u32::from_le_bytes(weights) >> 7 & 0x00ff_00ff;
        let places = values.wrapping_sub(bases);
        any |= places;
        *pair = (places | places >> 12) as u8;
    }
    (any & 0xfff0_fff0 == 0).then_some(black_box(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_those_of_values_in_the_window() {
        for base in [0, 1, 100, 239, 240] {
            for values in (0..=u16::MAX).map(u16::to_le_bytes) {
                let places = values.map(|value| value.wrapping_sub(base));
                let is_inside = places.iter().all(|&place| place < 16);
                let expected = is_inside.then_some([places[0] | places[1] << 4]);
                assert_eq!(of_values(&[values], base), expected);
                let of_weight = |value| (u16::from(value) << 7 | 0x807f).to_le_bytes();
                let [[a, b], [c, d]] = values.map(of_weight);
                assert_eq!(of_weights(&[[a, b, c, d]], base), expected);
            }
        }
    }
}
