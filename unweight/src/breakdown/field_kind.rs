//! What the fields of a type are.

use std::fmt;
use std::ops::RangeInclusive;

use unweight_format::{Dtype, Field};

/// What a field of a type is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// The exponent of a floating-point number.
    Exponent,
    /// The mantissa of a floating-point number.
    Mantissa,
    /// An integer, or several numbers.
    Bits,
}

impl FieldKind {
    /// The kind of a field of this type.
    pub fn of(dtype: Dtype, field: Field) -> FieldKind {
        let exponents = exponents(dtype);
        if exponents.is_empty() {
            return FieldKind::Bits;
        }
        match exponents.iter().any(|bits| bits.contains(&field.low())) {
            true => FieldKind::Exponent,
            false => FieldKind::Mantissa,
        }
    }

    /// The kind in words.
    pub const fn name(self) -> &'static str {
        match self {
            FieldKind::Exponent => "exponent",
            FieldKind::Mantissa => "mantissa",
            FieldKind::Bits => "bits",
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The bits of the exponents in a weight; none for a type whose fields are not those of one
/// floating-point number each.
fn exponents(dtype: Dtype) -> &'static [RangeInclusive<u32>] {
    match dtype {
        Dtype::F8E5M2 | Dtype::F8E5M2Fnuz => &[2..=6],
        Dtype::F8E4M3 | Dtype::F8E4M3Fnuz => &[3..=6],
        Dtype::F8E8M0 => &[0..=7],
        Dtype::F16 => &[10..=14],
        Dtype::Bf16 => &[7..=14],
        Dtype::F32 => &[23..=30],
        Dtype::F64 => &[52..=62],
        Dtype::C64 => &[23..=30, 55..=62],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_floats_are_exponents_and_mantissas_and_lie_in_one_of_both() {
        let kinds = |dtype: Dtype| -> Vec<&str> {
            let fields = dtype.fields().iter();
            fields
                .map(|&field| FieldKind::of(dtype, field).name())
                .collect()
        };
        assert_eq!(kinds(Dtype::Bf16), ["exponent", "mantissa", "mantissa"]);
        assert_eq!(kinds(Dtype::F8E4M3), ["exponent", "mantissa"]);
        assert_eq!(kinds(Dtype::F8E8M0), ["exponent"]);
        assert_eq!(kinds(Dtype::F64)[..3], ["exponent", "exponent", "mantissa"]);
        assert_eq!(
            kinds(Dtype::C64)[3..6],
            ["mantissa", "exponent", "mantissa"]
        );
        assert_eq!(kinds(Dtype::F4), ["bits", "bits"]);
        for &dtype in Dtype::ALL {
            for field in dtype.fields() {
                let is_exponent = |bit| exponents(dtype).iter().any(|bits| bits.contains(&bit));
                let ends = [field.low(), field.high()].map(is_exponent);
                assert_eq!(ends[0], ends[1], "{dtype} {field:?}");
            }
        }
    }
}
