//! Weights of any type, field by field.

use unweight_format::{Dtype, Field};
use unweight_testkit::Random;

/// Weights whose fields have all distributions in turn, from number `first` on, and whose other
/// bits are random.
pub(crate) fn weights_of_fields(dtype: Dtype, weights: usize, first: usize) -> Vec<u8> {
    let mut random = Random::new((weights + first) as u64);
    let mut data = vec![];
    for number in 0..weights {
        let mut weight = random.bits() & dtype.weight_mask();
        for (which, &field) in (first..).zip(dtype.fields()) {
            let values = VALUES[(which * 5 + which / 7) % VALUES.len()];
            weight = field.put(weight, values.of(field, number, weights, &mut random));
        }
        data.extend_from_slice(&weight.to_le_bytes()[..dtype.weight_bytes()]);
    }
    data
}

/// The number of distributions.
pub(crate) const DISTRIBUTIONS_OF_FIELDS: usize = VALUES.len();

/// Distributions of a field's values.
#[derive(Clone, Copy, Debug)]
enum Values {
    Uniform,
    /// Each value is half as frequent as the one before.
    Skewed,
    /// Skewed, with a few of any value.
    Patched,
    One,
    /// One value, and another in the last weight.
    OneButLast,
    /// One value, and another in one weight of 300.
    MostlyOne,
    /// Skewed, but uniform in the last twentieth, whose records are verbatim.
    Drifting,
}

const VALUES: [Values; 7] = [
    Values::Uniform,
    Values::Skewed,
    Values::Patched,
    Values::One,
    Values::OneButLast,
    Values::MostlyOne,
    Values::Drifting,
];

impl Values {
    /// The value of a field in weight `number` of `weights`.
    fn of(self, field: Field, number: usize, weights: usize, random: &mut Random) -> u8 {
        let mask = (1u64 << field.width()) - 1;
        let skewed = |bits: u64| u64::from(bits.trailing_zeros()) + 3;
        let value = match self {
            Values::Uniform => random.bits(),
            Values::Skewed => skewed(random.bits()),
            Values::Patched if random.below(100) == 0 => random.bits(),
            Values::Drifting if 20 * number > 19 * weights => random.bits(),
            Values::Patched | Values::Drifting => skewed(random.bits()),
            Values::OneButLast if number + 1 == weights => 6,
            Values::MostlyOne if random.below(300) == 0 => 1,
            Values::One | Values::OneButLast | Values::MostlyOne => 5,
        };
        (value & mask) as u8
    }
}
