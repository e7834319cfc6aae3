//! The palettes in a tensor's payload (section 3.5).

use crate::error::{Error, Expected, Rule};
use crate::form::Form;
use crate::layout::PALETTE_ENTRIES;
use crate::palette::Palette;
use crate::palettes::Palettes;
use crate::validate::Tensor;
use crate::validate::file_header::truncated;

impl Palettes {
    /// The palettes of a tensor, from the bytes at [`Payload::palettes`](crate::Payload::palettes).
    /// A raw tensor has none.
    ///
    /// # Errors
    /// `palette-crc`, `palette-values`; `file-truncated` if there are too few bytes.
    pub fn parse(tensor: &Tensor<'_>, bytes: &[u8]) -> Result<Palettes, Error> {
        let mut palettes = Palettes::raw(tensor.dtype());
        if tensor.forms().is_raw() {
            return Ok(palettes);
        }
        let extent = tensor.payload().palettes();
        let Some(bytes) = bytes.get(..extent.length as usize) else {
            return Err(truncated(extent.offset + bytes.len() as u64, extent.end()));
        };
        tensor.require_palette_checksum(crate::crc32(bytes))?;
        let stored = tensor.forms().iter().enumerate();
        let stored = stored.filter(|(_, (_, form))| *form != Form::Plain);
        let offsets = (extent.offset..).step_by(PALETTE_ENTRIES);
        for (((number, (field, form)), &values), offset) in stored
            .zip(bytes.as_chunks::<PALETTE_ENTRIES>().0)
            .zip(offsets)
        {
            let width = field.width();
            let bad = |index| bad_value(&values, index, offset);
            // The forms are valid, so what `Palettes` refuses is the value.
            palettes = match form.encoding() {
                Some(encoding) => {
                    let palette = Palette::new(width, values).map_err(bad)?;
                    palettes.with_coded(number, encoding, palette)
                }
                None => {
                    if let Some(index) = values[1..].iter().position(|&value| value != 0) {
                        return Err(bad(index + 1));
                    }
                    palettes.with_constant(number, values[0])
                }
            }
            .map_err(|_| bad(0))?;
        }
        Ok(palettes)
    }
}

/// The error of a palette at `offset` with a bad value at `index`.
fn bad_value(values: &[u8; PALETTE_ENTRIES], index: usize, offset: u64) -> Error {
    Error::new(
        Rule::PaletteValues,
        offset + index as u64,
        values[index].into(),
        Expected::Words("ascending values of the field, then zeros"),
    )
}
