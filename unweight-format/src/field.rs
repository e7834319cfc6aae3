//! Fields of a weight (sections 2 and 4.1).

/// A run of 1 to 8 bits of a weight. [`Dtype::fields`](crate::Dtype::fields) has those of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Field {
    high: u8,
    low: u8,
}

impl Field {
    /// The field of bits `high` to `low`, both included. It is evaluated for constants only.
    pub(crate) const fn bits(high: u8, low: u8) -> Field {
        assert!(low <= high && high < 64 && high - low < 8);
        Field { high, low }
    }

    /// The most significant bit.
    pub const fn high(self) -> u32 {
        self.high as u32
    }

    /// The least significant bit.
    pub const fn low(self) -> u32 {
        self.low as u32
    }

    /// Number of bits, 1 to 8.
    pub const fn width(self) -> u32 {
        self.high() - self.low() + 1
    }

    /// The bits of the field in a weight.
    pub const fn mask(self) -> u64 {
        (u64::MAX >> (64 - self.width())) << self.low
    }

    /// The value of the field in `weight`.
    pub const fn get(self, weight: u64) -> u8 {
        ((weight & self.mask()) >> self.low) as u8
    }

    /// `weight` with this value of the field. Bits of `value` above the field's width are dropped.
    pub const fn put(self, weight: u64, value: u8) -> u64 {
        weight & !self.mask() | (value as u64) << self.low & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_replaces_its_own_bits_alone() {
        let exponent = Field::bits(14, 7);
        assert_eq!((exponent.width(), exponent.mask()), (8, 0x7f80));
        let minus_one_and_a_half = 0xbfc0;
        assert_eq!(exponent.get(minus_one_and_a_half), 0x7f);
        assert_eq!(exponent.put(minus_one_and_a_half, 0x80), 0xc040);

        let top = Field::bits(63, 56);
        assert_eq!(top.mask(), 0xff << 56);
        assert_eq!(top.get(top.put(0, 0xa5)), 0xa5);

        let narrow = Field::bits(3, 1);
        assert_eq!(narrow.put(0, 0xff), 0b1110);
    }
}
