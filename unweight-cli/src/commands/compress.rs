//! `unweight compress`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use unweight::file::{self, DtypeReport, FileOptions, FileReport, NoGain};
use unweight::folder;
use unweight::{CompressOptions, Dtype};

use super::Context;
use super::folder::{
    FolderResult, files as counted_files, is_folder, kept_in_words, listed, require_folder_for,
    resumably,
};
use super::screen::Screen;
use crate::arguments::{Compress, Copied};
use crate::failure::Failure;
use crate::output_name;
use crate::printable::{escaped, shown};
use crate::report::{bytes, percent, text};
use crate::selection::Selection;

/// Result for a file that was compressed.
#[derive(Serialize)]
struct FileResult {
    input: String,
    output: String,
    input_bytes: u64,
    output_bytes: u64,
    tensors: u32,
    /// Number of tensors that are not raw.
    compressed_tensors: u32,
    dtypes: Vec<DtypeResult>,
    /// Reason why the output is not smaller than the input. None if it is smaller.
    nothing_gained: Option<String>,
    verified: bool,
    /// Whether the output is from an earlier run, and was verified.
    kept: bool,
}

/// Totals of the tensors of one type.
#[derive(Serialize)]
struct DtypeResult {
    dtype: Dtype,
    tensors: u64,
    elements: u64,
    data_bytes: u64,
    /// Bytes of the payloads in the output.
    payload_bytes: u64,
    bits_per_element: Option<f64>,
}

/// Result of the command.
#[derive(Serialize)]
struct CompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    /// Totals of each type, in all files.
    dtypes: Vec<DtypeResult>,
    /// Result for the whole folder, if the input is a folder.
    folder: Option<FolderResult>,
    warnings: Vec<String>,
    seconds: f64,
}

impl FileResult {
    fn new(report: &FileReport) -> FileResult {
        let growth = report.output_bytes.saturating_sub(report.input_bytes);
        let no_gain = report.no_gain.as_ref();
        FileResult {
            input: text(&report.input),
            output: text(&report.output),
            input_bytes: report.input_bytes,
            output_bytes: report.output_bytes,
            tensors: report.tensors,
            compressed_tensors: report.compressed_tensors,
            dtypes: of_dtypes(report.dtypes.iter()),
            nothing_gained: no_gain.map(|why| nothing_gained(why, growth)),
            verified: report.verified,
            kept: report.kept,
        }
    }
}

pub(crate) fn run(options: &Compress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let selection = Selection::new(&options.include, &options.exclude)?;
    let (input, is_folder) = (&options.input, is_folder(&options.input)?);
    if !is_folder {
        require_folder_for(input, &options.folder)?;
    }
    let output = match &options.output {
        // The name of a folder is the same with a slash at its end.
        Some(output) if is_folder => output.components().collect(),
        Some(output) => output.clone(),
        None => output_name::of_compressed(input, is_folder)?,
    };
    let screen = Screen::new(context, is_folder);
    let compression = FileOptions::new()
        .compression(compression(options, context, selection))
        .verify(options.verify)
        .force(options.force)
        .resume(options.folder.resume)
        .all_files(options.folder.copy == Some(Copied::All));
    let compression = screen.of(compression);
    let (reports, folder) = match is_folder {
        true => {
            let resumes = options.folder.resume;
            let report = resumably(context, resumes, &screen, || {
                folder::compress(input, &output, &compression)
            })?;
            let folder = FolderResult::new(&report);
            (report.files, Some(folder))
        }
        false => (vec![file::compress(input, &output, &compression)?], None),
    };
    let sum = |of: fn(&FileReport) -> u64| reports.iter().map(of).sum::<u64>();
    let result = CompressResult {
        input_bytes: sum(|file| file.input_bytes),
        output_bytes: sum(|file| file.output_bytes),
        dtypes: of_dtypes(reports.iter().flat_map(|file| &file.dtypes)),
        folder,
        warnings: screen.warnings(),
        seconds: start.elapsed().as_secs_f64(),
        files: reports.iter().map(FileResult::new).collect(),
    };
    context.print_result(&result, || {
        in_words(&result, &kept_in_words(reports.iter()), &output)
    })
}

/// Sums over the reports on each type, in the order of their codes.
fn of_dtypes<'r>(reports: impl Iterator<Item = &'r DtypeReport>) -> Vec<DtypeResult> {
    let mut sums: BTreeMap<u8, DtypeResult> = BTreeMap::new();
    for report in reports {
        let sum = sums.entry(report.dtype.code()).or_insert(DtypeResult {
            dtype: report.dtype,
            tensors: 0,
            elements: 0,
            data_bytes: 0,
            payload_bytes: 0,
            bits_per_element: None,
        });
        sum.tensors += u64::from(report.tensors);
        sum.elements = sum.elements.saturating_add(report.elements);
        sum.data_bytes = sum.data_bytes.saturating_add(report.data_bytes);
        sum.payload_bytes = sum.payload_bytes.saturating_add(report.payload_bytes);
        let bits = 8.0 * sum.payload_bytes as f64 / sum.elements as f64;
        sum.bits_per_element = (sum.elements > 0).then_some(bits);
    }
    sums.into_values().collect()
}

/// The stored bits for each element of the types that became smaller. It begins with a comma, and
/// is empty if there are none.
fn bits_in_words(dtypes: &[DtypeResult]) -> String {
    let smaller = dtypes
        .iter()
        .filter(|sum| sum.payload_bytes < sum.data_bytes);
    let bits =
        smaller.filter_map(|sum| Some(format!("{} {:.3}", sum.dtype, sum.bits_per_element?)));
    match bits.collect::<Vec<_>>() {
        bits if bits.is_empty() => String::new(),
        bits => format!(", bits per element: {}", bits.join(", ")),
    }
}

fn compression(options: &Compress, context: &Context, selection: Selection) -> CompressOptions {
    let mut compression = CompressOptions::new()
        .encoding(options.encoding.into())
        .chunk_size_log2(options.chunk)
        .threads(context.executor.clone());
    if !selection.is_all() {
        compression = compression.select(move |name| selection.has(name));
    }
    match options.memory.budget() {
        Some(budget) => compression.memory(budget),
        None => compression,
    }
}

/// Says why a file did not become smaller, with the options that selected tensors.
fn nothing_gained(why: &NoGain, growth: u64) -> String {
    let why = match why {
        NoGain::NoneSelected => "--include and --exclude select none of its tensors".to_owned(),
        why => why.to_string(),
    };
    match growth {
        0 => why,
        more => format!("{why}; the file grew by {} bytes", bytes(more)),
    }
}

fn in_words(result: &CompressResult, kept: &str, output: &Path) -> String {
    let tensors: u32 = result.files.iter().map(|file| file.tensors).sum();
    let compressed = result.files.iter().map(|file| file.compressed_tensors);
    let compressed: u32 = compressed.sum();
    let bits = bits_in_words(&result.dtypes);
    let verified = match result.files.iter().all(|file| file.verified) {
        true => "; verified",
        false => "",
    };
    let converted = format!(
        "{}: {} to {} bytes ({}), {compressed} of {tensors} tensors compressed{bits}, {:.1} s{verified}",
        shown(output),
        bytes(result.input_bytes),
        bytes(result.output_bytes),
        percent(result.output_bytes, result.input_bytes),
        result.seconds,
    );
    let Some(folder) = &result.folder else {
        let why = result
            .files
            .iter()
            .find_map(|file| file.nothing_gained.as_ref());
        let why = why.map_or(String::new(), |why| format!("; no gain: {why}"));
        return converted + &why;
    };
    let in_vain: Vec<String> = result
        .files
        .iter()
        .filter_map(|file| {
            let why = file.nothing_gained.as_ref()?;
            Some(format!("{} ({why})", escaped(&file.input)))
        })
        .collect();
    let in_vain = match in_vain.len() {
        0 => String::new(),
        count => format!(
            "\nno gain in {count} of {}: {}",
            counted_files(result.files.len() as u64),
            listed(in_vain.into_iter())
        ),
    };
    converted + kept + &folder.in_words() + &in_vain
}
