//! Conventions of section 2: little-endian numbers and bit strings.

/// The `count` bytes from `at` on, if they are there.
pub(super) fn slice(bytes: &[u8], at: u64, count: u64) -> Option<&[u8]> {
    let begin = usize::try_from(at).ok()?;
    let end = begin.checked_add(usize::try_from(count).ok()?)?;
    bytes.get(begin..end)
}

/// The little-endian number of `count` bytes, at most 8, from `at` on.
pub(super) fn number(bytes: &[u8], at: u64, count: u64) -> Option<u64> {
    let bytes = slice(bytes, at, count)?;
    Some(little_endian(bytes))
}

/// A little-endian number of at most 8 bytes.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Bits `at..at + width` of a bit string, `width` at most 64. Bits past its end are 0.
pub(super) fn bits(string: &[u8], at: u64, width: u32) -> u64 {
    let begin = usize::try_from(at / 8).map_or(string.len(), |byte| byte.min(string.len()));
    // 64 bits from any bit on lie in 9 bytes.
    let bytes = &string[begin..string.len().min(begin + (width as usize + 14) / 8)];
    let window = bytes
        .iter()
        .rev()
        .fold(0u128, |number, &byte| number << 8 | u128::from(byte));
    let mask = (1u128 << width) - 1;
    (window >> (at % 8) & mask) as u64
}

/// The least multiple of `k` that is at least `x`.
pub(super) fn align(x: u128, k: u128) -> u128 {
    x.div_ceil(k) * k
}

/// Section 4.2: puts the low bits of `value` where `mask` has ones.
pub(super) fn pdep(value: u64, mask: u64) -> u64 {
    let (mut rest, mut result) = (value, 0);
    for bit in (0..64).filter(|bit| mask >> bit & 1 == 1) {
        result |= (rest & 1) << bit;
        rest >>= 1;
    }
    result
}

/// Section 4.2 for many values: [`pdep`] of each byte of the value, by its place and its value.
pub(super) struct Spread {
    tables: Vec<[u64; 256]>,
}

impl Spread {
    pub(super) fn new(mask: u64) -> Self {
        let bytes = mask.count_ones().div_ceil(8);
        let table = |byte| std::array::from_fn(|value| pdep((value as u64) << (8 * byte), mask));
        Self {
            tables: (0..bytes).map(table).collect(),
        }
    }

    /// `pdep(value, mask)`.
    pub(super) fn apply(&self, value: u64) -> u64 {
        let bytes = self.tables.iter().enumerate();
        bytes.fold(0, |weight, (i, table)| {
            weight | table[(value >> (8 * i) & 255) as usize]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_from_bit_0_of_the_first_byte_up() {
        assert_eq!(bits(&[0b1010_0110, 0b1], 1, 3), 0b011);
        assert_eq!(bits(&[0b1010_0110, 0b1], 5, 4), 0b1101);
        assert_eq!(bits(&[0xFF; 9], 7, 64), u64::MAX);
        assert_eq!(bits(&[0xFF], 4, 8), 0b1111);
        assert_eq!(bits(&[], 9, 8), 0);
    }

    #[test]
    fn spreads_as_pdep_does() {
        // The example of spec/example.md.
        assert_eq!(pdep(0b1001, 0x8070), 0x8010);
        let spread = Spread::new(0x8070_0FF1);
        assert!((0..1 << 13).all(|value| spread.apply(value) == pdep(value, 0x8070_0FF1)));
    }
}
