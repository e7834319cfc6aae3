//! Sums over tensors.

use std::ops::AddAssign;

use unweight_format::{Dtype, Field};

use super::{FieldKind, StoredBits, TensorBreakdown};

/// Sums over tensors, or over one field of tensors. A valid file has fewer bytes than 2^64, but it
/// may restore to more: sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Totals {
    /// Number of tensors.
    pub tensors: u64,
    /// Number of weights.
    pub weights: u64,
    /// Bits of all weights, or of a field in all weights.
    pub original_bits: u64,
    /// The bits that are stored for them.
    pub stored: StoredBits,
    /// The bits that their entropy amounts to.
    entropy: f64,
}

/// Sums over one field of all tensors of a type.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldTotals {
    /// The type.
    pub dtype: Dtype,
    /// The field. None for what belongs to no field.
    pub field: Option<Field>,
    /// The bits of a weight that are in the field, or in none.
    pub width: u32,
    /// The sums.
    pub totals: Totals,
}

impl Totals {
    /// Stored bits for each weight; 0 without weights.
    pub fn bits_per_weight(&self) -> f64 {
        self.per_weight(self.stored.sum() as f64)
    }

    /// The mean entropy of the fields in bits per weight; 0 without weights. The entropies are those
    /// of single tensors.
    pub fn entropy_bits(&self) -> f64 {
        self.per_weight(self.entropy)
    }

    /// A number of bits for each weight; 0 without weights.
    pub fn per_weight(&self, bits: f64) -> f64 {
        match self.weights {
            0 => 0.0,
            weights => bits / weights as f64,
        }
    }

    pub(super) fn of(tensor: &TensorBreakdown) -> Totals {
        let width = 8 * tensor.forms.dtype().weight_bytes() as u32;
        let entropy = tensor.entropy_bits().unwrap_or(0.0);
        Totals::of_weights(tensor.weights, width, entropy, tensor.total())
    }

    pub(super) fn of_weights(weights: u64, width: u32, entropy: f64, stored: StoredBits) -> Totals {
        Totals {
            tensors: 1,
            weights,
            original_bits: weights.saturating_mul(width.into()),
            stored,
            entropy: weights as f64 * entropy,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.tensors = self.tensors.saturating_add(other.tensors);
        self.weights = self.weights.saturating_add(other.weights);
        self.original_bits = self.original_bits.saturating_add(other.original_bits);
        self.stored += other.stored;
        self.entropy += other.entropy;
    }
}

impl FieldTotals {
    /// The name of the field, such as `exponent [14..7]`; `others` for what belongs to no field.
    pub fn name(&self) -> String {
        match self.field {
            Some(field) => {
                let kind = FieldKind::of(self.dtype, field);
                format!("{kind} [{}..{}]", field.high(), field.low())
            }
            None => "others".to_owned(),
        }
    }
}
