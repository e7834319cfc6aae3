//! Numbers and tables for people.

use std::path::Path;

use crate::printable::escaped;
use crate::standard_output::columns;
use crate::table::{Column, Kind, Measure};

/// Formats a number of bytes with marked thousands.
pub(crate) fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let mut marked = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            marked.push(',');
        }
        marked.push(digit);
    }
    marked
}

/// Converts a path to a string for JSON. Parts that are not UTF-8 are replaced.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A part of a whole, in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.2} %", 100.0 * part as f64 / whole as f64),
    }
}

/// Small table with the first `left` columns aligned to the left, and numbers aligned to the right.
/// On a narrow terminal, the last columns are left out first.
pub(crate) fn table(heads: &[&'static str], left: usize, rows: Vec<Vec<String>>) -> String {
    const LEAST: usize = 12;
    let columns_of = |(number, &head): (usize, &&'static str)| Column {
        head,
        kind: match number < left {
            true => Kind::Text { least: LEAST },
            false => Kind::Number,
        },
        rank: number as u8,
    };
    let kinds: Vec<Column> = heads.iter().enumerate().map(columns_of).collect();
    let cells = |row: Vec<String>| row.iter().map(|cell| escaped(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(cells).collect();
    let mut measure = Measure::of(&kinds);
    rows.iter().for_each(|row| measure.row(row));
    let table = measure.fit(columns());
    let lines = rows.iter().map(|row| table.row(row));
    let lines: Vec<String> = std::iter::once(table.heads()).chain(lines).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_thousands() {
        assert_eq!(bytes(0), "0");
        assert_eq!(bytes(999), "999");
        assert_eq!(bytes(1_000), "1,000");
        assert_eq!(bytes(45_437_904), "45,437,904");
    }
}
