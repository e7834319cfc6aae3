//! `unweight decompress`.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use unweight::file::{self, FileOptions, FileReport, open};
use unweight::output::{require_absent, require_apart};
use unweight::{Storage, folder};

use super::Context;
use super::folder::{FolderResult, is_folder, kept_in_words, require_folder_for, resumably};
use super::screen::Screen;
use crate::arguments::{Copied, Decompress};
use crate::failure::Failure;
use crate::output_name;
use crate::printable::shown;
use crate::progress::{Metered, bar};
use crate::report::{bytes, text};
use crate::standard_output::{Bytes, is_meant};

/// Result for a file that was restored.
#[derive(Serialize)]
struct FileResult {
    input: String,
    output: String,
    input_bytes: u64,
    output_bytes: u64,
    /// Whether the output is from an earlier run, and was compared.
    kept: bool,
}

/// Result of the command.
#[derive(Serialize)]
struct DecompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    /// Result for the whole folder, if the input is a folder.
    folder: Option<FolderResult>,
    warnings: Vec<String>,
    seconds: f64,
}

impl FileResult {
    fn new(report: &FileReport) -> FileResult {
        FileResult {
            input: text(&report.input),
            output: text(&report.output),
            input_bytes: report.input_bytes,
            output_bytes: report.output_bytes,
            kept: report.kept,
        }
    }
}

pub(crate) fn run(options: &Decompress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let (input, is_folder) = (&options.input, is_folder(&options.input)?);
    if !is_folder {
        require_folder_for(input, &options.folder)?;
    }
    if options.output.as_deref().is_some_and(is_meant) {
        return to_standard_output(options, is_folder, context);
    }
    let output = match &options.output {
        // The name of a folder is the same with a slash at its end.
        Some(output) if is_folder => output.components().collect(),
        Some(output) => output.clone(),
        None => output_name::of_restored(input, is_folder)?,
    };
    // A device takes its time to open, so the names are checked before.
    require_absent(&output, options.force)?;
    require_apart(input, &output)?;
    let screen = Screen::new(context, is_folder);
    let reading = context.reading(&options.memory, options.gpu.open()?);
    let restoration = FileOptions::new()
        .reading(reading)
        .force(options.force)
        .resume(options.folder.resume)
        .all_files(options.folder.copy == Some(Copied::All));
    let restoration = screen.of(restoration);
    let (reports, folder) = match is_folder {
        true => {
            let resumes = options.folder.resume;
            let report = resumably(context, resumes, &screen, || {
                folder::decompress(input, &output, &restoration)
            })?;
            let folder = FolderResult::new(&report);
            (report.files, Some(folder))
        }
        false => (vec![file::decompress(input, &output, &restoration)?], None),
    };
    let result = DecompressResult {
        input_bytes: reports.iter().map(|file| file.input_bytes).sum(),
        output_bytes: reports.iter().map(|file| file.output_bytes).sum(),
        folder,
        warnings: screen.warnings(),
        seconds: start.elapsed().as_secs_f64(),
        files: reports.iter().map(FileResult::new).collect(),
    };
    context.print_result(&result, || {
        in_words(&result, &kept_in_words(reports.iter()), &output)
    })
}

fn in_words(result: &DecompressResult, kept: &str, output: &Path) -> String {
    let folder = result.folder.as_ref().map(FolderResult::in_words);
    format!(
        "{}: {} bytes restored, every checksum right, {:.1} s{kept}{}",
        shown(output),
        bytes(result.output_bytes),
        result.seconds,
        folder.unwrap_or_default()
    )
}

/// Decompresses to standard output. Each piece has been checked before a reader gets it, but only
/// the exit code says that the whole is right.
fn to_standard_output(
    options: &Decompress,
    is_folder: bool,
    context: &Context,
) -> Result<(), Failure> {
    let input = &options.input;
    if is_folder {
        return Err(Failure::Usage(format!(
            "{} is a folder, expected a file for standard output; name a folder with -o",
            input.display()
        )));
    }
    let mut stdout = Bytes::open(context)?;
    let gpu = options.gpu.open()?;
    let file = open(input)?;
    let length = file.byte_length();
    let length = length.map_err(|error| Failure::io(input, error))?;
    let bar = bar(context.silent(), "decompress", length);
    let metered = Metered {
        file,
        bar: bar.clone(),
    };
    let done = context
        .reading(&options.memory, gpu)
        .open_storage(metered)
        .and_then(|model| model.restore_with(|bytes| stdout.write(bytes)));
    bar.finish_and_clear();
    stdout.finish(input, done)
}
