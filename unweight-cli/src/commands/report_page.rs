//! The page of `unweight report`: `report/page.html`, with its style, its script and the figures
//! inside.
//!
//! Figures are JSON in an element that no browser runs, without `<`: no name can end the element.
//! The policy of the page allows the one script and the one style by their hashes, and no request.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::{self, Write};

use serde::Serialize;
use unweight::analysis::{Analysis, Summary, TensorAnalysis};

use crate::printable::escaped;

const PAGE: &str = include_str!("../page/page.html");
const STYLE: &str = include_str!("../page/page.css");
const SCRIPT: &str = include_str!("../page/page.js");

/// The most tensors of each list.
const LISTED: usize = 50;
/// The most characters of a name.
const NAME_CHARACTERS: usize = 200;
/// The most dimensions of a tensor. The page shows one less, and that there are more.
const DIMENSIONS: usize = 7;

/// Figures of the page.
#[derive(Serialize)]
struct Figures<'a> {
    version: &'static str,
    summary: &'a Summary,
    largest: Vec<TensorAnalysis>,
    no_gain: Vec<TensorAnalysis>,
    outliers: Vec<TensorAnalysis>,
}

pub(super) fn write(found: &Analysis, output: &mut impl Write) -> io::Result<()> {
    let mut summary = found.summary.clone();
    summary.model = short(&summary.model).into_owned();
    for kind in &mut summary.kinds {
        kind.name = kind.name.as_deref().map(|name| short(name).into_owned());
    }
    for layer in &mut summary.layers {
        layer.stack = short(&layer.stack).into_owned();
    }
    let outliers = |tensor: &TensorAnalysis| {
        let magnitudes = tensor.magnitudes;
        magnitudes.map_or(0, |found| found.outliers.max(found.not_finite))
    };
    let figures = Figures {
        version: env!("CARGO_PKG_VERSION"),
        summary: &summary,
        largest: rows(found, |tensor| tensor.stored_bytes),
        no_gain: rows(found, |tensor| match tensor.no_gain {
            Some(_) => tensor.original_bytes.max(1),
            None => 0,
        }),
        outliers: rows(found, outliers),
    };
    let figures = serde_json::to_string(&figures)?.replace('<', "\\u003c");
    let title = escaped_text(&summary.model);
    let parts = [
        ("TITLE", &*title),
        ("STYLE", STYLE),
        ("FIGURES", &figures),
        ("SCRIPT", SCRIPT),
    ];
    let mut rest = PAGE;
    for (place, part) in parts {
        let (before, after) = rest
            .split_once(&format!("{{{{{place}}}}}"))
            .expect("the page has a place for each part");
        output.write_all(before.as_bytes())?;
        output.write_all(part.as_bytes())?;
        rest = after;
    }
    output.write_all(rest.as_bytes())
}

/// The tensors with the greatest numbers above 0.
fn rows(found: &Analysis, number: impl Fn(&TensorAnalysis) -> u64) -> Vec<TensorAnalysis> {
    let mut chosen: Vec<_> = found
        .tensors
        .iter()
        .filter(|tensor| number(tensor) > 0)
        .collect();
    chosen.sort_by_key(|tensor| Reverse(number(tensor)));
    let rows = chosen.into_iter().take(LISTED).map(|tensor| {
        let mut row = tensor.clone();
        row.name = short(&tensor.name).into_owned();
        row.shape.truncate(DIMENSIONS);
        row
    });
    rows.collect()
}

/// A name without control and bidirectional characters, cut after so many characters.
fn short(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(NAME_CHARACTERS) {
        Some((end, _)) => format!("{}…", escaped(&name[..end])).into(),
        None => escaped(name),
    }
}

fn escaped_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
