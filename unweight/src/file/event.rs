//! Events of operations on files and folders, and their cancellation.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::report::FileReport;
use crate::diagnostics::{RefusedCall, Warning};
use crate::output::OutputFile;
use crate::progress::{Metered, ProgressCallback};
use crate::{Error, Progress};

/// News of an operation on a file or folder. [`FileOptions::events`](super::FileOptions::events)
/// sets the callback that gets them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work on a file begins. A file is worked on several times if it is compressed and then
    /// verified.
    Begin {
        /// The work.
        step: Step<'a>,
        /// Estimate of the bytes that the work reads.
        total_bytes: u64,
    },
    /// Part of the work on a file is done. Threads report this at the same time, so that the
    /// numbers may arrive in another order.
    Progress {
        /// The work.
        step: Step<'a>,
        /// How far it is.
        progress: Progress,
    },
    /// A file is converted, or was kept from an earlier run.
    Converted {
        /// The conversion.
        step: Step<'a>,
        /// The result.
        report: &'a FileReport,
    },
    /// A file is valid, and equal to the file that it was compared with.
    Verified {
        /// The work.
        step: Step<'a>,
    },
    /// Something that does not make the operation fail.
    Warning(&'a Warning),
    /// The operation on a folder fails or is cancelled, after its checks had passed and before the
    /// output had its name. The error follows as the operation's result.
    Stopped {
        /// The number of finished files that the next operation with the same arguments goes on
        /// with, if this one [resumes](super::FileOptions::resume). 0 otherwise.
        kept_files: usize,
    },
}

/// The work on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step<'a> {
    /// What is done.
    pub action: Action,
    /// The number of the file among those of the folder with the same action, counted from 1.
    pub number: usize,
    /// The number of those files. 1 for an operation on a file.
    pub count: usize,
    /// The path of the file, relative to the folder. The input of an operation on a file.
    pub name: &'a Path,
}

/// The position of a file among the files of a folder that are worked on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'a> {
    /// The number of the file, counted from 1.
    pub(crate) number: usize,
    pub(crate) count: usize,
    pub(crate) name: &'a Path,
}

impl<'a> Position<'a> {
    /// The position of a file that is worked on alone.
    pub(crate) fn alone(name: &'a Path) -> Position<'a> {
        Position {
            number: 1,
            count: 1,
            name,
        }
    }

    pub(crate) fn step(self, action: Action) -> Step<'a> {
        let Position {
            number,
            count,
            name,
        } = self;
        Step {
            action,
            number,
            count,
            name,
        }
    }
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It is copied, as the files of a folder are that are not converted.
    Copy,
    /// It is compressed.
    Compress,
    /// It is decompressed.
    Decompress,
    /// It is transcoded.
    Transcode,
    /// It is verified.
    Verify,
    /// It is read for an [`analysis`](crate::analysis).
    Analyze,
    /// It is decompressed, and compared with the file that an earlier run made.
    Compare,
}

/// Callback for events. `Break` cancels the operation.
#[derive(Clone)]
pub(crate) struct EventCallback(Arc<dyn Fn(Event<'_>) -> ControlFlow<()> + Send + Sync>);

impl EventCallback {
    pub(crate) fn new(
        callback: impl Fn(Event<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> EventCallback {
        EventCallback(Arc::new(callback))
    }
}

impl fmt::Debug for EventCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventCallback")
    }
}

/// Events of one operation: passes them to the caller's callback and keeps the warnings.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    callback: Option<EventCallback>,
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    warnings: Mutex<Vec<Warning>>,
    is_cancelled: AtomicBool,
}

impl Reporter {
    pub(crate) fn new(callback: Option<EventCallback>) -> Reporter {
        Reporter {
            callback,
            kept: Arc::default(),
        }
    }

    /// Passes on an event. Returns [`Error::Cancelled`] if this or an earlier event was answered
    /// with `Break`.
    pub(crate) fn tell(&self, event: Event<'_>) -> Result<(), Error> {
        let answer = self
            .callback
            .as_ref()
            .map(|EventCallback(call)| call(event));
        if answer.is_some_and(|answer| answer.is_break()) {
            self.kept.is_cancelled.store(true, Ordering::Relaxed);
        }
        self.require_not_cancelled()
    }

    /// # Errors
    /// [`Error::Cancelled`] if an event was answered with `Break`.
    pub(crate) fn require_not_cancelled(&self) -> Result<(), Error> {
        match self.kept.is_cancelled.load(Ordering::Relaxed) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    /// Gives a complete output its name, unless the operation is cancelled, and reports that.
    pub(crate) fn commit(
        &self,
        output: OutputFile,
        step: Step<'_>,
        report: &FileReport,
    ) -> Result<(), Error> {
        self.require_not_cancelled()?;
        output.commit(|warning| self.warn(warning))?;
        self.tell_converted(step, report);
        Ok(())
    }

    /// Reports a file that is complete. A cancellation takes effect before the next one.
    pub(crate) fn tell_converted(&self, step: Step<'_>, report: &FileReport) {
        let _ = self.tell(Event::Converted { step, report });
    }

    /// Passes on a warning, and keeps it. Warnings about the same refused call are passed on once.
    pub(crate) fn warn(&self, warning: Warning) {
        if matches!(warning, Warning::Refused { call, .. } if self.is_known(call)) {
            return;
        }
        // A cancellation takes effect at the next event.
        let _ = self.tell(Event::Warning(&warning));
        self.lock().push(warning);
    }

    fn is_known(&self, call: RefusedCall) -> bool {
        let is_same = |known: &Warning| match known {
            Warning::Refused { call: known, .. } => *known == call,
            _ => false,
        };
        self.lock().iter().any(is_same)
    }

    /// The warnings of the operation.
    pub(crate) fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Warning>> {
        let warnings = self.kept.warnings.lock();
        warnings.unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces work on a file. Returns its storage, whose reads are reported.
    pub(crate) fn begin<S>(
        &self,
        step: Step<'_>,
        storage: S,
        total_bytes: u64,
    ) -> Result<Metered<S>, Error> {
        self.tell(Event::Begin { step, total_bytes })?;
        let callback = self.callback.is_some().then(|| self.of_step(step));
        Ok(Metered::new(storage, callback, total_bytes))
    }

    /// Callback for the progress of a step.
    fn of_step(&self, step: Step<'_>) -> ProgressCallback {
        let reporter = self.clone();
        let Step {
            action,
            number,
            count,
            name,
        } = step;
        let name = name.to_owned();
        ProgressCallback::new(move |progress| {
            let step = Step {
                action,
                number,
                count,
                name: &name,
            };
            match reporter.tell(Event::Progress { step, progress }) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
    }
}
