//! BF16 weights as exponents and sign-mantissa bytes.

/// The bits of the exponent.
pub(super) const EXPONENT: u64 = 0x7f80;

/// The weight with this sign-mantissa byte and exponent.
#[inline(always)]
pub(super) const fn weight(sign_mantissa: u8, exponent: u8) -> u16 {
    let sign_mantissa = sign_mantissa as u16;
    (sign_mantissa & 0x80) << 8 | (exponent as u16) << 7 | sign_mantissa & 0x7f
}
