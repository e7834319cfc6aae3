//! How often each exponent occurs.

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
    /// Counts the exponents of these weights, on top of what is counted.
    pub fn add_weights(&mut self, weights: &[bf16]) {
        for &weight in weights {
            self.0[usize::from(exponent(weight))] += 1;
        }
    }

    /// Counts these exponents, on top of what is counted.
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

    /// How often `exponent` occurs.
    pub fn of(&self, exponent: u8) -> u64 {
        self.0[usize::from(exponent)]
    }

    /// How many weights were counted.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The counts by exponent.
    pub fn as_array(&self) -> &[u64; 256] {
        &self.0
    }

    /// The counts by exponent, for whoever counts faster.
    pub(crate) fn as_array_mut(&mut self) -> &mut [u64; 256] {
        &mut self.0
    }

    /// Shannon entropy of the exponents, in bits a weight; 0 for no weights.
    pub fn entropy_bits(&self) -> f64 {
        let total = self.total() as f64;
        self.0
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| count as f64 / total * (total / count as f64).log2())
            // Not `sum`, which gives -0 for nothing.
            .fold(0.0, |sum, bits| sum + bits)
    }
}
