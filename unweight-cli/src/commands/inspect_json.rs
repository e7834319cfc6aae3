//! Fields and stored bits as `unweight inspect --json` prints them.

use serde::Serialize;
use unweight::breakdown::{FieldBreakdown, FieldKind, FieldTotals, StoredBits};
use unweight_format::{Dtype, Field, Form, Palette};

/// Numbers of bits by purpose.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Stored(#[serde(with = "Purposes")] pub(super) StoredBits);

/// The keys of [`StoredBits`].
#[derive(Serialize)]
#[serde(remote = "StoredBits")]
struct Purposes {
    plain: u64,
    codes: u64,
    verbatim: u64,
    patches: u64,
    lane_ends: u64,
    record_headers: u64,
    record_ends: u64,
    palettes: u64,
    constants: u64,
    checksums: u64,
    padding: u64,
}

/// One field of a tensor.
#[derive(Serialize)]
pub(super) struct FieldRow {
    /// Kind of the field: `exponent`, `mantissa` or `bits`.
    field: &'static str,
    /// The bits of the field in a weight.
    #[serde(flatten)]
    bits: Field,
    form: Form,
    /// Entropy in bits per weight.
    entropy_bits: f64,
    /// The palette of a coded field.
    palette: Option<Palette>,
    /// The value of a constant field.
    constant: Option<u8>,
    stored_bits: Stored,
}

/// Sums over one field of all tensors of a type, or over what is stored for no field of it.
#[derive(Serialize)]
pub(super) struct FieldSum {
    pub(super) dtype: Dtype,
    /// Kind of the field: `exponent`, `mantissa`, `bits` or `others`.
    field: &'static str,
    /// The name of the field, such as `exponent [14..7]`.
    pub(super) name: String,
    /// The bits of a weight that belong to it.
    pub(super) width: u32,
    pub(super) weights: u64,
    /// Mean of the tensors' entropies in bits per weight.
    pub(super) entropy_bits: f64,
    pub(super) bits_per_weight: f64,
    stored_bits: Stored,
    #[serde(skip)]
    pub(super) bytes: u64,
}

impl FieldRow {
    pub(super) fn of(field: &FieldBreakdown) -> FieldRow {
        FieldRow {
            field: field.kind.name(),
            bits: field.field,
            form: field.form,
            entropy_bits: field.entropy_bits,
            palette: field.palette,
            constant: field.constant,
            stored_bits: Stored(field.stored),
        }
    }
}

impl FieldSum {
    pub(super) fn of(sum: &FieldTotals) -> FieldSum {
        let kind = sum.field.map(|field| FieldKind::of(sum.dtype, field));
        FieldSum {
            dtype: sum.dtype,
            field: kind.map_or("others", FieldKind::name),
            name: sum.name(),
            width: sum.width,
            weights: sum.totals.weights,
            entropy_bits: sum.totals.entropy_bits(),
            bits_per_weight: sum.totals.bits_per_weight(),
            stored_bits: Stored(sum.totals.stored),
            bytes: sum.totals.stored.sum().div_ceil(8),
        }
    }
}
