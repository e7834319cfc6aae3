//! `unweight verify`.

use std::time::Instant;

use serde::Serialize;
use unweight::file::{self, FileOptions};
use unweight::folder;

use super::Context;
use super::folder::{LeftOutResult, Screen, require_folder};
use crate::arguments::{Copied, Verify};
use crate::failure::Failure;
use crate::printable::{escaped, shown};
use crate::report::{bytes, text};

/// Result of a check that passed. Anything else is a failure.
#[derive(Serialize)]
struct VerifyResult {
    ok: bool,
    files: Vec<String>,
    restored_bytes: u64,
    against: Option<String>,
    /// Files of the source folder that were not compared.
    left_out: Option<LeftOutResult>,
    seconds: f64,
}

pub(crate) fn run(options: &Verify, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let is_folder = options.file.is_dir();
    if !is_folder {
        require_folder(&options.file, "--copy", options.copy.is_some())?;
    }
    let screen = Screen::new(context, is_folder);
    let reading = context.reading(&options.memory, options.gpu.open()?);
    let verification = FileOptions::new()
        .reading(reading)
        .all_files(options.copy == Some(Copied::All));
    let verification = &screen.of(verification);
    let path = &options.file;
    let report = match (is_folder, &options.against) {
        (true, Some(source)) => folder::verify_against(path, source, verification),
        (true, None) => folder::verify(path, verification),
        (false, Some(source)) => file::verify_against(path, source, verification),
        (false, None) => file::verify(path, verification),
    }?;
    let is_compared = is_folder && options.against.is_some();
    let result = VerifyResult {
        ok: true,
        files: report.files.iter().map(|path| text(path)).collect(),
        restored_bytes: report.restored_bytes,
        against: options.against.as_deref().map(text),
        left_out: is_compared.then(|| LeftOutResult::new(&report.left_out)),
        seconds: start.elapsed().as_secs_f64(),
    };
    context.print_result(&result, || {
        let against = match &result.against {
            Some(source) => format!("; equal to {}", escaped(source)),
            None => String::new(),
        };
        let left_out = result.left_out.as_ref().and_then(LeftOutResult::in_words);
        let left_out = left_out.map_or(String::new(), |words| format!("\nnot compared: {words}"));
        format!(
            "{}: valid; restores {} bytes{against}, {:.1} s{left_out}",
            shown(&options.file),
            bytes(result.restored_bytes),
            result.seconds
        )
    })
}
