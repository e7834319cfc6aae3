//! `unweight verify`.

use std::time::Instant;

use serde::Serialize;
use unweight::file::{self, FileOptions};
use unweight::folder;

use super::Context;
use super::folder::{LeftOutResult, is_folder, require_folder};
use super::screen::Screen;
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
    let is_folder = is_folder(&options.file)?;
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
    let (files, restored_bytes, left_out) = match is_folder {
        true => {
            let report = match &options.against {
                Some(source) => folder::verify_against(path, source, verification)?,
                None => folder::verify(path, verification)?,
            };
            let left_out = LeftOutResult::new(&report.left_out);
            let files = report.files.iter().map(|path| text(path)).collect();
            let left_out = options.against.is_some().then_some(left_out);
            (files, report.restored_bytes, left_out)
        }
        false => {
            let restored_bytes = match &options.against {
                Some(source) => file::verify_against(path, source, verification)?,
                None => file::verify(path, verification)?,
            };
            (vec![text(path)], restored_bytes, None)
        }
    };
    let result = VerifyResult {
        ok: true,
        files,
        restored_bytes,
        against: options.against.as_deref().map(text),
        left_out,
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
