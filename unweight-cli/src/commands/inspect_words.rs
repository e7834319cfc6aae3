//! Text report of `unweight inspect`, a row at a time, within the columns of the terminal.

use std::io::{self, Write};

use super::inspect::{InspectResult, TensorResult, Totals};
use crate::printable::{escaped, shortened, shown};
use crate::report::{bytes, percent, table};
use crate::standard_output::write_line;
use crate::table::{Column, Kind, Measure};
use crate::version::FORMAT_STATUS;

/// Columns of the table, with ranks. Columns that follow from others are left out first.
const COLUMNS: [Column; 8] = {
    const fn column(head: &'static str, kind: Kind, rank: u8) -> Column {
        Column { head, kind, rank }
    }
    [
        column("tensor", Kind::Text { least: 24 }, 0),
        column("dtype", Kind::Word, 3),
        column("shape", Kind::Text { least: 13 }, 1),
        column("encoding", Kind::Word, 2),
        column("bits/elem.", Kind::Number, 0),
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
        "{file}: Unweight {} ({FORMAT_STATUS}), {} bytes; restores {} bytes ({}), {} tensors",
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
    write_totals(&result.totals, output, columns)
}

fn cells(tensor: &TensorResult<'_>) -> [String; COLUMNS.len()] {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
    let over = tensor
        .exponent_entropy_bits
        .zip(tensor.bits_per_element)
        .map(|(entropy, bits)| bits - 8.0 - entropy);
    [
        escaped(tensor.name).into_owned(),
        tensor.dtype.to_string(),
        format!("[{}]", shape.join(", ")),
        tensor.encoding.to_string(),
        number(tensor.bits_per_element),
        percent(tensor.stored_bytes, tensor.data_bytes),
        number(tensor.exponent_entropy_bits),
        number(over),
    ]
}

fn write_totals(totals: &Totals, output: &mut dyn Write, columns: Option<usize>) -> io::Result<()> {
    writeln!(output)?;
    let Some(bits_per_weight) = totals.bits_per_weight else {
        return write_line(output, "No tensor is coded.", columns);
    };
    let mut text = format!(
        "{} coded tensors, {} weights, {bits_per_weight:.4} bits/weight",
        totals.coded_tensors,
        bytes(totals.coded_weights),
    );
    let (Some(breakdown), Some(entropy)) = (totals.breakdown, totals.exponent_entropy_bits) else {
        return write_line(output, &text, columns);
    };
    text.push_str(&format!(
        ": 8 + {entropy:.4} (exponent entropy) + {:.4} (over)",
        bits_per_weight - 8.0 - entropy
    ));
    write_line(output, &text, columns)?;
    writeln!(output)?;
    let total = breakdown.total_bits();
    let row = |(name, bits): (&str, u64)| {
        vec![
            name.to_owned(),
            bytes(bits.div_ceil(8)),
            format!("{:.4}", bits as f64 / totals.coded_weights as f64),
            percent(bits, total),
        ]
    };
    let present = breakdown.parts().into_iter().filter(|&(_, bits)| bits > 0);
    let rows = present.map(row).collect();
    let heads = ["where the bits go", "bytes", "bits/weight", "share"];
    writeln!(output, "{}", table(&heads, 1, rows))
}
