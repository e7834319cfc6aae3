//! `unweight report`.

use std::io::{BufWriter, Write};
use std::path::Path;

use unweight::analysis::{Analysis, AnalysisOptions, analyze};
use unweight::file::FileOptions;
use unweight::output::{Attributes, OutputFile, require_absent, require_apart};
use unweight_matmul::Shape;

use super::Context;
use super::folder::is_folder;
use super::report_page;
use super::screen::Screen;
use crate::arguments::Report;
use crate::failure::Failure;
use crate::printable::shown;
use crate::report::{bytes, percent, table};
use crate::warning;

pub(crate) fn run(options: &Report, context: &Context) -> Result<(), Failure> {
    let output = match &options.output {
        Some(output) => Some(&**output),
        None if context.json => None,
        None => {
            return Err(Failure::Usage(
                "the name of the page is missing: give -o report.html, or --json for figures alone"
                    .to_owned(),
            ));
        }
    };
    if let Some(output) = output {
        require_absent(output, options.force)?;
        require_apart(&options.model, output)?;
    }
    let screen = Screen::new(context, is_folder(&options.model)?);
    let reading = FileOptions::new().reading(context.reading(&options.memory, None));
    let analysis = AnalysisOptions::new()
        .files(screen.of(reading))
        .estimate(options.estimate)
        .fragments(|matrix| {
            let shape = Shape::new(matrix.rows, matrix.columns).ok()?;
            shape.fragments_bytes(matrix.exponents)
        });
    let found = analyze(&options.model, &analysis)?;
    if let Some(output) = output {
        write(&found, output, options.force)?;
    }
    context.print_result(&found, || words(&found, output))
}

/// Writes the page. It gets its name when it is complete.
fn write(found: &Analysis, output: &Path, force: bool) -> Result<(), Failure> {
    let file = OutputFile::create(output, force, &Attributes::of_new_file())?;
    let mut writer = BufWriter::new(file.file()?);
    report_page::write(found, &mut writer)
        .and_then(|()| writer.flush())
        .map_err(|error| Failure::io(output, error))?;
    drop(writer);
    file.commit(|warning| warning::tell(&warning))?;
    Ok(())
}

fn words(found: &Analysis, output: Option<&Path>) -> String {
    let summary = &found.summary;
    let memory = &summary.memory;
    let about = if summary.is_estimate { "about " } else { "" };
    let row = |name: &str, size: u64, whole: u64| {
        vec![name.to_owned(), bytes(size), percent(size, whole)]
    };
    let mut rows = vec![
        row("original", summary.original_bytes, summary.original_bytes),
        row("Unweight", summary.stored_bytes, summary.original_bytes),
        row("GPU, decoded", memory.decoded_bytes, memory.decoded_bytes),
    ];
    if let Some(fragments) = memory.fragments_bytes {
        rows.push(row("GPU, 12 bits", fragments, memory.decoded_bytes));
    }
    rows.push(row("GPU, coded", memory.coded_bytes, memory.decoded_bytes));
    let table = table(&["", "bytes", "of it"], 1, rows);
    let page = output.map_or(String::new(), |output| format!("\n{}", shown(output)));
    let bits = summary.total.bits_per_weight();
    let bits = bits.map_or(String::new(), |bits| {
        format!(", {about}{bits:.3} bits per weight")
    });
    format!("{} tensors{bits}\n{table}{page}", summary.total.tensors)
}
