//! Cases of which the manifest has the inner values: palettes, codes, lane ends, patches and costs.

use std::collections::HashMap;

use crate::case::Cases;
use crate::python;

/// The cases: each encoding and each kind of record, fields of several widths, and what an encoder
/// chooses.
const IDS: [&str; 13] = [
    "huffman-tensor-of-256-weights",
    "palette-tensor-of-1-weight",
    "two-coded-fields-of-9-weights",
    "three-coded-fields-of-4097-weights",
    "small-file-with-palette",
    "constants-of-7-weights",
    "own-codes-of-frequent-values-huffman-12",
    "own-code-of-254-bits-for-255-huffman-12",
    "own-code-at-equal-costs-huffman-12",
    "placeholders-huffman-12",
    "patches-huffman-12",
    "patches-palette-12",
    "verbatim-in-palette-palette-12",
];

/// The inner values of these cases, as JSON, by id. They come from the programs in Python; a test of
/// the runner compares them with those that it shows.
pub fn values(cases: &Cases) -> HashMap<&'static str, String> {
    let files: Vec<&[u8]> = IDS
        .iter()
        .map(|id| cases.bytes(&cases.case(id).file))
        .collect();
    IDS.into_iter().zip(python::inner_values(&files)).collect()
}
