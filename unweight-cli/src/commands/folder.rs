//! What commands say about folders: warnings, a line a file where no bar is seen, and sums at the end.

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

/// Warnings: printed when they arise, and kept for the result.
#[derive(Default)]
pub(crate) struct Warnings(pub(crate) Vec<String>);

impl Warnings {
    pub(crate) fn say(&mut self, message: String) {
        warn(&message);
        self.0.push(message);
    }
}

/// What a progress bar says about this file.
pub(crate) fn title(verb: &str, position: &Position<'_>) -> String {
    let Position {
        number,
        count,
        name,
    } = position;
    format!("{verb} {number} of {count}: {}", shown(name))
}

/// Says that a file is done, where no bar showed it.
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

/// Refuses options that mean nothing for a file.
pub(crate) fn require_folder(input: &Path, option: &str, is_given: bool) -> Result<(), Failure> {
    match is_given {
        false => Ok(()),
        true => Err(Failure::Usage(format!(
            "{} is no folder, and {option} is for folders; leave it out",
            input.display()
        ))),
    }
}

/// [`require_folder`] for all options.
pub(crate) fn require_folder_for(input: &Path, options: &OfFolder) -> Result<(), Failure> {
    require_folder(input, "--copy", options.copy.is_some())?;
    require_folder(input, "--resume", options.resume)
}

const KEPT: &str = "finished files are kept: run the same command again to go on";
const NOT_KEPT: &str = "with --resume, finished files are kept for the next run";

/// Does the work on a folder. A failure or a signal on the way says how the next run could go on.
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
        // A run that kept nothing has nothing to go on from.
        match stopped.had_begun && (stopped.finished_files > 0 || !resumes) {
            true => stopped.failure.and(&format!("; {advice}")),
            false => stopped.failure,
        }
    })
}

/// A whole folder.
#[derive(Serialize)]
pub(crate) struct FolderResult {
    copied: Amount,
    left_out: LeftOutResult,
    /// Of converted and of copied files.
    input_bytes: u64,
    output_bytes: u64,
}

/// Files that were neither converted nor copied.
#[derive(Serialize)]
pub(crate) struct LeftOutResult {
    files: u64,
    bytes: u64,
    /// Files and folders.
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

    /// A few words behind a verb; None if there is nothing.
    pub(crate) fn in_words(&self) -> Option<String> {
        (!self.names.is_empty()).then(|| {
            format!(
                "{} of {} bytes: {}; --copy all takes all",
                files(self.files),
                bytes(self.bytes),
                listed(self.names.iter().map(|name| escaped(name).into_owned())),
            )
        })
    }
}

impl FolderResult {
    /// For converted files of these lengths.
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

    /// Lines that follow the one on converted files, each with a line feed in front.
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

/// The first few of a list, and how many more there are.
pub(crate) fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let more = items.len().saturating_sub(SHOWN);
    let mut words = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        words += &format!(" and {more} more");
    }
    words
}
