//! Magnitudes of weights, from the counts of their exponents.

use unweight_format::{Dtype, Field};

use super::Magnitudes;
use super::result::OUTLIER_LOG2;
use crate::breakdown::FieldKind;

/// The number of the field that has the whole exponent of a type. None if it has several, or none.
pub(super) fn exponent_field(dtype: Dtype) -> Option<usize> {
    let is_exponent = |field: &Field| FieldKind::of(dtype, *field) == FieldKind::Exponent;
    let mut exponents = (dtype.fields().iter().enumerate()).filter(|(_, field)| is_exponent(field));
    let (number, _) = exponents.next()?;
    exponents.next().is_none().then_some(number)
}

impl Magnitudes {
    /// The magnitudes of weights of this type, whose exponents have these counts. None without
    /// weights that are finite and not 0.
    pub(super) fn of(dtype: Dtype, exponents: &[u64; 256]) -> Option<Magnitudes> {
        let width = dtype.fields()[exponent_field(dtype)?].width();
        let bias = (1_i32 << (width - 1)) - 1;
        let (bias, smallest, has_infinity) = match dtype {
            Dtype::F8E8M0 => (bias, 0, true),
            Dtype::F8E4M3 => (bias, 1, false),
            Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz => (bias + 1, 1, false),
            _ => (bias, 1, true),
        };
        let end = (1 << width) - usize::from(has_infinity);
        let finite = &exponents[smallest..end];
        let total: u64 = finite
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count));
        let largest = finite.iter().rposition(|&count| count > 0)?;
        let mut below = 0_u64;
        let median = finite.iter().position(|&count| {
            below = below.saturating_add(count);
            below >= total.div_ceil(2)
        })?;
        let outliers = finite.iter().skip(median + OUTLIER_LOG2 as usize);
        let log2 = |place: usize| (place + smallest) as i32 - bias;
        Some(Magnitudes {
            median_log2: log2(median),
            largest_log2: log2(largest),
            outliers: outliers.fold(0, |sum, &count| sum.saturating_add(count)),
            not_finite: exponents[end..1 << width]
                .iter()
                .fold(0, |sum, &count| sum.saturating_add(count)),
            zeros: exponents[..smallest]
                .iter()
                .fold(0, |sum, &count| sum.saturating_add(count)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_sixteen_times_the_median() {
        let mut counts = [0; 256];
        for (exponent, count) in [(0, 3), (120, 5), (121, 6), (124, 1), (125, 2), (255, 4)] {
            counts[exponent] = count;
        }
        let found = Magnitudes::of(Dtype::Bf16, &counts).unwrap();
        assert_eq!(found.median_log2, 121 - 127);
        assert_eq!(found.largest_log2, 125 - 127);
        assert_eq!((found.outliers, found.not_finite, found.zeros), (2, 4, 3));
    }

    #[test]
    fn zeros_alone_have_no_magnitude() {
        let mut counts = [0; 256];
        counts[0] = 2;
        assert_eq!(Magnitudes::of(Dtype::Bf16, &counts), None);
        assert_eq!(exponent_field(Dtype::F64), None);
        assert_eq!(exponent_field(Dtype::I8), None);
    }
}
