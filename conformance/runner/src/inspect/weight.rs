//! The first weight of an output that differs from the expected one, and what the file has of it.

use super::{
    bits::{bits, little_endian, slice},
    explain,
    layout::{File, Form, Parts, Tensor},
};

/// A weight that differs, with the inner values of the file that concern it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightDifference {
    /// The name of its tensor.
    pub tensor: String,
    /// Its number in the tensor.
    pub index: u64,
    /// Its chunk, if the tensor is coded.
    pub chunk: Option<u64>,
    /// Its step in the chunk, if the tensor is coded.
    pub step: Option<u64>,
    /// Its lane, if the tensor is coded.
    pub lane: Option<u64>,
    /// The expected bits.
    pub expected: u64,
    /// The bits that the decoder wrote, if it wrote the whole weight.
    pub found: Option<u64>,
    /// Lines that explain the weight: its fields, records and codes.
    pub lines: Vec<String>,
}

/// The weight at the first differing byte of `found`, or none if that is no byte of a tensor.
pub(crate) fn first_differing_weight(
    file: &[u8],
    expected: &[u8],
    found: &[u8],
    offset: u64,
) -> Option<WeightDifference> {
    let file = File::read(file).ok()?;
    let mut begin = file.source_section().len() as u64;
    for tensor in file.tensors() {
        let end = begin + tensor.original_length()?;
        if (begin..end).contains(&offset) {
            let bytes = tensor.dtype?.weight_bytes;
            let index = (offset - begin) / bytes;
            let at = begin + index * bytes;
            let wanted = little_endian(slice(expected, at, bytes)?);
            let found = slice(found, at, bytes).map(little_endian);
            return difference(&file, tensor, index, wanted, found);
        }
        begin = end;
    }
    None
}

fn difference(
    file: &File<'_>,
    tensor: &Tensor,
    index: u64,
    expected: u64,
    found: Option<u64>,
) -> Option<WeightDifference> {
    let parts = tensor.parts().ok()?;
    let coded = !parts.coded.is_empty();
    // The chunk size of a coded tensor is 12 to 16 if its parts are known.
    let (chunk, in_chunk) = match coded {
        true => (
            index >> tensor.chunk_size,
            index & ((1 << tensor.chunk_size) - 1),
        ),
        false => (0, index),
    };
    let mut lines = vec![bits_of(tensor, expected, found)?];
    lines.extend(plain_line(file, tensor, &parts, index));
    for (field, form) in &parts.stored {
        let dtype = tensor.dtype?;
        let (high, low) = dtype.fields[*field];
        let value = |weight: u64| weight >> low & (u64::MAX >> (63 - (high - low)));
        let now = found.map_or("nothing".to_owned(), |found| value(found).to_string());
        lines.push(format!(
            "field {field} [{high}..{low}], {}: expected {}, found {now}",
            explain::form_name(*form),
            value(expected)
        ));
        if *form == Form::Constant {
            continue;
        }
        let i = parts.coded.iter().position(|coded| coded == field)?;
        match file.record(tensor, &parts, chunk, i) {
            Ok(record) => {
                let palette = file.palette(tensor, &parts, *field)?;
                lines.extend(explain::record_of_weight(&record, palette, in_chunk));
            }
            Err(problem) => lines.push(format!("  {problem}")),
        }
    }
    Some(WeightDifference {
        tensor: tensor.name.clone(),
        index,
        chunk: coded.then_some(chunk),
        step: coded.then_some(in_chunk / 256),
        lane: coded.then_some(in_chunk % 256 / 8),
        expected,
        found,
        lines,
    })
}

fn bits_of(tensor: &Tensor, expected: u64, found: Option<u64>) -> Option<String> {
    let digits = 8 * tensor.dtype?.weight_bytes as usize;
    Some(match found {
        Some(found) => format!(
            "expected 0b{expected:0digits$b}, found 0b{found:0digits$b}, differing 0b{:0digits$b}",
            expected ^ found
        ),
        None => format!("expected 0b{expected:0digits$b}, found the end"),
    })
}

fn plain_line(file: &File<'_>, tensor: &Tensor, parts: &Parts, index: u64) -> Option<String> {
    let width = parts.plain_bits;
    let plane = slice(
        file.bytes,
        parts.plane.start,
        parts.plane.end - parts.plane.start,
    )?;
    let at = index * u64::from(width);
    Some(format!(
        "plain value 0x{:x}, bits {at}..{} of the plane at {:#x}; M = 0x{:0digits$x}",
        bits(plane, at, width),
        at + u64::from(width),
        parts.plane.start,
        parts.mask,
        digits = 2 * tensor.dtype?.weight_bytes as usize
    ))
}
