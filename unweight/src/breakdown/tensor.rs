//! The stored bits of one tensor.

use unweight_format::layout::{PALETTE_ENTRIES, RECORD_END_BYTES};
use unweight_format::{Dtype, Field, Form, Forms, Palette, Payload, Tensor};

use super::figures::OfTensor;
use super::{FieldKind, Figures, StoredBits};

/// The stored bits of a tensor, field by field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorBreakdown {
    /// The type, and the forms of its fields.
    pub forms: Forms,
    /// Number of weights. A weight of `F4` is two elements, and one of a type of 6 bits is a byte of
    /// packed elements.
    pub weights: u64,
    /// Binary logarithm of the number of weights of a chunk; 0 if no field is coded.
    pub chunk_size_log2: u8,
    /// The fields of the type.
    pub fields: Vec<FieldBreakdown>,
    /// What belongs to no field: plain bits outside of all fields, block checksums, and padding,
    /// with that in front of the payload.
    pub others: StoredBits,
}

/// The stored bits of one field of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldBreakdown {
    /// The field.
    pub field: Field,
    /// What it is.
    pub kind: FieldKind,
    /// Its form.
    pub form: Form,
    /// Shannon entropy of its values in bits per weight; 0 without weights.
    pub entropy_bits: f64,
    /// The palette of a coded field.
    pub palette: Option<Palette>,
    /// The value of a constant field.
    pub constant: Option<u8>,
    /// The bits that are stored for it.
    pub stored: StoredBits,
}

impl TensorBreakdown {
    /// The only tensor of `figures`.
    pub(crate) fn of_only(tensor: &Tensor<'_>, figures: &Figures) -> TensorBreakdown {
        let mut breakdowns = figures.iter(std::iter::once(*tensor));
        let (tensor, figures) = breakdowns.next().expect("the tensor has figures");
        TensorBreakdown::new(&tensor, figures)
    }

    pub(super) fn new(tensor: &Tensor<'_>, figures: OfTensor<'_>) -> TensorBreakdown {
        let payload: &Payload = tensor.payload();
        let (forms, weights) = (payload.forms(), payload.weights());
        let palette_bits = 8 * PALETTE_ENTRIES as u64;
        let mut coded_fields = 0;
        let field = |(number, (field, form)): (usize, (Field, Form))| {
            let mut found = FieldBreakdown {
                field,
                kind: FieldKind::of(forms.dtype(), field),
                form,
                entropy_bits: figures.entropy(number),
                palette: None,
                constant: None,
                stored: StoredBits::default(),
            };
            match form {
                Form::Plain => found.stored.plain = weights * u64::from(field.width()),
                Form::Constant => {
                    found.constant = Some(field.get(figures.constant_bits));
                    found.stored.constants = palette_bits;
                }
                _ => {
                    let (palette, records) = figures.coded(coded_fields);
                    coded_fields += 1;
                    found.palette = Some(palette);
                    found.stored = records;
                    found.stored.palettes = palette_bits;
                    found.stored.record_ends = 8 * RECORD_END_BYTES * payload.chunk_count();
                }
            }
            found
        };
        let fields: Vec<FieldBreakdown> = forms.iter().enumerate().map(field).collect();
        let in_fields: u64 = fields.iter().map(|field| field.stored.plain).sum();
        let mut breakdown = TensorBreakdown {
            forms,
            weights,
            chunk_size_log2: payload.chunk_size_log2(),
            others: StoredBits {
                plain: weights * u64::from(forms.plain_bits()) - in_fields,
                checksums: 8 * payload.block_checksums().length,
                ..StoredBits::default()
            },
            fields,
        };
        // The rest is padding: in front of the payload, of the plain plane, and between the parts.
        breakdown.others.padding = 8 * stored_bytes(tensor) - breakdown.total().sum();
        breakdown
    }

    /// All bits that are stored for the tensor, and for padding in front of it.
    pub fn total(&self) -> StoredBits {
        let mut total = self.others;
        self.fields.iter().for_each(|field| total += field.stored);
        total
    }

    /// Stored bits for each weight; None without weights.
    pub fn bits_per_weight(&self) -> Option<f64> {
        (self.weights > 0).then(|| self.total().sum() as f64 / self.weights as f64)
    }

    /// The entropy of the fields in bits per weight; None without weights.
    pub fn entropy_bits(&self) -> Option<f64> {
        let in_fields: f64 = self.fields.iter().map(|field| field.entropy_bits).sum();
        (self.weights > 0).then(|| f64::from(bits_without_field(self.forms.dtype())) + in_fields)
    }
}

/// The bits of a weight that are in no field.
pub(super) fn bits_without_field(dtype: Dtype) -> u32 {
    let in_fields: u32 = dtype.fields().iter().map(|field| field.width()).sum();
    8 * dtype.weight_bytes() as u32 - in_fields
}

/// The bytes that a tensor takes in a file, with the padding in front of it.
pub(super) fn stored_bytes(tensor: &Tensor<'_>) -> u64 {
    let [before, ..] = tensor.padding();
    before.length + tensor.payload().extent().length
}
