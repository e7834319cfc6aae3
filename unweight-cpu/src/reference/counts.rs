//! Counts of exponents.

use half::bf16;
use unweight_format::exponent;

/// The counts *h* of section 11, by exponent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExponentCounts([u64; 256]);

impl Default for ExponentCounts {
    fn default() -> Self {
        ExponentCounts([0; 256])
    }
}

impl ExponentCounts {
    /// Adds the exponents of these weights to the counts.
    pub fn add_weights(&mut self, weights: &[bf16]) {
        for &weight in weights {
            self.0[usize::from(exponent(weight))] += 1;
        }
    }

    /// Adds these exponents to the counts.
    pub fn add_exponents(&mut self, exponents: &[u8]) {
        for &exponent in exponents {
            self.0[usize::from(exponent)] += 1;
        }
    }

    /// Adds the counts of another part of the same tensor.
    pub fn merge(&mut self, other: &ExponentCounts) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// The number of occurrences of `exponent`.
    pub fn of(&self, exponent: u8) -> u64 {
        self.0[usize::from(exponent)]
    }

    /// The number of counted weights.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The counts by exponent.
    pub fn as_array(&self) -> &[u64; 256] {
        &self.0
    }

    /// Mutable counts by exponent, for faster counting loops.
    pub(crate) fn as_array_mut(&mut self) -> &mut [u64; 256] {
        &mut self.0
    }

    /// Shannon entropy of the exponents in bits per weight, or 0 without weights.
    pub fn entropy_bits(&self) -> f64 {
        let total = self.total() as f64;
        self.0
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| count as f64 / total * (total / count as f64).log2())
            // `sum` is not used because it returns -0 for an empty iterator.
            .fold(0.0, |sum, bits| sum + bits)
    }
}
