//! Options of operations on files and model folders.

use std::ops::ControlFlow;

use super::event::{Event, EventCallback, Reporter};
use crate::{CompressOptions, MemoryBudget, OpenOptions, Threads};

/// Options of [`file`](crate::file) and [`folder`](crate::folder).
///
/// ```
/// use std::ops::ControlFlow;
/// use unweight::file::{Event, FileOptions};
///
/// let options = FileOptions::new().verify(true).resume(true).events(|event| {
///     if let Event::Begin { step, .. } = event {
///         println!("{} of {}: {}", step.number, step.count, step.name.display());
///     }
///     ControlFlow::Continue(())
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    pub(crate) compression: CompressOptions,
    pub(crate) reading: OpenOptions,
    pub(crate) force: bool,
    pub(crate) verify: bool,
    pub(crate) resume: bool,
    pub(crate) all_files: bool,
    events: Option<EventCallback>,
}

impl FileOptions {
    /// The default: nothing is replaced, the default [`CompressOptions`] and [`OpenOptions`].
    pub fn new() -> FileOptions {
        FileOptions::default()
    }

    /// Sets how files are compressed, including threads and memory for that. This replaces what
    /// [`threads`](FileOptions::threads) and [`memory`](FileOptions::memory) set before.
    pub fn compression(mut self, options: CompressOptions) -> FileOptions {
        self.compression = options;
        self
    }

    /// Sets how containers are read for decompressing and verifying: memory, threads, retries and
    /// backend. This replaces what [`threads`](FileOptions::threads) and
    /// [`memory`](FileOptions::memory) set before.
    pub fn reading(mut self, options: OpenOptions) -> FileOptions {
        self.reading = options;
        self
    }

    /// The number of threads of all operations, including the caller's. 0 means one for each
    /// processor. A shared [`Threads`] is accepted too.
    pub fn threads(mut self, threads: impl Into<Threads>) -> FileOptions {
        let threads = threads.into();
        self.compression = self.compression.threads(threads.clone());
        self.reading = self.reading.threads(threads);
        self
    }

    /// The most memory that may be allocated for a file.
    pub fn memory(mut self, budget: MemoryBudget) -> FileOptions {
        self.compression = self.compression.memory(budget);
        self.reading = self.reading.memory(budget);
        self
    }

    /// Replaces what has the name of the output. A folder is replaced only by a folder that holds
    /// files of all its names, and an input or a folder around it is never replaced.
    pub fn force(mut self, force: bool) -> FileOptions {
        self.force = force;
        self
    }

    /// Decodes compressed files again and compares them with their sources before they get their
    /// names.
    pub fn verify(mut self, verify: bool) -> FileOptions {
        self.verify = verify;
        self
    }

    /// Keeps the finished files of a folder if the operation fails or the process ends, in a folder
    /// `.unweight-NAME.partial` beside the output. Goes on with the files of an earlier operation
    /// that had the same settings, after comparing them with their sources. It has no effect on
    /// operations on a file.
    pub fn resume(mut self, resume: bool) -> FileOptions {
        self.resume = resume;
        self
    }

    /// Copies and compares all files of a folder. By default, files that are not part of a model
    /// are left out: `.git`, `.cache`, `*.incomplete`, and temporary files of this crate. It has no
    /// effect on operations on a file.
    pub fn all_files(mut self, all_files: bool) -> FileOptions {
        self.all_files = all_files;
        self
    }

    /// Sets the callback for events, which is called repeatedly, from any thread. `Break` cancels
    /// the operation with [`Error::Cancelled`](crate::Error::Cancelled), and nothing half-written
    /// remains.
    pub fn events(
        mut self,
        callback: impl Fn(Event<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> FileOptions {
        self.events = Some(EventCallback::new(callback));
        self
    }

    /// The events of one operation.
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter::new(self.events.clone())
    }
}
