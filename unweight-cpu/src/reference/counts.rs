//! Counts of the values of a field.

use unweight_format::{Field, bits};

/// The counts *h* of section 11: how often each value of a field occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueCounts([u64; 256]);

impl Default for ValueCounts {
    fn default() -> Self {
        ValueCounts([0; 256])
    }
}

impl ValueCounts {
    /// Adds the values of `field` of these weights, which are little-endian numbers of
    /// `weight_bytes` bytes, to the counts.
    pub fn add_weights(&mut self, field: Field, weight_bytes: usize, weights: &[u8]) {
        for weight in bits::unpack(weights, 8 * weight_bytes as u32) {
            self.0[usize::from(field.get(weight))] += 1;
        }
    }

    /// Adds these values to the counts.
    pub fn add_values(&mut self, values: &[u8]) {
        for &value in values {
            self.0[usize::from(value)] += 1;
        }
    }

    /// Adds a value so many times.
    pub(crate) fn add_times(&mut self, value: u8, times: u64) {
        self.0[usize::from(value)] += times;
    }

    /// Adds the counts of another part of the same tensor.
    pub fn merge(&mut self, other: &ValueCounts) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// The number of occurrences of `value`.
    pub fn of(&self, value: u8) -> u64 {
        self.0[usize::from(value)]
    }

    /// The number of counted weights.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The value that all counted weights have, if there is one.
    pub fn only_value(&self) -> Option<u8> {
        let mut values = (0..=u8::MAX).filter(|&value| self.of(value) > 0);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// The counts by value.
    pub fn as_array(&self) -> &[u64; 256] {
        &self.0
    }

    /// Mutable counts by value, for faster counting loops.
    pub(crate) fn as_array_mut(&mut self) -> &mut [u64; 256] {
        &mut self.0
    }

    /// Shannon entropy of the values in bits per weight, or 0 without weights.
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
