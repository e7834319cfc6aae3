//! Conversion of the library's errors to the package's exceptions.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use unweight::file::FileError;
use unweight::{Error, ErrorKind, StorageError, StorageFault};

/// The exception for an error, of the file at `path` if the error has no path of its own.
pub(crate) fn exception(py: Python<'_>, error: &Error, path: Option<&Path>) -> PyErr {
    exception_of(py, error, path, "BadFile")
}

/// Same as [`exception`], for an operation that saves what the caller gave: what a file cannot hold
/// is a wrong argument then, and no bad file.
pub(crate) fn save_exception(py: Python<'_>, error: &Error) -> PyErr {
    exception_of(py, error, None, "WrongArgument")
}

fn exception_of(
    py: Python<'_>,
    error: &Error,
    path: Option<&Path>,
    unwritable: &'static str,
) -> PyErr {
    let failure = io_error(error);
    let raised = failure.and_then(python_error);
    if let Some(raised) = raised
        && (!raised.is_instance_of::<PyException>(py) || is_of_package(py, raised))
    {
        // An interrupt is no `Exception`, and passes through unchanged; so does an error of this package.
        return raised.clone_ref(py);
    }
    let made = make(py, error, failure, path, unwritable);
    made.inspect(|made| made.set_cause(py, raised.map(|raised| raised.clone_ref(py))))
        .unwrap_or_else(|failed| failed)
}

/// The exception for a call that cannot be done as it was made.
pub(crate) fn wrong_argument(py: Python<'_>, message: impl Into<String>) -> PyErr {
    with_message(py, "WrongArgument", message.into())
}

/// The exception for an array that cannot be shared as asked.
pub(crate) fn export_error(py: Python<'_>, message: impl Into<String>) -> PyErr {
    with_message(py, "ExportError", message.into())
}

fn with_message(py: Python<'_>, class: &str, message: String) -> PyErr {
    let module = py.import("unweight._errors");
    let class = module.and_then(|module| module.getattr(class));
    match class.and_then(|class| class.call1((message,))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failed) => failed,
    }
}

/// Whether an exception is one of this package, such as that of a file object after a fork.
fn is_of_package(py: Python<'_>, raised: &PyErr) -> bool {
    let module = py.import("unweight._errors");
    let class = module.and_then(|module| module.getattr("UnweightError"));
    class.is_ok_and(|class| raised.is_instance(py, &class))
}

fn make(
    py: Python<'_>,
    error: &Error,
    failure: Option<&io::Error>,
    path: Option<&Path>,
    unwritable: &'static str,
) -> PyResult<PyErr> {
    let details = PyDict::new(py);
    if let Some(rule) = error.rule() {
        details.set_item("rule", rule.id())?;
        details.set_item("category", rule.category().name())?;
    }
    details.set_item("offset", error.offset())?;
    details.set_item("tensor", error.tensor())?;
    let path = error.path().or(path);
    details.set_item("path", path.map(Path::as_os_str))?;
    if let Some(number) = failure.and_then(system_error) {
        details.set_item("errno", number)?;
    }
    let class = py
        .import("unweight._errors")?
        .getattr(class(error, failure, unwritable))?;
    let exception = class.call((message(error, path),), Some(&details))?;
    Ok(PyErr::from_value(exception))
}

/// The message, with the path in front of it if it has none.
fn message(error: &Error, path: Option<&Path>) -> String {
    match (error.path(), path) {
        (None, Some(path)) => format!("{}: {error}", path.display()),
        _ => error.to_string(),
    }
}

/// The name of the exception's class, `unwritable` for what a container cannot hold.
fn class(error: &Error, failure: Option<&io::Error>, unwritable: &'static str) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidFile | ErrorKind::InvalidSource => "BadFile",
        ErrorKind::OverBudget => "OverBudget",
        ErrorKind::NoTensor => "NoTensor",
        ErrorKind::Unwritable => unwritable,
        ErrorKind::Refused if matches!(error, Error::File(FileError::Exists { .. })) => "Exists",
        ErrorKind::Refused | ErrorKind::WrongLength | ErrorKind::WrongArgument => "WrongArgument",
        ErrorKind::ReadFailed | ErrorKind::WriteFailed => match failure.map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => "NotFound",
            Some(io::ErrorKind::PermissionDenied) => "NotPermitted",
            _ => "IoError",
        },
        ErrorKind::NoDevice => "NoDevice",
        _ => "UnweightError",
    }
}

fn io_error(error: &Error) -> Option<&io::Error> {
    match error {
        Error::At { error, .. } => io_error(error),
        Error::Read(error) | Error::Write(error) => Some(error),
        _ => None,
    }
}

/// The number of the system's error, which may be in that of a storage.
fn system_error(error: &io::Error) -> Option<i32> {
    match storage_failure(error) {
        Some(inner) => system_error(inner),
        None => error.raw_os_error(),
    }
}

/// What a file object raised.
fn python_error(error: &io::Error) -> Option<&PyErr> {
    if let Some(inner) = storage_failure(error) {
        return python_error(inner);
    }
    let inner: &(dyn StdError + 'static) = error.get_ref()?;
    inner.downcast_ref()
}

fn storage_failure(error: &io::Error) -> Option<&io::Error> {
    match error.get_ref()?.downcast_ref::<StorageError>()?.fault() {
        StorageFault::Failed(inner) => Some(inner),
        _ => None,
    }
}
