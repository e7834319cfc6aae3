//! Text report of `unweight inspect`, a row at a time, within the columns of the terminal.

use std::io::{self, Write};

use unweight_format::{Form, Forms};

use super::inspect::{InspectResult, Sum, TensorResult};
use super::inspect_json::Stored;
use crate::printable::{escaped, shortened, shown};
use crate::report::{bytes, percent, table};
use crate::standard_output::write_line;
use crate::table::{Column, Kind, Measure};
use crate::version::{FORMAT_PROMISE, FORMAT_STATUS};

/// Columns of the table, with ranks. Columns that follow from others are left out first.
const COLUMNS: [Column; 8] = {
    const fn column(head: &'static str, kind: Kind, rank: u8) -> Column {
        Column { head, kind, rank }
    }
    [
        column("tensor", Kind::Text { least: 24 }, 0),
        column("dtype", Kind::Word, 3),
        column("shape", Kind::Text { least: 13 }, 1),
        column("fields", Kind::Word, 2),
        column("bits/weight", Kind::Number, 0),
        column("ratio", Kind::Number, 5),
        column("entropy", Kind::Number, 4),
        column("over", Kind::Number, 6),
    ]
};

/// Writes the report for a terminal of so many columns, or for none.
pub(super) fn in_words(
    result: &InspectResult<'_>,
    output: &mut dyn Write,
    columns: Option<usize>,
) -> io::Result<()> {
    let file = shown(result.file);
    let file = match columns {
        Some(columns) => shortened(&file, columns.saturating_sub(1)),
        None => file.into(),
    };
    let head = format!(
        "{file}: Unweight {} ({FORMAT_STATUS}: {FORMAT_PROMISE}), {} bytes; restores {} bytes ({}), {} tensors",
        result.format_version,
        bytes(result.file_bytes),
        bytes(result.restored_bytes),
        percent(result.file_bytes, result.restored_bytes),
        result.tensors.count()
    );
    write_line(output, &head, columns)?;
    writeln!(output)?;
    let mut measure = Measure::of(&COLUMNS);
    for tensor in result.tensors.iter() {
        measure.row(&cells(&tensor));
    }
    let table = measure.fit(columns);
    writeln!(output, "{}", table.heads())?;
    for tensor in result.tensors.iter() {
        writeln!(output, "{}", table.row(&cells(&tensor)))?;
    }
    write_totals(result, output)?;
    if result.fields.is_some() {
        write_fields(result, output)?;
        write_purposes(result, output)?;
    }
    Ok(())
}

/// The forms of a tensor's fields in short: `raw` if all are plain, otherwise how many of them have
/// each other form, such as `huffman 1 of 3` or `huffman 1, constant 3 of 6`.
pub(super) fn coding(forms: Forms) -> String {
    let count = |form| forms.iter().filter(|&(_, other)| other == form).count();
    let with = |form: Form| match count(form) {
        0 => None,
        count => Some(format!("{form} {count}")),
    };
    let present = [Form::Huffman, Form::Palette, Form::Constant].map(with);
    let present: Vec<String> = present.into_iter().flatten().collect();
    match present.is_empty() {
        true => "raw".to_owned(),
        false => format!("{} of {}", present.join(", "), forms.iter().len()),
    }
}

fn cells(tensor: &TensorResult<'_>) -> [String; COLUMNS.len()] {
    let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
    [
        escaped(tensor.name).into_owned(),
        tensor.dtype.to_string(),
        format!("[{}]", shape.join(", ")),
        tensor.coding.clone(),
        number(tensor.bits_per_weight),
        percent(tensor.stored_bytes, tensor.data_bytes),
        number(tensor.entropy_bits),
        number(tensor.over_bits),
    ]
}

fn number(value: Option<f64>) -> String {
    // A zero has no sign.
    value.map_or("-".to_owned(), |value| format!("{:.3}", value + 0.0))
}

fn write_totals(result: &InspectResult<'_>, output: &mut dyn Write) -> io::Result<()> {
    let totals = &result.totals;
    let row = |name: &str, sum: &Sum| {
        vec![
            name.to_owned(),
            bytes(sum.tensors),
            bytes(sum.weights),
            number(sum.bits_per_weight),
            percent(sum.stored_bytes, sum.original_bytes),
            number(sum.entropy_bits),
            number(sum.over_bits),
            bytes(sum.stored_bytes),
        ]
    };
    let rows = vec![
        row("not raw", &totals.compressed),
        row("all", &totals.tensors),
        row("file", &totals.file),
    ];
    let heads = [
        "totals",
        "tensors",
        "weights",
        "bits/weight",
        "ratio",
        "entropy",
        "over",
        "bytes",
    ];
    writeln!(output)?;
    writeln!(output, "{}", table(&heads, 1, rows))
}

fn write_fields(result: &InspectResult<'_>, output: &mut dyn Write) -> io::Result<()> {
    let Some(fields) = result.fields.as_ref().filter(|fields| !fields.is_empty()) else {
        return Ok(());
    };
    let row = |field: &super::inspect_json::FieldSum| {
        vec![
            format!("{} {}", field.dtype, field.name),
            field.width.to_string(),
            number(Some(field.entropy_bits)),
            number(Some(field.bits_per_weight)),
            bytes(field.bytes),
        ]
    };
    let rows = fields.iter().map(row).collect();
    let heads = ["field", "bits", "entropy", "stored", "bytes"];
    writeln!(output)?;
    writeln!(output, "{}", table(&heads, 1, rows))
}

fn write_purposes(result: &InspectResult<'_>, output: &mut dyn Write) -> io::Result<()> {
    let Some(Stored(stored)) = &result.totals.tensors.stored_bits else {
        return Ok(());
    };
    let frame = ("header, directory, source, guard", 8 * result.frame_bytes);
    let purposes = stored.by_purpose().into_iter().chain([frame]);
    let row = |(name, bits): (&str, u64)| {
        vec![
            name.to_owned(),
            bytes(bits.div_ceil(8)),
            percent(bits, 8 * result.file_bytes),
        ]
    };
    let rows = purposes.filter(|&(_, bits)| bits > 0).map(row).collect();
    let heads = ["where the bits go", "bytes", "share"];
    writeln!(output)?;
    writeln!(output, "{}", table(&heads, 1, rows))
}
