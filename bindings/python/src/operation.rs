//! Operations on files and folders.
//!
//! An operation runs on a thread of its own, without the interpreter's lock. The thread that called
//! waits for it: it calls the progress callback, and notices Ctrl-C.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use unweight::file::{Action, Event, FileOptions, FileReport, Step};
use unweight::folder::{FolderReport, LeftOut, VerifyReport};
use unweight::{CompressOptions, Encoding, Error, MemoryBudget, Threads, file, folder};

use crate::error::{exception, wrong_argument};
use crate::threads::threads;

/// Time between two looks at progress and signals.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What the thread of an operation and the thread that waits for it share.
#[derive(Default)]
pub(crate) struct Watch {
    is_cancelled: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    has_ended: bool,
    /// What the progress callback was not told yet.
    events: Vec<ProgressEvent>,
    /// What a callback of the caller raised on the operation's thread.
    raised: Option<PyErr>,
}

/// How far the work on a file is.
#[derive(Clone, PartialEq)]
pub(crate) struct ProgressEvent {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) number: usize,
    pub(crate) count: usize,
    pub(crate) done_bytes: u64,
    pub(crate) total_bytes: u64,
}

impl Watch {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Keeps an exception of a callback, and cancels the operation.
    fn raise(&self, error: PyErr) {
        self.lock().raised.get_or_insert(error);
        self.cancel();
    }

    pub(crate) fn answer(&self) -> ControlFlow<()> {
        match self.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Notes how far the work on a file is. Threads report their progress in any order.
    pub(crate) fn note(&self, event: ProgressEvent) {
        let mut state = self.lock();
        match state.events.last_mut() {
            Some(last) if (last.action, last.number) == (event.action, event.number) => {
                last.done_bytes = last.done_bytes.max(event.done_bytes);
            }
            _ => state.events.push(event),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a little, and takes the events. None once the operation has ended.
    fn wait(&self) -> Option<Vec<ProgressEvent>> {
        let state = self.lock();
        let waited = self
            .ended
            .wait_timeout_while(state, POLL_INTERVAL, |state| !state.has_ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::take(&mut state.events);
        (!state.has_ended || !events.is_empty()).then_some(events)
    }
}

/// Tells the thread that waits that the operation has ended, also if it panics.
struct AtEnd(Arc<Watch>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.ended.notify_all();
    }
}

/// Runs `work`, calls `progress` from time to time, and cancels `work` if that or a signal handler
/// raises an exception.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Arc<Watch>) -> Result<T, Error> + Send + 'static,
) -> PyResult<T> {
    let done = finish(py, progress, work)?;
    done.map_err(|error| exception(py, &error, None))
}

/// Same as [`run`], but returns the error of `work` itself.
pub(crate) fn finish<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Arc<Watch>) -> Result<T, Error> + Send + 'static,
) -> PyResult<Result<T, Error>> {
    let watch = Arc::new(Watch::default());
    let of_thread = watch.clone();
    let thread = thread::Builder::new()
        .name("unweight".to_owned())
        .spawn(move || {
            let _at_end = AtEnd(of_thread.clone());
            work(&of_thread)
        });
    let thread = thread.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let mut interrupted = None;
    while let Some(events) = py.detach(|| watch.wait()) {
        if interrupted.is_some() {
            continue;
        }
        let told = || -> PyResult<()> {
            py.check_signals()?;
            if let Some(progress) = progress {
                for event in &events {
                    let path = event.path.as_os_str();
                    let ProgressEvent {
                        action,
                        number,
                        count,
                        done_bytes,
                        total_bytes,
                        ..
                    } = *event;
                    progress.call1((action, path, number, count, done_bytes, total_bytes))?;
                }
            }
            Ok(())
        };
        if let Err(error) = told() {
            watch.cancel();
            interrupted = Some(error);
        }
    }
    let done = py.detach(|| thread.join());
    let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Some(raised) = interrupted.or_else(|| watch.lock().raised.take()) {
        return Err(raised);
    }
    Ok(done)
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Copy => "copy",
        Action::Compress => "compress",
        Action::Decompress => "decompress",
        Action::Transcode => "transcode",
        Action::Verify => "verify",
        Action::Compare => "compare",
        _ => "work",
    }
}

/// Options of an operation on files or folders.
#[derive(FromPyObject)]
pub(crate) struct Options {
    #[pyo3(item)]
    force: bool,
    #[pyo3(item)]
    verify: bool,
    #[pyo3(item)]
    resume: bool,
    #[pyo3(item)]
    all_files: bool,
    #[pyo3(item)]
    threads: Option<usize>,
    #[pyo3(item)]
    memory: Option<u64>,
}

impl Options {
    fn of_files(&self, threads: Threads, compression: CompressOptions) -> FileOptions {
        let options = FileOptions::new()
            .compression(compression)
            .force(self.force)
            .verify(self.verify)
            .resume(self.resume)
            .all_files(self.all_files)
            .threads(threads);
        match self.memory {
            Some(bytes) => options.memory(MemoryBudget::of_bytes(bytes)),
            None => options,
        }
    }
}

/// The options, with events for the thread that waits.
fn watched(options: FileOptions, watch: &Arc<Watch>) -> FileOptions {
    let watch = watch.clone();
    options.events(move |event| {
        let progress_event = |step: Step<'_>, done_bytes, total_bytes| ProgressEvent {
            action: action(step.action),
            path: step.name.to_owned(),
            number: step.number,
            count: step.count,
            done_bytes,
            total_bytes,
        };
        match event {
            Event::Begin { step, total_bytes } => watch.note(progress_event(step, 0, total_bytes)),
            Event::Progress { step, progress } => {
                watch.note(progress_event(
                    step,
                    progress.done_bytes,
                    progress.total_bytes,
                ));
            }
            _ => {}
        }
        watch.answer()
    })
}

pub(crate) fn encoding(py: Python<'_>, name: &str) -> PyResult<Encoding> {
    match name {
        "huffman" => Ok(Encoding::Huffman),
        "palette" => Ok(Encoding::Palette),
        _ => Err(wrong_argument(
            py,
            format!("found encoding {name:?}, expected 'huffman' or 'palette'"),
        )),
    }
}

enum Report {
    File(FileReport),
    Folder(FolderReport),
}

#[pyfunction]
pub(crate) fn compress<'py>(
    py: Python<'py>,
    source: PathBuf,
    output: PathBuf,
    options: Options,
    encoding: &str,
    select: Option<Py<PyAny>>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let compression = CompressOptions::new().encoding(self::encoding(py, encoding)?);
    let threads = threads(py, options.threads);
    let done = run(py, progress, move |watch| {
        let compression = match select {
            Some(select) => selecting(compression, select, watch.clone()),
            None => compression,
        };
        let options = watched(options.of_files(threads, compression), watch);
        match source.is_dir() {
            true => folder::compress(source, output, &options).map(Report::Folder),
            false => file::compress(source, output, &options).map(Report::File),
        }
    });
    report(py, done?)
}

/// Compresses the tensors for whose names `select` is true.
fn selecting(options: CompressOptions, select: Py<PyAny>, watch: Arc<Watch>) -> CompressOptions {
    options.select(move |name| {
        if watch.is_cancelled() {
            return false;
        }
        let selected = Python::attach(|py| select.bind(py).call1((name,))?.is_truthy());
        selected.unwrap_or_else(|error| {
            watch.raise(error);
            false
        })
    })
}

#[pyfunction]
pub(crate) fn decompress<'py>(
    py: Python<'py>,
    container: PathBuf,
    output: PathBuf,
    options: Options,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let threads = threads(py, options.threads);
    let options = options.of_files(threads, CompressOptions::new());
    let done = run(py, progress, move |watch| {
        let options = watched(options, watch);
        match container.is_dir() {
            true => folder::decompress(container, output, &options).map(Report::Folder),
            false => file::decompress(container, output, &options).map(Report::File),
        }
    });
    report(py, done?)
}

#[pyfunction]
pub(crate) fn transcode<'py>(
    py: Python<'py>,
    container: PathBuf,
    output: PathBuf,
    options: Options,
    encoding: &str,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let to = self::encoding(py, encoding)?;
    let threads = threads(py, options.threads);
    let options = options.of_files(threads, CompressOptions::new());
    let done = run(py, progress, move |watch| {
        let options = watched(options, watch);
        match container.is_dir() {
            true => folder::transcode(container, output, to, &options).map(Report::Folder),
            false => file::transcode(container, output, to, &options).map(Report::File),
        }
    });
    report(py, done?)
}

#[pyfunction]
pub(crate) fn verify<'py>(
    py: Python<'py>,
    path: PathBuf,
    against: Option<PathBuf>,
    options: Options,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    enum Done {
        File(PathBuf, u64),
        Folder(VerifyReport),
    }
    let threads = threads(py, options.threads);
    let options = options.of_files(threads, CompressOptions::new());
    let done = run(py, progress, move |watch| {
        let options = watched(options, watch);
        if path.is_dir() {
            let report = match against {
                Some(source) => folder::verify_against(path, source, &options),
                None => folder::verify(path, &options),
            };
            return report.map(Done::Folder);
        }
        let bytes = match against {
            Some(source) => file::verify_against(&path, source, &options),
            None => file::verify(&path, &options),
        };
        bytes.map(|bytes| Done::File(path, bytes))
    });
    let result = PyDict::new(py);
    let (files, restored_bytes, left_out) = match done? {
        Done::File(path, bytes) => (vec![path], bytes, LeftOut::default()),
        Done::Folder(report) => (report.files, report.restored_bytes, report.left_out),
    };
    let files = files.iter().map(|path| path.as_os_str());
    result.set_item("files", files.collect::<Vec<_>>())?;
    result.set_item("restored_bytes", restored_bytes)?;
    result.set_item("left_out", left_out_names(&left_out))?;
    Ok(result)
}

fn report(py: Python<'_>, report: Report) -> PyResult<Bound<'_, PyDict>> {
    let result = PyDict::new(py);
    let (files, copied, left_out, warnings) = match &report {
        Report::File(file) => (
            std::slice::from_ref(file),
            Default::default(),
            vec![],
            vec![],
        ),
        Report::Folder(folder) => {
            let warnings = folder.warnings.iter().map(ToString::to_string);
            let left_out = left_out_names(&folder.left_out);
            (
                &folder.files[..],
                folder.copied,
                left_out,
                warnings.collect(),
            )
        }
    };
    let files = files.iter().map(|file| file_report(py, file));
    result.set_item(
        "files",
        PyList::new(py, files.collect::<PyResult<Vec<_>>>()?)?,
    )?;
    result.set_item("copied_files", copied.files)?;
    result.set_item("copied_bytes", copied.bytes)?;
    result.set_item("left_out", left_out)?;
    result.set_item("warnings", warnings)?;
    Ok(result)
}

fn left_out_names(left_out: &LeftOut) -> Vec<&OsStr> {
    let names = left_out.names.iter();
    names.map(|name| name.as_os_str()).collect()
}

fn file_report<'py>(py: Python<'py>, report: &FileReport) -> PyResult<Bound<'py, PyDict>> {
    let result = PyDict::new(py);
    result.set_item("input", report.input.as_os_str())?;
    result.set_item("output", report.output.as_os_str())?;
    result.set_item("input_bytes", report.input_bytes)?;
    result.set_item("output_bytes", report.output_bytes)?;
    result.set_item("tensors", report.tensors)?;
    result.set_item("compressed_tensors", report.compressed_tensors)?;
    result.set_item("no_gain", report.no_gain.map(|reason| reason.to_string()))?;
    result.set_item("verified", report.verified)?;
    result.set_item("kept", report.kept)?;
    Ok(result)
}
