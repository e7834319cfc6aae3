//! A weight and its two parts (section 2, and section 7 step 7).

use half::bf16;

/// The exponent byte `EEEEEEEE` of a weight.
#[inline]
pub const fn exponent(weight: bf16) -> u8 {
    (weight.to_bits() >> 7) as u8
}

/// The sign-mantissa byte `S MMMMMMM` of a weight.
#[inline]
pub const fn sign_mantissa(weight: bf16) -> u8 {
    let bits = weight.to_bits();
    ((bits >> 8) & 0x80 | bits & 0x7f) as u8
}

/// The weight with these parts.
#[inline]
pub const fn weight(sign_mantissa: u8, exponent: u8) -> bf16 {
    let sign_mantissa = sign_mantissa as u16;
    bf16::from_bits((sign_mantissa & 0x80) << 8 | (exponent as u16) << 7 | sign_mantissa & 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_joins_every_bf16_pattern() {
        for bits in 0..=u16::MAX {
            let whole = bf16::from_bits(bits);
            let again = weight(sign_mantissa(whole), exponent(whole));
            assert_eq!(again.to_bits(), bits);
        }
    }

    #[test]
    fn parts_are_where_the_spec_says() {
        let minus_one_and_a_half = bf16::from_bits(0xbfc0);
        assert_eq!(exponent(minus_one_and_a_half), 0b0111_1111);
        assert_eq!(sign_mantissa(minus_one_and_a_half), 0b1100_0000);
    }
}
