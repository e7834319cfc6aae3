//! Eight bytes at a time in a register of 64 bits.

/// The lowest bit of each byte.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x80 * ONES;

/// This byte eight times.
#[inline(always)]
pub(in crate::fast) fn splat(byte: u8) -> u64 {
    ONES * u64::from(byte)
}

/// Subtracts byte by byte, without borrowing from the next.
#[inline(always)]
pub(in crate::fast) fn subtract(from: u64, bytes: u64) -> u64 {
    // Highest bits apart: with one set in `from` and none in `bytes` no borrow leaves a byte.
    ((from | HIGHEST) - (bytes & !HIGHEST)) ^ ((from ^ !bytes) & HIGHEST)
}

/// Whether every byte is below 16.
#[inline(always)]
pub(in crate::fast) fn are_nibbles(bytes: u64) -> bool {
    bytes & splat(0xf0) == 0
}

/// Of eight bytes below 16 four pairs: the first in the low half of a byte, the second in the high.
#[inline(always)]
pub(in crate::fast) fn pairs(nibbles: u64) -> [u8; 4] {
    let pairs = nibbles | nibbles >> 4;
    [
        pairs as u8,
        (pairs >> 16) as u8,
        (pairs >> 32) as u8,
        (pairs >> 48) as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtracts_every_pair_of_bytes() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let from = u64::from_le_bytes([a, b, 0, 255, a, 0, 255, b]);
                let expected = from.to_le_bytes().map(|byte| byte.wrapping_sub(b));
                assert_eq!(subtract(from, splat(b)).to_le_bytes(), expected);
            }
        }
    }
}
