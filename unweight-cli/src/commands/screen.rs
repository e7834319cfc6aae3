//! Events of an operation on a file or folder, shown to people while it runs.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use indicatif::ProgressBar;
use unweight::file::{Action, Event, FileOptions, Step, Warning};

use super::Context;
use crate::printable::shown;
use crate::progress::bar;
use crate::report::{bytes, percent};
use crate::warning;

/// What the user sees of an operation on a file or folder while it runs: a bar, or a line for each
/// finished file of a folder, and warnings.
pub(crate) struct Screen {
    silent: bool,
    is_folder: bool,
    state: RwLock<State>,
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
            state: RwLock::default(),
        })
    }

    /// The options, with their events on this screen.
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

    /// The number of files that are kept for the next run. None unless the operation was stopped
    /// after its checks had passed.
    pub(crate) fn kept_files(&self) -> Option<usize> {
        self.lock().kept_files
    }

    fn lock(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::Begin { step, .. } | Event::Progress { step, .. }
                if step.action == Action::Copy => {}
            Event::Begin { step, total_bytes } => self.begin(step, total_bytes),
            Event::Progress { progress, .. } => {
                // Threads report their progress at the same time, and in any order.
                let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(bar) = &state.bar {
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
            Action::Analyze => "analyze",
            Action::Compare => "compare",
            Action::Transcode => "transcode",
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
