//! Weights of a tensor: section 7.

use super::{
    bits::{Spread, bits, slice},
    layout::{File, Form, Parts, Tensor},
};

impl File<'_> {
    /// The original bytes of a tensor.
    pub fn original_bytes(&self, tensor: &Tensor) -> Result<Vec<u8>, String> {
        let parts = tensor.parts()?;
        let coded = self.coded_values(tensor, &parts)?;
        self.joined_bytes(tensor, &parts, &coded)
    }

    /// The original bytes of a tensor with these values of its coded fields.
    pub(super) fn joined_bytes(
        &self,
        tensor: &Tensor,
        parts: &Parts,
        coded: &[Vec<u8>],
    ) -> Result<Vec<u8>, String> {
        let dtype = tensor.dtype.expect("parts are known");
        let plane = slice(
            self.bytes,
            parts.plane.start,
            parts.plane.end - parts.plane.start,
        )
        .ok_or("the file ends within a plain plane")?;
        if parts.stored.is_empty() {
            return Ok(plane.to_vec());
        }
        let constant = self.constants(tensor, parts)?;
        let spread = Spread::new(parts.mask);
        let mut bytes = Vec::new();
        for i in 0..parts.weights {
            let at = i * u64::from(parts.plain_bits);
            let mut weight = spread.apply(bits(plane, at, parts.plain_bits)) | constant;
            for (field, values) in parts.coded.iter().zip(coded) {
                weight |= u64::from(values[i as usize]) << dtype.fields[*field].1;
            }
            bytes.extend_from_slice(&weight.to_le_bytes()[..dtype.weight_bytes as usize]);
        }
        Ok(bytes)
    }

    /// The values of all weights, for each coded field.
    pub(super) fn coded_values(
        &self,
        tensor: &Tensor,
        parts: &Parts,
    ) -> Result<Vec<Vec<u8>>, String> {
        let field_values = |(i, field): (usize, &usize)| {
            let palette = self
                .palette(tensor, parts, *field)
                .ok_or("the file ends within the palettes")?;
            let mut values = Vec::new();
            for chunk in 0..parts.chunks {
                values.extend(self.record(tensor, parts, chunk, i)?.values(palette)?);
            }
            Ok(values)
        };
        parts.coded.iter().enumerate().map(field_values).collect()
    }

    /// The bits of all constant fields.
    fn constants(&self, tensor: &Tensor, parts: &Parts) -> Result<u64, String> {
        let dtype = tensor.dtype.expect("parts are known");
        let mut weight = 0;
        for (field, _) in parts
            .stored
            .iter()
            .filter(|(_, form)| *form == Form::Constant)
        {
            let palette = self
                .palette(tensor, parts, *field)
                .ok_or("the file ends within the palettes")?;
            weight |= u64::from(palette[0]) << dtype.fields[*field].1;
        }
        Ok(weight)
    }
}
