//! Forms of fields (section 4.2).

use core::fmt;

use crate::dtype::Dtype;
use crate::error::Rule;
use crate::field::Field;
use crate::layout::{FIELDS, FORM_BITS, NARROW_BITS};

/// The kind of the records of a coded field that are not verbatim.
///
/// These are the two encodings of the deterministic encoder, which never changes (section 12), so a
/// match needs no further arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Encoding {
    /// Values in a prefix code, for small files (section 5.2).
    Huffman,
    /// Values as 4-bit palette indices, for fast decoding (section 5.3).
    Palette,
}

/// The form of a field in a tensor (section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Form {
    /// Its bits, in the plain plane.
    Plain,
    /// A palette, and records of kind huffman or verbatim.
    Huffman,
    /// A palette, and records of kind palette or verbatim.
    Palette,
    /// One value, which all weights have.
    Constant,
}

impl Form {
    /// The form with this code.
    pub const fn from_code(code: u8) -> Option<Form> {
        match code {
            0 => Some(Form::Plain),
            1 => Some(Form::Huffman),
            2 => Some(Form::Palette),
            3 => Some(Form::Constant),
            _ => None,
        }
    }

    /// The form's code in a directory entry.
    pub const fn code(self) -> u8 {
        match self {
            Form::Plain => 0,
            Form::Huffman => 1,
            Form::Palette => 2,
            Form::Constant => 3,
        }
    }

    /// The form's name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::Huffman => "huffman",
            Form::Palette => "palette",
            Form::Constant => "constant",
        }
    }

    /// The encoding of a coded field.
    pub const fn encoding(self) -> Option<Encoding> {
        match self {
            Form::Huffman => Some(Encoding::Huffman),
            Form::Palette => Some(Encoding::Palette),
            Form::Plain | Form::Constant => None,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Encoding {
    /// The encoding's name in messages and JSON.
    pub const fn name(self) -> &'static str {
        self.form().name()
    }

    /// The form of a field with this encoding.
    pub const fn form(self) -> Form {
        match self {
            Encoding::Huffman => Form::Huffman,
            Encoding::Palette => Form::Palette,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A field with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedField {
    /// Its number among the tensor's coded fields.
    pub number: usize,
    /// Its number among the fields of the type.
    pub field_number: usize,
    /// The field.
    pub field: Field,
    /// Huffman or palette.
    pub encoding: Encoding,
}

/// The forms of all fields of a tensor, valid for its type.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forms {
    dtype: Dtype,
    /// 4 bits for each field, as a directory entry has them.
    bits: u32,
}

/// One bit for each form.
const EACH: u32 = 0x1111_1111;

impl Forms {
    /// The form plain for all fields: the tensor is raw.
    pub const fn raw(dtype: Dtype) -> Forms {
        Forms { dtype, bits: 0 }
    }

    /// The forms in a directory entry.
    ///
    /// # Errors
    /// `form-unknown` or `form-field`, with the number of the first field with a bad form.
    pub fn from_bits(dtype: Dtype, bits: u32) -> Result<Forms, (Rule, usize)> {
        let mut forms = Forms::raw(dtype);
        for number in 0..FIELDS {
            let code = (bits >> (FORM_BITS * number as u32) & 15) as u8;
            let form = Form::from_code(code).ok_or((Rule::FormUnknown, number))?;
            forms = forms.with(number, form).map_err(|rule| (rule, number))?;
        }
        Ok(forms)
    }

    /// The forms as a directory entry has them.
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// These forms, but `form` for field `number`.
    ///
    /// # Errors
    /// `form-field`, if the type has no such field and the form is not plain, or if the form is
    /// palette and the field has at most 4 bits.
    pub fn with(self, number: usize, form: Form) -> Result<Forms, Rule> {
        match (self.dtype.fields().get(number), form) {
            (None, Form::Plain) => return Ok(self),
            (None, _) => return Err(Rule::FormField),
            (Some(field), Form::Palette) if field.width() <= NARROW_BITS => {
                return Err(Rule::FormField);
            }
            (Some(_), _) => {}
        }
        let shift = FORM_BITS * number as u32;
        let others = self.bits & !(15 << shift);
        Ok(Forms {
            bits: others | u32::from(form.code()) << shift,
            ..self
        })
    }

    /// The type.
    pub const fn dtype(self) -> Dtype {
        self.dtype
    }

    /// The form of field `number`; plain if the type does not have it.
    pub const fn form(self, number: usize) -> Form {
        if number >= FIELDS {
            return Form::Plain;
        }
        match Form::from_code((self.bits >> (FORM_BITS * number as u32) & 15) as u8) {
            Some(form) => form,
            None => Form::Plain,
        }
    }

    /// The fields of the type with their forms.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (Field, Form)> {
        let fields = self.dtype.fields().iter().enumerate();
        fields.map(move |(number, &field)| (field, self.form(number)))
    }

    /// The coded fields.
    pub fn coded(self) -> impl Iterator<Item = CodedField> + Clone {
        (0..self.coded_count()).filter_map(move |number| self.coded_field(number))
    }

    /// Coded field `number`, counted from 0 in the order of fields.
    pub fn coded_field(self, number: usize) -> Option<CodedField> {
        let mut left = self.coded_bits();
        for _ in 0..number.min(FIELDS) {
            left &= left.wrapping_sub(1);
        }
        let field_number = (left.trailing_zeros() / FORM_BITS) as usize;
        Some(CodedField {
            number,
            field_number,
            field: *self.dtype.fields().get(field_number)?,
            encoding: self.form(field_number).encoding()?,
        })
    }

    /// Number of coded fields, *q*.
    pub const fn coded_count(self) -> usize {
        self.coded_bits().count_ones() as usize
    }

    /// Number of fields whose form is not plain, *m*.
    pub const fn palette_count(self) -> usize {
        ((self.bits | self.bits >> 1) & EACH).count_ones() as usize
    }

    /// Whether a field is coded.
    pub const fn is_coded(self) -> bool {
        self.coded_bits() != 0
    }

    /// Whether all fields are plain.
    pub const fn is_raw(self) -> bool {
        self.bits == 0
    }

    /// Whether the exponent of a BF16 tensor is coded, and all else plain. Codecs have faster code
    /// for these forms, which most trained BF16 weights get.
    pub const fn is_bf16_exponent(self) -> bool {
        matches!(self.dtype, Dtype::Bf16)
            && self.form(0).encoding().is_some()
            && self.palette_count() == 1
    }

    /// The plain bits of a weight, *M* (section 4.2).
    pub const fn plain_mask(self) -> u64 {
        let fields = self.dtype.fields();
        let mut mask = self.dtype.weight_mask();
        let mut number = 0;
        while number < fields.len() {
            if self.bits >> (FORM_BITS * number as u32) & 15 != 0 {
                mask &= !fields[number].mask();
            }
            number += 1;
        }
        mask
    }

    /// Number of plain bits of a weight, *W*, at least 1.
    pub const fn plain_bits(self) -> u32 {
        self.plain_mask().count_ones()
    }

    /// The lowest bit of each coded field's form.
    const fn coded_bits(self) -> u32 {
        // Huffman is 0b01 and palette 0b10; plain is 0b00 and constant 0b11.
        (self.bits ^ self.bits >> 1) & EACH
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.dtype)?;
        f.debug_list()
            .entries(self.iter().map(|(_, form)| form))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_to_their_form() {
        for code in 0..=u8::MAX {
            match Form::from_code(code) {
                Some(form) => assert_eq!(form.code(), code),
                None => assert!(code > 3),
            }
        }
    }

    #[test]
    fn counts_the_fields_of_each_form() {
        let forms = Forms::from_bits(Dtype::F32, 0x100_3011).unwrap_err();
        assert_eq!(forms, (Rule::FormField, 6));
        let forms = Forms::from_bits(Dtype::F32, 0x2_3011).unwrap();
        let of_fields = [
            Form::Huffman,
            Form::Huffman,
            Form::Plain,
            Form::Constant,
            Form::Palette,
            Form::Plain,
        ];
        assert!(forms.iter().map(|(_, form)| form).eq(of_fields));
        assert_eq!((forms.coded_count(), forms.palette_count()), (3, 4));
        let mut coded = [None; 4];
        for (place, number) in coded.iter_mut().zip(0..) {
            *place = forms.coded_field(number).map(|coded| coded.field_number);
        }
        assert_eq!(coded, [Some(0), Some(1), Some(4), None]);
        assert_eq!(forms.coded().count(), 3);
        assert_eq!(forms.coded_field(usize::MAX), None);
        assert_eq!(forms.plain_mask(), 0x800f_00ff);
        assert_eq!(forms.plain_bits(), 13);
    }

    #[test]
    fn a_coded_exponent_of_bf16_leaves_the_sign_mantissa_byte() {
        let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman).unwrap();
        assert_eq!((forms.plain_mask(), forms.plain_bits()), (0x807f, 8));
        assert_eq!(Forms::raw(Dtype::Bf16).plain_bits(), 16);
    }

    #[test]
    fn knows_bf16_with_a_coded_exponent_alone() {
        let is = |dtype, forms| Forms::from_bits(dtype, forms).unwrap().is_bf16_exponent();
        assert!(is(Dtype::Bf16, 0x001) && is(Dtype::Bf16, 0x002));
        for forms in [0x000, 0x003, 0x011, 0x031, 0x301, 0x010] {
            assert!(!is(Dtype::Bf16, forms), "{forms:x}");
        }
        assert!(!is(Dtype::F16, 0x001) && !is(Dtype::F8E4M3, 0x001));
    }

    #[test]
    fn rejects_forms_that_are_unknown_or_have_no_field_for_them() {
        for form in 4..16 {
            let rejected = Forms::from_bits(Dtype::Bf16, form << 4);
            assert_eq!(rejected, Err((Rule::FormUnknown, 1)));
        }
        for form in 1..4 {
            let rejected = Forms::from_bits(Dtype::F6E2M3, form);
            assert_eq!(rejected, Err((Rule::FormField, 0)));
            let rejected = Forms::from_bits(Dtype::Bf16, form << 12);
            assert_eq!(rejected, Err((Rule::FormField, 3)));
        }
        let narrow = Forms::from_bits(Dtype::Bf16, 0x20);
        assert_eq!(narrow, Err((Rule::FormField, 1)));
        assert!(Forms::from_bits(Dtype::Bf16, 0x332).is_ok());
    }

    #[test]
    fn bits_lead_back_to_their_forms() {
        for bits in 0..0x1000 {
            if let Ok(forms) = Forms::from_bits(Dtype::Bf16, bits) {
                assert_eq!(forms.bits(), bits);
            }
        }
    }
}
