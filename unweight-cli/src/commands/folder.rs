//! Messages of commands about folders: warnings, a line for each file if no bar is shown, and sums
//! at the end.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::Context;
use crate::arguments::OfFolder;
use crate::failure::Failure;
use crate::model_folder::{LeftOut, Outcome, Position, Stopped};
use crate::printable::{escaped, shown};
use crate::report::{bytes, percent, text};
use crate::temporary;
use crate::tree::Amount;
use crate::warning::warn;

/// Warnings, which are printed when they arise and kept for the result.
#[derive(Default)]
pub(crate) struct Warnings(pub(crate) Vec<String>);

impl Warnings {
    pub(crate) fn say(&mut self, message: String) {
        warn(&message);
        self.0.push(message);
    }
}

/// Title of the progress bar for this file.
pub(crate) fn title(verb: &str, position: &Position<'_>) -> String {
    let Position {
        number,
        count,
        name,
    } = position;
    format!("{verb} {number} of {count}: {}", shown(name))
}

/// Prints that a file is done, if no bar showed it.
pub(crate) fn say_done(context: &Context, position: &Position<'_>, what: &str, since: Instant) {
    if context.silent() || io::stderr().is_terminal() {
        return;
    }
    let Position {
        number,
        count,
        name,
    } = position;
    let name = shown(name);
    let seconds = since.elapsed().as_secs_f64();
    let _ = writeln!(
        io::stderr(),
        "{number} of {count}: {name}, {what}, {seconds:.1} s"
    );
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
pub(crate) fn resumably<T>(
    context: &Context,
    resumes: bool,
    work: impl FnOnce() -> Result<Outcome<T>, Stopped>,
) -> Result<Outcome<T>, Failure> {
    let advice = if resumes { KEPT } else { NOT_KEPT };
    let words = (!context.quiet).then(|| format!("unweight: interrupted; {advice}"));
    temporary::set_last_words(words);
    let done = work();
    temporary::set_last_words(None);
    done.map_err(|stopped| {
        // A run that kept nothing leaves nothing to continue from.
        match stopped.had_begun && (stopped.finished_files > 0 || !resumes) {
            true => stopped.failure.and(&format!("; {advice}")),
            false => stopped.failure,
        }
    })
}

/// Result for a whole folder.
#[derive(Serialize)]
pub(crate) struct FolderResult {
    copied: Amount,
    left_out: LeftOutResult,
    /// Total length of the converted and copied files.
    input_bytes: u64,
    output_bytes: u64,
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
    /// Result for converted files of these lengths.
    pub(crate) fn new(
        input_bytes: u64,
        output_bytes: u64,
        copied: Amount,
        left_out: &LeftOut,
    ) -> FolderResult {
        FolderResult {
            copied,
            left_out: LeftOutResult::new(left_out),
            input_bytes: input_bytes + copied.bytes,
            output_bytes: output_bytes + copied.bytes,
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
