//! Messages of commands about folders: options that are for folders alone, how the next run can
//! continue, and sums at the end.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;
use unweight::file::FileReport;
use unweight::folder::{FolderReport, LeftOut};

use super::Context;
use super::screen::Screen;
use crate::arguments::OfFolder;
use crate::failure::Failure;
use crate::printable::escaped;
use crate::report::{bytes, percent, text};
use crate::signals::set_last_words;

/// Whether an input is a folder. An input that is not there counts as a file: the error is reported
/// when it is opened.
pub(crate) fn is_folder(input: &Path) -> Result<bool, Failure> {
    match fs::metadata(input) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::io(input, error)),
    }
}

/// Refuses an option that has no meaning for a file.
pub(crate) fn require_folder(input: &Path, option: &str, is_given: bool) -> Result<(), Failure> {
    match is_given {
        false => Ok(()),
        true => Err(Failure::Usage(format!(
            "{} is not a folder, and {option} is only for folders; leave it out",
            input.display()
        ))),
    }
}

/// Applies [`require_folder`] to all options for folders.
pub(crate) fn require_folder_for(input: &Path, options: &OfFolder) -> Result<(), Failure> {
    require_folder(input, "--copy", options.copy.is_some())?;
    require_folder(input, "--resume", options.resume)
}

const KEPT: &str = "finished files are kept; run the same command again to continue";
const NOT_KEPT: &str = "with --resume, finished files are kept for the next run";

/// Does the work on a folder. A message after a failure or a signal says how the next run can
/// continue.
pub(crate) fn resumably(
    context: &Context,
    resumes: bool,
    screen: &Screen,
    work: impl FnOnce() -> Result<FolderReport, unweight::Error>,
) -> Result<FolderReport, Failure> {
    let advice = if resumes { KEPT } else { NOT_KEPT };
    let words = (!context.quiet).then(|| format!("unweight: interrupted; {advice}"));
    set_last_words(words);
    let done = work();
    set_last_words(None);
    let kept_files = screen.kept_files();
    done.map_err(|error| {
        let failure = Failure::from(error);
        // A run that kept nothing leaves nothing to continue from.
        match kept_files.is_some_and(|kept| kept > 0 || !resumes) {
            true => failure.and(&format!("; {advice}")),
            false => failure,
        }
    })
}

/// Result for a whole folder.
#[derive(Serialize)]
pub(crate) struct FolderResult {
    copied: CopiedResult,
    left_out: LeftOutResult,
    /// Total length of the converted and copied files.
    input_bytes: u64,
    output_bytes: u64,
}

/// Files that were copied.
#[derive(Serialize)]
struct CopiedResult {
    files: u64,
    bytes: u64,
}

/// Files that were neither converted nor copied.
#[derive(Serialize)]
pub(crate) struct LeftOutResult {
    files: u64,
    bytes: u64,
    /// Paths of files and folders.
    names: Vec<String>,
}

impl LeftOutResult {
    pub(crate) fn new(left_out: &LeftOut) -> LeftOutResult {
        LeftOutResult {
            files: left_out.files,
            bytes: left_out.bytes,
            names: left_out.names.iter().map(|name| text(name)).collect(),
        }
    }

    /// Describes the files in words that follow a verb. None if there are no files.
    pub(crate) fn in_words(&self) -> Option<String> {
        (!self.names.is_empty()).then(|| {
            format!(
                "{} of {} bytes: {}; --copy all includes them",
                files(self.files),
                bytes(self.bytes),
                listed(self.names.iter().map(|name| escaped(name).into_owned())),
            )
        })
    }
}

impl FolderResult {
    pub(crate) fn new(report: &FolderReport) -> FolderResult {
        FolderResult {
            copied: CopiedResult {
                files: report.copied.files,
                bytes: report.copied.bytes,
            },
            left_out: LeftOutResult::new(&report.left_out),
            input_bytes: report.input_bytes(),
            output_bytes: report.output_bytes(),
        }
    }

    /// Lines that follow the line on converted files. Each one starts with a line feed.
    pub(crate) fn in_words(&self) -> String {
        let mut words = format!(
            "\nwith {} copied ({} bytes), the folder went from {} to {} bytes ({})",
            files(self.copied.files),
            bytes(self.copied.bytes),
            bytes(self.input_bytes),
            bytes(self.output_bytes),
            percent(self.output_bytes, self.input_bytes),
        );
        if let Some(left_out) = self.left_out.in_words() {
            words += &format!("\nleft out {left_out}");
        }
        words
    }
}

/// Says how many files were kept from an earlier run, if any were.
pub(crate) fn kept_in_words<'a>(reports: impl Iterator<Item = &'a FileReport>) -> String {
    match reports.filter(|report| report.kept).count() as u64 {
        0 => String::new(),
        kept => format!("; {} kept from an earlier run", files(kept)),
    }
}

/// A number of files in words.
pub(crate) fn files(count: u64) -> String {
    match count {
        1 => "1 file".to_owned(),
        _ => format!("{} files", bytes(count)),
    }
}

/// First few items of a list, and the number of the others.
pub(crate) fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let more = items.len().saturating_sub(SHOWN);
    let mut words = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        words += &format!(" and {more} more");
    }
    words
}
