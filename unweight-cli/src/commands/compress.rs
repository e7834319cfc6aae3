//! `unweight compress`.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use unweight::CompressOptions;
use unweight::file::{self, FileOptions, FileReport, NoGain};
use unweight::folder;

use super::Context;
use super::folder::{
    FolderResult, files as counted_files, kept_in_words, listed, require_folder_for, resumably,
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
    coded_tensors: u32,
    /// Number of weights of all BF16 tensors.
    bf16_weights: u64,
    /// Payload bytes of all BF16 tensors, coded or raw.
    bf16_payload_bytes: u64,
    /// Reason why the output is not smaller than the input. None if it is smaller.
    nothing_gained: Option<String>,
    verified: bool,
    /// Whether the output is from an earlier run, and was verified.
    kept: bool,
}

/// Result of the command.
#[derive(Serialize)]
struct CompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    bits_per_weight: Option<f64>,
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
            coded_tensors: report.coded_tensors,
            bf16_weights: report.bf16_weights,
            bf16_payload_bytes: report.bf16_payload_bytes,
            nothing_gained: no_gain.map(|why| nothing_gained(why, growth)),
            verified: report.verified,
            kept: report.kept,
        }
    }
}

pub(crate) fn run(options: &Compress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let selection = Selection::new(&options.include, &options.exclude)?;
    let (input, is_folder) = (&options.input, options.input.is_dir());
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
    let weights = sum(|file| file.bf16_weights);
    let payload_bits = 8.0 * sum(|file| file.bf16_payload_bytes) as f64;
    let result = CompressResult {
        input_bytes: sum(|file| file.input_bytes),
        output_bytes: sum(|file| file.output_bytes),
        bits_per_weight: (weights > 0).then(|| payload_bits / weights as f64),
        folder,
        warnings: screen.warnings(),
        seconds: start.elapsed().as_secs_f64(),
        files: reports.iter().map(FileResult::new).collect(),
    };
    context.print_result(&result, || {
        in_words(&result, &kept_in_words(reports.iter()), &output)
    })
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
        NoGain::NoneSelected => {
            "--include and --exclude select none of its BF16 tensors".to_owned()
        }
        why => why.to_string(),
    };
    match growth {
        0 => why,
        more => format!("{why}; the file grew by {} bytes", bytes(more)),
    }
}

fn in_words(result: &CompressResult, kept: &str, output: &Path) -> String {
    let tensors: u32 = result.files.iter().map(|file| file.tensors).sum();
    let coded: u32 = result.files.iter().map(|file| file.coded_tensors).sum();
    let bits = result.bits_per_weight.map_or(String::new(), |bits| {
        format!(", {bits:.3} bits per BF16 weight")
    });
    let verified = match result.files.iter().all(|file| file.verified) {
        true => "; verified",
        false => "",
    };
    let converted = format!(
        "{}: {} to {} bytes ({}){bits}, {coded} of {tensors} tensors coded, {:.1} s{verified}",
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
