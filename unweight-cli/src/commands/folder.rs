//! Messages of commands about folders: warnings, a line for each file if no bar is shown, and sums
//! at the end.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;
use unweight::file::{Action, Event, FileOptions, FileReport, Step, Warning};
use unweight::folder::{FolderReport, LeftOut};

use super::Context;
use crate::arguments::OfFolder;
use crate::failure::Failure;
use crate::printable::{escaped, shown};
use crate::progress::bar;
use crate::report::{bytes, percent, text};
use crate::signals::set_last_words;
use crate::warning;

/// What the user sees of an operation on a file or folder while it runs: a bar, or a line for each
/// finished file of a folder, and warnings.
pub(crate) struct Screen {
    silent: bool,
    is_folder: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    /// Number of the file that is worked on, and the time since when.
    file: Option<(usize, Instant)>,
    warnings: Vec<String>,
    /// Number of files that are kept for the next run, if this run was stopped.
    kept_files: Option<usize>,
}

impl Screen {
    pub(crate) fn new(context: &Context, is_folder: bool) -> Arc<Screen> {
        Arc::new(Screen {
            silent: context.silent(),
            is_folder,
            state: Mutex::default(),
        })
    }

    /// The options with this screen of their events.
    pub(crate) fn of(self: &Arc<Screen>, options: FileOptions) -> FileOptions {
        let screen = self.clone();
        options.events(move |event| {
            screen.show(event);
            ControlFlow::Continue(())
        })
    }

    /// The warnings of the operation.
    pub(crate) fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().warnings)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::Begin { step, .. } | Event::Progress { step, .. }
                if step.action == Action::Copy => {}
            Event::Begin { step, total_bytes } => self.begin(step, total_bytes),
            Event::Progress { progress, .. } => {
                let state = self.lock();
                if let Some(bar) = &state.bar {
                    // Threads report their progress in any order.
                    bar.set_position(bar.position().max(progress.done_bytes));
                }
            }
            Event::Converted { step, report } => {
                let size = match step.action {
                    Action::Compress => percent(report.output_bytes, report.input_bytes),
                    _ => format!("{} bytes", bytes(report.output_bytes)),
                };
                let kept = if report.kept { "kept, " } else { "" };
                self.end(step, &format!("{kept}{size}"));
            }
            Event::Verified { step } => self.end(step, "valid"),
            Event::Warning(warning) => self.warn(warning),
            Event::Stopped { kept_files } => self.lock().kept_files = Some(kept_files),
            _ => {}
        }
    }

    fn begin(&self, step: Step<'_>, total_bytes: u64) {
        let mut state = self.lock();
        if state.file.is_none_or(|(number, _)| number != step.number) {
            state.file = Some((step.number, Instant::now()));
        }
        clear(&mut state);
        state.bar = Some(bar(self.silent, &self.title(step), total_bytes));
    }

    fn title(&self, step: Step<'_>) -> String {
        let verb = match step.action {
            Action::Compress => "compress",
            Action::Decompress => "decompress",
            Action::Compare => "compare",
            _ => "verify",
        };
        match self.is_folder {
            true => format!(
                "{verb} {} of {}: {}",
                step.number,
                step.count,
                shown(step.name)
            ),
            false => verb.to_owned(),
        }
    }

    /// Prints that a file of a folder is done, if no bar showed it.
    fn end(&self, step: Step<'_>, what: &str) {
        let mut state = self.lock();
        clear(&mut state);
        if self.silent || !self.is_folder || io::stderr().is_terminal() {
            return;
        }
        let seconds = state
            .file
            .map_or(0.0, |(_, since)| since.elapsed().as_secs_f64());
        let _ = writeln!(
            io::stderr(),
            "{} of {}: {}, {what}, {seconds:.1} s",
            step.number,
            step.count,
            shown(step.name)
        );
    }

    fn warn(&self, warning: &Warning) {
        let mut state = self.lock();
        let say = || warning::tell(warning);
        match &state.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
        state.warnings.push(warning::text(warning));
    }
}

fn clear(state: &mut State) {
    if let Some(bar) = state.bar.take() {
        bar.finish_and_clear();
    }
}

/// Refuses an option that has no meaning for a file.
pub(crate) fn require_folder(input: &Path, option: &str, is_given: bool) -> Result<(), Failure> {
    match is_given {
        false => Ok(()),
        true => Err(Failure::Usage(format!(
            "{} is no folder, and {option} is for folders; leave it out",
            input.display()
        ))),
    }
}

/// Applies [`require_folder`] to all options for folders.
pub(crate) fn require_folder_for(input: &Path, options: &OfFolder) -> Result<(), Failure> {
    require_folder(input, "--copy", options.copy.is_some())?;
    require_folder(input, "--resume", options.resume)
}

const KEPT: &str = "finished files are kept: run the same command again to go on";
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
    let kept_files = screen.lock().kept_files;
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
                "{} of {} bytes: {}; --copy all takes all",
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
