//! The inner values of a file as text.

mod record;

use std::fmt::Write;

pub(super) use self::record::field_codes;
pub(super) use self::record::record_of_weight;
#[cfg(all(test, feature = "embedded"))]
pub(super) use self::record::{Costs, code_digits};
use self::record::{costs_line, record_lines};
use super::{
    bits::{self, slice},
    crc::crc32,
    layout::{File, Form, Header, Parts, Tensor},
};

/// What is shown of a file.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Only the tensor with this name.
    pub tensor: Option<String>,
    /// Only the records of this chunk.
    pub chunk: Option<u64>,
    /// At most so many records of each tensor.
    pub records: usize,
}

impl Default for Choice {
    /// All tensors, eight records of each.
    fn default() -> Self {
        Self {
            tensor: None,
            chunk: None,
            records: 8,
        }
    }
}

/// The inner values of a file: header, directory, forms, palettes, and of each record its kind, code,
/// lane ends, patches, and costs. What cannot be read is said in its place. The error is that no
/// directory can be read, or that there is no such tensor.
pub fn explain(bytes: &[u8], choice: &Choice) -> Result<String, String> {
    let file = File::read(bytes)?;
    let mut out = String::new();
    if choice.tensor.is_none() {
        header(&mut out, &file);
    }
    let wanted = |tensor: &&Tensor| {
        choice
            .tensor
            .as_ref()
            .is_none_or(|name| *name == tensor.name)
    };
    let mut tensors = file
        .tensors()
        .iter()
        .enumerate()
        .filter(|(_, tensor)| wanted(tensor))
        .peekable();
    if let (None, Some(name)) = (tensors.peek(), &choice.tensor) {
        return Err(format!("the file has no tensor {name:?}"));
    }
    for (number, tensor) in tensors {
        entry(&mut out, number, tensor);
        match tensor.parts() {
            Ok(parts) => payload(&mut out, &file, tensor, &parts, choice),
            Err(problem) => line(&mut out, 2, &format!("parts unknown: {problem}")),
        }
    }
    Ok(out)
}

fn line(out: &mut String, indent: usize, text: &str) {
    writeln!(out, "{:indent$}{text}", "").expect("writing to a string succeeds");
}

fn checksum(stored: u32, computed: u32) -> String {
    match stored == computed {
        true => format!("{stored:#010x}, right"),
        false => format!("{stored:#010x}, WRONG: the bytes have {computed:#010x}"),
    }
}

fn header(out: &mut String, file: &File<'_>) {
    let Header {
        major,
        minor,
        tensors,
        file_length,
        source_kind,
        directory_length: d,
        source_length: s,
        extension_length: x,
        ..
    } = file.header;
    let h = &file.header;
    let found = file.bytes.len();
    line(
        out,
        0,
        &format!(
            "header (3.1): version {major}.{minor}, {tensors} tensors, file length {file_length} (the file has {found} bytes), source kind {source_kind}"
        ),
    );
    let computed = crc32(&[&file.bytes[..60]]);
    line(
        out,
        2,
        &format!("header checksum {}", checksum(h.header_crc, computed)),
    );
    let directory = slice(file.bytes, 64, d).unwrap_or(&[]);
    for (name, begin, length, stored, bytes) in [
        ("directory", 64, u128::from(d), h.directory_crc, directory),
        (
            "source section",
            64 + u128::from(d),
            s.into(),
            h.source_crc,
            file.source_section(),
        ),
        (
            "extensions",
            64 + u128::from(d) + u128::from(s),
            x.into(),
            h.extension_crc,
            file.extensions(),
        ),
    ] {
        let sum = checksum(stored, crc32(&[bytes]));
        line(
            out,
            2,
            &format!("{name}: {length} bytes from {begin:#x}, checksum {sum}"),
        );
    }
}

fn entry(out: &mut String, number: usize, tensor: &Tensor) {
    let dtype = match tensor.dtype {
        Some(dtype) => dtype.name.to_owned(),
        None => format!("dtype code {} (unknown)", tensor.dtype_code),
    };
    line(
        out,
        0,
        &format!(
            "\ntensor {number} {:?}: {dtype} {:?}",
            tensor.name, tensor.shape
        ),
    );
    let chunk_size = match tensor.chunk_size {
        0 => "no chunks".to_owned(),
        k => format!("chunks of 2^{k} weights"),
    };
    line(
        out,
        2,
        &format!(
            "{chunk_size}, forms {:#x}, payload {:#x}..{:#x}",
            tensor.forms, tensor.payload_begin, tensor.payload_end
        ),
    );
    let forms = tensor.forms();
    let fields = tensor.dtype.map_or(&[][..], |dtype| dtype.fields);
    let fields: Vec<String> = fields
        .iter()
        .zip(forms)
        .map(|((high, low), form)| format!("[{high}..{low}] {}", form_name(form)))
        .collect();
    if !fields.is_empty() {
        line(out, 2, &format!("fields: {}", fields.join(", ")));
    }
}

pub(super) fn form_name(form: Form) -> String {
    match form {
        Form::Plain => "plain".into(),
        Form::Huffman => "huffman".into(),
        Form::Palette => "palette".into(),
        Form::Constant => "constant".into(),
        Form::Unknown(form) => format!("form {form} (unknown)"),
    }
}

fn payload(out: &mut String, file: &File<'_>, tensor: &Tensor, parts: &Parts, choice: &Choice) {
    let digits = 2 * tensor.dtype.map_or(1, |dtype| dtype.weight_bytes as usize);
    line(
        out,
        2,
        &format!(
            "{} weights, M = {:#0width$x}, W = {}, plain plane {:#x}..{:#x}",
            parts.weights,
            parts.mask,
            parts.plain_bits,
            parts.plane.start,
            parts.plane.end,
            width = digits + 2
        ),
    );
    if parts.weights == 0 {
        return;
    }
    let values = file.coded_values(tensor, parts);
    let joined = |values: &Vec<Vec<u8>>| file.joined_bytes(tensor, parts, values);
    match values.as_ref().map_err(String::clone).and_then(joined) {
        Ok(bytes) => {
            let sum = checksum(tensor.tensor_crc, crc32(&[&bytes]));
            line(out, 2, &format!("tensor checksum {sum}"));
        }
        Err(problem) => line(out, 2, &format!("cannot be decoded: {problem}")),
    }
    if !parts.block_checksums.is_empty() {
        block_checksums(out, file, parts);
    }
    if parts.stored.is_empty() {
        return;
    }
    let palettes = slice(file.bytes, parts.palettes, 16 * parts.stored.len() as u64);
    let sum = checksum(tensor.palette_crc, crc32(&[palettes.unwrap_or(&[])]));
    line(
        out,
        2,
        &format!("palettes at {:#x}, checksum {sum}", parts.palettes),
    );
    for (field, form) in &parts.stored {
        let text = match file.palette(tensor, parts, *field) {
            Some([constant]) if *form == Form::Constant => format!("the constant {constant}"),
            Some(palette) => numbers(palette),
            None => "not in the file".into(),
        };
        line(out, 4, &format!("field {field}: {text}"));
    }
    if !parts.coded.is_empty() {
        let field_codes = values
            .ok()
            .and_then(|values| field_codes(file, tensor, parts, &values));
        records(out, file, tensor, parts, choice, field_codes.as_deref());
    }
}

fn numbers<T: ToString>(numbers: &[T]) -> String {
    numbers
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn block_checksums(out: &mut String, file: &File<'_>, parts: &Parts) {
    let begin = parts.block_checksums.start;
    let count = (parts.block_checksums.end - begin) / 4;
    // A file that states more blocks than it has ends the list.
    let block = |number: u64| {
        let at = parts.plane.start + 65_536 * number;
        let bytes = slice(file.bytes, at, 65_536.min(parts.plane.end - at))?;
        Some((bytes, bits::number(file.bytes, begin + 4 * number, 4)?))
    };
    let checked: Vec<bool> = (0..count)
        .map_while(block)
        .map(|(bytes, stored)| u64::from(crc32(&[bytes])) == stored)
        .collect();
    let wrong: Vec<usize> = (0..checked.len()).filter(|&i| !checked[i]).collect();
    let state = match (wrong.is_empty(), checked.len() as u64 == count) {
        (false, _) => format!("WRONG: {}", numbers(&wrong)),
        (true, false) => format!("cannot be read behind number {}", checked.len()),
        (true, true) => "all right".to_owned(),
    };
    line(
        out,
        2,
        &format!("{count} block checksums at {begin:#x}, {state}"),
    );
}

fn records(
    out: &mut String,
    file: &File<'_>,
    tensor: &Tensor,
    parts: &Parts,
    choice: &Choice,
    field_codes: Option<&[[u8; 16]]>,
) {
    let count = parts.chunks * parts.coded.len() as u64;
    line(
        out,
        2,
        &format!(
            "{count} records from {:#x}, record ends at {:#x}",
            parts.records, parts.record_ends
        ),
    );
    let chunks = match choice.chunk {
        Some(chunk) => chunk..parts.chunks.min(chunk.saturating_add(1)),
        None => 0..parts.chunks,
    };
    let all = chunks.flat_map(|chunk| (0..parts.coded.len()).map(move |i| (chunk, i)));
    for (shown, (chunk, i)) in all.enumerate() {
        if shown == choice.records {
            let more = "more records: --chunk shows those of one chunk, --records 1000000 all";
            return line(out, 2, more);
        }
        let field = parts.coded[i];
        match file.record(tensor, parts, chunk, i) {
            Ok(record) => {
                let head = format!("chunk {chunk}, field {field}, at {:#x}", record.at);
                line(out, 2, &head);
                let palette = file.palette(tensor, parts, field).unwrap_or(&[]);
                record_lines(out, &record, palette);
                if let Some(field_codes) = field_codes {
                    costs_line(out, &record, palette, &field_codes[i]);
                }
            }
            Err(problem) => line(out, 2, &format!("chunk {chunk}, field {field}: {problem}")),
        }
    }
}
