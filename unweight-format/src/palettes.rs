//! The palettes of a tensor (section 3.5): what a decoder needs of its fields beside the records.

use crate::dtype::Dtype;
use crate::error::Rule;
use crate::form::{Encoding, Form, Forms};
use crate::layout::{FIELDS, PALETTE_ENTRIES};
use crate::palette::Palette;

/// The forms of a tensor's fields, the palettes of those that are coded, and the values of those
/// that are constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palettes {
    forms: Forms,
    /// By the number of the field; of coded fields alone.
    palettes: [Option<Palette>; FIELDS],
    /// The values of all constant fields, at their places in a weight.
    constant_bits: u64,
}

impl Palettes {
    /// The palettes of a raw tensor, which has none.
    pub const fn raw(dtype: Dtype) -> Palettes {
        Palettes {
            forms: Forms::raw(dtype),
            palettes: [None; FIELDS],
            constant_bits: 0,
        }
    }

    /// These, but with field `number` coded.
    ///
    /// # Errors
    /// `form-field` as [`Forms::with`]; `palette-values` if the palette is that of a field of
    /// another width.
    pub fn with_coded(
        self,
        number: usize,
        encoding: Encoding,
        palette: Palette,
    ) -> Result<Palettes, Rule> {
        let mut changed = self.with(number, encoding.form())?;
        let field = self.forms.dtype().fields()[number];
        if field.width() != palette.width() {
            return Err(Rule::PaletteValues);
        }
        changed.palettes[number] = Some(palette);
        Ok(changed)
    }

    /// These, but with field `number` constant.
    ///
    /// # Errors
    /// `form-field` as [`Forms::with`]; `palette-values` if the field cannot have the value.
    pub fn with_constant(self, number: usize, value: u8) -> Result<Palettes, Rule> {
        let mut changed = self.with(number, Form::Constant)?;
        let field = self.forms.dtype().fields()[number];
        if u32::from(value) >= 1 << field.width() {
            return Err(Rule::PaletteValues);
        }
        changed.constant_bits = field.put(changed.constant_bits, value);
        Ok(changed)
    }

    /// These with another form of a field, which the type has if the form is not plain, and without
    /// what was stored for it.
    fn with(self, number: usize, form: Form) -> Result<Palettes, Rule> {
        let mut changed = self;
        changed.forms = self.forms.with(number, form)?;
        changed.palettes[number] = None;
        let field = self.forms.dtype().fields()[number];
        changed.constant_bits = field.put(changed.constant_bits, 0);
        Ok(changed)
    }

    /// The forms.
    pub const fn forms(&self) -> Forms {
        self.forms
    }

    /// The palette of coded field `number`, counted from 0 in the order of fields.
    pub fn coded(&self, number: usize) -> Option<&Palette> {
        self.palettes[self.forms.coded_field(number)?.field_number].as_ref()
    }

    /// The values of all constant fields at their places in a weight; other bits are zero. A weight
    /// is this, `pdep` of its plain value, and the values of its coded fields, together.
    pub const fn constant_bits(&self) -> u64 {
        self.constant_bits
    }

    /// The palette of each field that is not plain, in the order of fields, as the payload has it.
    pub fn stored(&self) -> impl Iterator<Item = [u8; PALETTE_ENTRIES]> + '_ {
        let fields = self.forms.iter().zip(&self.palettes);
        fields.filter_map(|((field, form), palette)| match (form, palette) {
            (Form::Constant, _) => {
                let mut stored = [0; PALETTE_ENTRIES];
                stored[0] = field.get(self.constant_bits);
                Some(stored)
            }
            (_, Some(palette)) => Some(*palette.padded()),
            (_, None) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bf16() -> Palettes {
        Palettes::raw(Dtype::Bf16)
    }

    #[test]
    fn are_stored_for_coded_and_constant_fields_in_the_order_of_fields() {
        let exponents = Palette::lowest(8);
        let palettes = bf16()
            .with_constant(2, 9)
            .and_then(|palettes| palettes.with_coded(0, Encoding::Palette, exponents))
            .unwrap();
        let mut constant = [0; 16];
        constant[0] = 9;
        assert!(palettes.stored().eq([*exponents.padded(), constant]));
        assert_eq!(palettes.coded(0), Some(&exponents));
        assert_eq!(palettes.coded(1), None);
        assert_eq!(palettes.constant_bits(), 0x9);
        assert_eq!(palettes.forms().bits(), 0x302);
    }

    #[test]
    fn a_field_keeps_only_its_last_form() {
        let coded =
            |palettes: Palettes| palettes.with_coded(1, Encoding::Huffman, Palette::lowest(3));
        let constant = |palettes: Palettes| palettes.with_constant(1, 5);
        let (once, twice) = (coded(bf16()), constant(bf16()).and_then(coded));
        assert_eq!(once, twice);
        let (once, twice) = (constant(bf16()), coded(bf16()).and_then(constant));
        assert_eq!(once, twice);
    }

    #[test]
    fn refuses_what_a_field_cannot_have() {
        let huffman = Encoding::Huffman;
        let refused = bf16().with_coded(0, huffman, Palette::lowest(4));
        assert_eq!(refused, Err(Rule::PaletteValues));
        let refused = bf16().with_coded(1, Encoding::Palette, Palette::lowest(3));
        assert_eq!(refused, Err(Rule::FormField));
        assert_eq!(bf16().with_constant(1, 8), Err(Rule::PaletteValues));
        for number in [3, 7, 8, usize::MAX] {
            assert_eq!(bf16().with_constant(number, 0), Err(Rule::FormField));
        }
    }
}
