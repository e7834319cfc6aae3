//! Bits of weights and bit strings (sections 2 and 4.2), as the specification states them: for
//! reference, not for speed.
//!
//! The bytes of a tensor are the bit string of its weights, with numbers of 8 ·
//! [`weight_bytes`](crate::Dtype::weight_bytes) bits.

/// The bits of `weight` at the one bits of `mask`, moved together from bit 0 up: the plain value of
/// a weight whose plain bits are `mask` (section 4.2).
pub const fn pext(weight: u64, mask: u64) -> u64 {
    let (mut value, mut count, mut left) = (0, 0, mask);
    while left != 0 {
        value |= (weight >> left.trailing_zeros() & 1) << count;
        count += 1;
        left &= left - 1;
    }
    value
}

/// The inverse of [`pext`]: the low bits of `value`, moved to the one bits of `mask`.
pub const fn pdep(value: u64, mask: u64) -> u64 {
    let (mut weight, mut count, mut left) = (0, 0, mask);
    while left != 0 {
        weight |= (value >> count & 1) << left.trailing_zeros();
        count += 1;
        left &= left - 1;
    }
    weight
}

/// The numbers of `width` bits that are packed in `bytes`, a bit string: all that are whole.
///
/// # Panics
/// If the width is not 1 to 64 bits.
pub fn unpack(bytes: &[u8], width: u32) -> Numbers<'_> {
    assert!((1..=64).contains(&width), "a width of {width} bits");
    Numbers {
        bytes,
        pending: 0,
        pending_bits: 0,
        width,
    }
}

/// An iterator over the numbers of a bit string; see [`unpack`].
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    bytes: &'a [u8],
    /// Bits that were taken from `bytes` and not yet returned, from bit 0 up.
    pending: u128,
    pending_bits: u32,
    width: u32,
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.pending_bits < self.width {
            let (&byte, rest) = self.bytes.split_first()?;
            self.pending |= u128::from(byte) << self.pending_bits;
            self.pending_bits += 8;
            self.bytes = rest;
        }
        let number = self.pending & (u128::MAX >> (128 - self.width));
        self.pending >>= self.width;
        self.pending_bits -= self.width;
        Some(number as u64)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let bits = 8 * self.bytes.len() as u128 + u128::from(self.pending_bits);
        let count = (bits / u128::from(self.width)) as usize;
        (count, Some(count))
    }
}

impl ExactSizeIterator for Numbers<'_> {}

/// The bit string of these numbers of `width` bits, byte by byte. The unused bits of the last byte
/// are zero. Bits of a number above the width are dropped.
///
/// # Panics
/// If the width is not 1 to 64 bits.
pub fn pack<I: IntoIterator<Item = u64>>(numbers: I, width: u32) -> Packed<I::IntoIter> {
    assert!((1..=64).contains(&width), "a width of {width} bits");
    Packed {
        numbers: numbers.into_iter(),
        pending: 0,
        pending_bits: 0,
        width,
    }
}

/// An iterator over the bytes of a bit string; see [`pack`].
#[derive(Clone, Debug)]
pub struct Packed<I> {
    numbers: I,
    /// Bits of numbers that were not yet returned, from bit 0 up.
    pending: u128,
    pending_bits: u32,
    width: u32,
}

impl<I: Iterator<Item = u64>> Iterator for Packed<I> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while self.pending_bits < 8 {
            let Some(number) = self.numbers.next() else {
                break;
            };
            let number = u128::from(number) & (u128::MAX >> (128 - self.width));
            self.pending |= number << self.pending_bits;
            self.pending_bits += self.width;
        }
        if self.pending_bits == 0 {
            return None;
        }
        let byte = self.pending as u8;
        self.pending >>= 8;
        self.pending_bits = self.pending_bits.saturating_sub(8);
        Some(byte)
    }
}

/// The bits of a bit string's last byte that are padding, for `count` numbers of `width` bits; 0
/// if the string fills its bytes.
pub(crate) const fn padding_mask(count: u64, width: u32) -> u8 {
    match (count % 8 * width as u64) % 8 {
        0 => 0,
        used => 0xff << used,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn takes_sign_and_mantissa_of_bf16_together() {
        assert_eq!(pext(0xbfc0, 0x807f), 0b1100_0000);
        assert_eq!(pdep(0b1100_0000, 0x807f), 0x8040);
    }

    #[test]
    fn packs_numbers_from_the_lowest_bit_up() {
        let packed: Vec<u8> = pack([1, 2, 3], 3).collect();
        assert_eq!(packed, [0b1101_0001, 0b0]);
        assert_eq!(padding_mask(3, 3), 0b1111_1110);
        assert_eq!(unpack(&packed, 3).collect::<Vec<_>>(), [1, 2, 3, 0, 0]);
    }

    #[test]
    fn gives_no_number_that_is_not_whole() {
        assert_eq!(unpack(&[0xff; 7], 57).next(), None);
        assert_eq!(unpack(&[0xff; 9], 64).len(), 1);
        assert_eq!(unpack(&[], 1).next(), None);
    }

    #[test]
    fn drops_bits_above_the_width() {
        assert_eq!(pack([0xff, 0], 4).collect::<Vec<_>>(), [0x0f]);
    }

    proptest! {
        #[test]
        fn deposits_what_was_extracted(weight: u64, mask: u64) {
            prop_assert_eq!(pdep(pext(weight, mask), mask), weight & mask);
            prop_assert!(pext(weight, mask).checked_shr(mask.count_ones()).unwrap_or(0) == 0);
        }

        #[test]
        fn unpacks_what_was_packed(
            width in 1u32..=64,
            numbers in proptest::collection::vec(any::<u64>(), 0..40),
        ) {
            let kept = numbers.iter().map(|number| number & (u64::MAX >> (64 - width)));
            let packed: Vec<u8> = pack(numbers.iter().copied(), width).collect();
            prop_assert_eq!(packed.len(), (numbers.len() * width as usize).div_ceil(8));
            let unpacked = unpack(&packed, width);
            prop_assert!(unpacked.len() >= numbers.len());
            prop_assert_eq!(unpacked.clone().count(), unpacked.len());
            prop_assert!(unpacked.take(numbers.len()).eq(kept));
            let padding = padding_mask(numbers.len() as u64, width);
            prop_assert_eq!(packed.last().map_or(0, |byte| byte & padding), 0);
            let bits = numbers.len() * width as usize;
            prop_assert_eq!(padding.count_ones() as usize, 8 * packed.len() - bits);
        }

        #[test]
        fn numbers_lie_where_the_spec_says(
            width in 1u32..=64,
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for (number, value) in unpack(&bytes, width).enumerate() {
                for bit in 0..width as usize {
                    let at = number * width as usize + bit;
                    prop_assert_eq!(value >> bit & 1, u64::from(bytes[at / 8] >> (at % 8) & 1));
                }
            }
        }
    }
}
