//! Bits of weights and bit strings (sections 2 and 4.2), for any type and any width.
//!
//! The bytes of a tensor are the bit string of its weights, with numbers of 8 ·
//! [`weight_bytes`](crate::Dtype::weight_bytes) bits.

/// The bits of `weight` at the one bits of `mask`, moved together from bit 0 up: the plain value of
/// a weight whose plain bits are `mask` (section 4.2).
pub const fn pext(weight: u64, mask: u64) -> u64 {
    let (mut value, mut count, mut left) = (0, 0, mask);
    while left != 0 {
        let (place, length) = lowest_run(left);
        let run = (u64::MAX >> (64 - length)) << place;
        value |= (weight & run) >> place << count;
        count += length;
        left ^= run;
    }
    value
}

/// The inverse of [`pext`]: the low bits of `value`, moved to the one bits of `mask`.
pub const fn pdep(value: u64, mask: u64) -> u64 {
    let (mut weight, mut count, mut left) = (0, 0, mask);
    while left != 0 {
        let (place, length) = lowest_run(left);
        let run = (u64::MAX >> (64 - length)) << place;
        weight |= value >> count << place & run;
        count += length;
        left ^= run;
    }
    weight
}

/// Place and number of the lowest one bits of `mask` that are neighbours. The mask must not be 0.
const fn lowest_run(mask: u64) -> (u32, u32) {
    let place = mask.trailing_zeros();
    (place, (mask >> place).trailing_ones())
}

/// The numbers of `width` bits that are packed in `bytes`, a bit string: all that are whole.
///
/// # Panics
/// If the width is not 1 to 64 bits.
pub fn unpack(bytes: &[u8], width: u32) -> Numbers<'_> {
    assert!((1..=64).contains(&width), "a width of {width} bits");
    Numbers {
        bytes,
        taken: 0,
        width,
    }
}

/// An iterator over the numbers of a bit string; see [`unpack`].
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    /// The bytes with bits that were not yet returned.
    bytes: &'a [u8],
    /// Bits of the first byte that were returned.
    taken: u32,
    width: u32,
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let end = self.taken + self.width;
        let rest = self.bytes.get(end as usize / 8..)?;
        if !end.is_multiple_of(8) && rest.is_empty() {
            return None;
        }
        let number = first_bits(self.bytes) >> self.taken;
        (self.bytes, self.taken) = (rest, end % 8);
        Some(number as u64 & (u64::MAX >> (64 - self.width)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let bits = 8 * self.bytes.len() as u128 - u128::from(self.taken);
        let count = (bits / u128::from(self.width)) as usize;
        (count, Some(count))
    }
}

/// The first 128 bits of a bit string, with zeros behind it.
#[inline]
fn first_bits(bytes: &[u8]) -> u128 {
    if let Some(bytes) = bytes.first_chunk() {
        return u128::from_le_bytes(*bytes);
    }
    let mut padded = [0; 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(padded)
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
        number: 0,
        left: 0,
        width,
    }
}

/// An iterator over the bytes of a bit string; see [`pack`].
#[derive(Clone, Debug)]
pub struct Packed<I> {
    numbers: I,
    /// The bits of a number that were not yet returned, from bit 0 up.
    number: u64,
    left: u32,
    width: u32,
}

impl<I: Iterator<Item = u64>> Iterator for Packed<I> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (mut byte, mut filled) = (0, 0);
        while filled < 8 {
            if self.left == 0 {
                let Some(number) = self.numbers.next() else {
                    break;
                };
                (self.number, self.left) = (number, self.width);
            }
            let taken = self.left.min(8 - filled);
            byte |= (self.number & (0xff >> (8 - taken))) << filled;
            self.number >>= taken;
            self.left -= taken;
            filled += taken;
        }
        (filled > 0).then_some(byte as u8)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let bytes = |numbers: usize| {
            let bits = numbers as u128 * u128::from(self.width) + u128::from(self.left);
            usize::try_from(bits.div_ceil(8)).ok()
        };
        let (least, most) = self.numbers.size_hint();
        (bytes(least).unwrap_or(usize::MAX), most.and_then(bytes))
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

    fn ones(mask: u64) -> impl Iterator<Item = u32> {
        (0..64).filter(move |b| mask >> b & 1 == 1)
    }

    /// The loop of section 4.2.
    fn pext_of_the_spec(x: u64, mask: u64) -> u64 {
        ones(mask)
            .zip(0..)
            .fold(0, |r, (b, i)| r | (x >> b & 1) << i)
    }

    /// The loop of section 4.2.
    fn pdep_of_the_spec(r: u64, mask: u64) -> u64 {
        ones(mask)
            .zip(0..)
            .fold(0, |x, (b, i)| x | (r >> i & 1) << b)
    }

    proptest! {
        #[test]
        fn deposits_what_was_extracted(weight: u64, mask: u64) {
            prop_assert_eq!(pdep(pext(weight, mask), mask), weight & mask);
            prop_assert!(pext(weight, mask).checked_shr(mask.count_ones()).unwrap_or(0) == 0);
        }

        #[test]
        fn moves_bits_as_the_spec_says(weight: u64, mask: u64, more: u64) {
            for mask in [mask, mask & more, mask | more, mask & more & weight] {
                prop_assert_eq!(pext(weight, mask), pext_of_the_spec(weight, mask));
                prop_assert_eq!(pdep(weight, mask), pdep_of_the_spec(weight, mask));
            }
        }

        #[test]
        fn unpacks_what_was_packed(
            width in 1u32..=64,
            numbers in proptest::collection::vec(any::<u64>(), 0..40),
        ) {
            let kept = numbers.iter().map(|number| number & (u64::MAX >> (64 - width)));
            let packed: Vec<u8> = pack(numbers.iter().copied(), width).collect();
            prop_assert_eq!(packed.len(), (numbers.len() * width as usize).div_ceil(8));
            let hint = pack(numbers.iter().copied(), width).size_hint();
            prop_assert_eq!(hint, (packed.len(), Some(packed.len())));
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
