//! Decisions of the deterministic encoder for a whole tensor (sections 11.3 and 11.5).

use unweight_format::layout::{FIELDS, NARROW_BITS};
use unweight_format::{Code, CodedField, Encoding, Form, Forms, Palette, Palettes};

use super::{ValueCounts, choose_code, choose_palette};

/// Encoding plan of a tensor: forms, palettes, constants, and the code of each coded field.
#[derive(Clone, Copy, Debug)]
pub struct TensorPlan {
    palettes: Palettes,
    /// By the number of the coded field.
    fields: [Option<FieldPlan>; FIELDS],
}

/// Encoding plan of a coded field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPlan {
    pub(crate) coded: CodedField,
    pub(crate) palette: Palette,
    pub(crate) code: Code,
}

impl TensorPlan {
    /// The plan for a tensor with these forms. `constant_bits` has the values of constant fields at
    /// their places in a weight, and `counts` the counts of all values of each coded field, in the
    /// order of fields.
    ///
    /// # Panics
    /// If there are not as many counts as coded fields, or a counted value is none of its field.
    pub fn new(forms: Forms, constant_bits: u64, counts: &[ValueCounts]) -> TensorPlan {
        assert_eq!(
            counts.len(),
            forms.coded_count(),
            "counts of each coded field"
        );
        let mut palettes = Palettes::raw(forms.dtype());
        for (number, (field, form)) in forms.iter().enumerate() {
            if form == Form::Constant {
                palettes = palettes
                    .with_constant(number, field.get(constant_bits))
                    .expect("a value of the field");
            }
        }
        let mut fields = [None; FIELDS];
        for (coded, counts) in forms.coded().zip(counts) {
            let palette = choose_palette(counts, coded.field.width());
            palettes = palettes
                .with_coded(coded.field_number, coded.encoding, palette)
                .expect("the forms are valid, and the palette has the field's width");
            fields[coded.number] = Some(FieldPlan {
                coded,
                palette,
                code: choose_code(counts, counts.total(), &palette),
            });
        }
        TensorPlan { palettes, fields }
    }

    /// The forms, with the palettes and constants that the payload has.
    pub const fn palettes(&self) -> &Palettes {
        &self.palettes
    }

    /// The forms.
    pub const fn forms(&self) -> Forms {
        self.palettes.forms()
    }

    /// The plan of coded field `number`, counted from 0 in the order of fields.
    pub fn field(&self, number: usize) -> Option<&FieldPlan> {
        self.fields.get(number)?.as_ref()
    }

    /// The plans of the coded fields.
    pub fn fields(&self) -> impl Iterator<Item = &FieldPlan> {
        self.fields.iter().flatten()
    }
}

impl FieldPlan {
    /// The field and its form.
    pub const fn coded(&self) -> &CodedField {
        &self.coded
    }

    /// The field's palette.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The field's code. A huffman record uses it unless the chunk gains enough by a code of its
    /// own.
    pub const fn code(&self) -> &Code {
        &self.code
    }
}

/// The forms of a tensor that is transcoded to this encoding (section 11.9): that of coded fields
/// of more than 4 bits changes.
pub fn transcoded_forms(forms: Forms, encoding: Encoding) -> Forms {
    forms
        .coded()
        .filter(|coded| coded.field.width() > NARROW_BITS)
        .fold(forms, |forms, coded| {
            let changed = forms.with(coded.field_number, encoding.form());
            changed.expect("a wide field can have both forms")
        })
}
