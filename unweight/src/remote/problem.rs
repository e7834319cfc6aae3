//! What can go wrong with an object, in words that have no credentials.

use std::error::Error as StdError;
use std::{fmt, io};

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

use crate::{StorageError, StorageFault};

/// An object of a store could not be read. The inner error of an [`io::Error`].
///
/// Errors of the store's library are not kept: they may have signed URLs or parts of requests.
#[derive(Debug)]
pub struct RemoteError {
    place: String,
    problem: RemoteProblem,
}

/// Why an object could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteProblem {
    /// The URL cannot be used, for this reason.
    Url(&'static str),
    /// A setting is missing or cannot be used. The store expects settings of this prefix.
    Settings(&'static str),
    /// There is no such object or bucket.
    NotFound,
    /// The credentials are missing, wrong or not sufficient.
    Refused,
    /// The object is not the one that was opened.
    Changed,
    /// The server does not answer ranges.
    NoRanges,
    /// The server answered with this status.
    Status(u16),
    /// The server cannot be reached.
    NoConnection,
    /// The server did not answer in time.
    TimedOut,
    /// The answer ended early.
    Interrupted,
    /// The answer is longer than the range that was asked for.
    WrongLength,
    /// The system refused to start threads.
    NoThreads,
    /// Another failure.
    Failed,
}

impl RemoteError {
    pub(super) fn at(place: &str, problem: RemoteProblem) -> io::Error {
        let place = place.to_owned();
        io::Error::new(problem.kind(), RemoteError { place, problem })
    }

    /// The place of the object, without the query of its URL.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Why it could not be read.
    pub fn problem(&self) -> RemoteProblem {
        self.problem
    }
}

/// The remote error that is inside of an I/O error, if there is one.
pub(super) fn remote_error(error: &io::Error) -> Option<&RemoteError> {
    let inner = error.get_ref()?;
    match inner
        .downcast_ref::<StorageError>()
        .map(StorageError::fault)
    {
        Some(StorageFault::Failed(error)) => remote_error(error),
        Some(_) => None,
        None => inner.downcast_ref(),
    }
}

impl RemoteProblem {
    /// Classifies an error of a store by its types and its status. Its text is not used.
    pub(super) fn of(error: &StoreError) -> RemoteProblem {
        let mut found = RemoteProblem::Failed;
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(problem) = of_one(error) {
                found = problem;
            }
            next = error.source();
        }
        found
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            RemoteProblem::Url(_) | RemoteProblem::Settings(_) => io::ErrorKind::InvalidInput,
            RemoteProblem::NotFound => io::ErrorKind::NotFound,
            RemoteProblem::Refused => io::ErrorKind::PermissionDenied,
            RemoteProblem::NoRanges => io::ErrorKind::Unsupported,
            RemoteProblem::NoConnection => io::ErrorKind::NotConnected,
            RemoteProblem::TimedOut => io::ErrorKind::TimedOut,
            RemoteProblem::Interrupted => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::Other,
        }
    }
}

/// What one error of a chain says. The innermost that says something is right.
fn of_one(error: &(dyn StdError + 'static)) -> Option<RemoteProblem> {
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return match error {
            StoreError::NotFound { .. } => Some(RemoteProblem::NotFound),
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                Some(RemoteProblem::Refused)
            }
            StoreError::Precondition { .. } => Some(RemoteProblem::Changed),
            StoreError::NotSupported { .. } => Some(RemoteProblem::NoRanges),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<HttpError>() {
        return Some(match error.kind() {
            HttpErrorKind::Connect => RemoteProblem::NoConnection,
            HttpErrorKind::Timeout => RemoteProblem::TimedOut,
            _ => RemoteProblem::Interrupted,
        });
    }
    // The types of these errors are private.
    let text = error.to_string();
    if text == "Received non-partial response when range requested" {
        return Some(RemoteProblem::NoRanges);
    }
    let status = text.strip_prefix("Server returned non-2xx status code: ")?;
    match status.get(..3)?.parse().ok()? {
        // The store's error around this one says which of these it is.
        401 | 403 => Some(RemoteProblem::Refused),
        404 => Some(RemoteProblem::NotFound),
        412 => Some(RemoteProblem::Changed),
        status => Some(RemoteProblem::Status(status)),
    }
}

impl fmt::Display for RemoteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RemoteProblem::Url(why) => why,
            RemoteProblem::Settings(prefix) => {
                return write!(
                    f,
                    "the store cannot be set up; check the variables {prefix}* of the environment"
                );
            }
            RemoteProblem::NotFound => "there is no such object; check the bucket and the name",
            RemoteProblem::Refused => "access was denied; check the credentials of the environment",
            RemoteProblem::Changed => "the object changed while it was open; open it again",
            RemoteProblem::NoRanges => {
                "the server does not answer ranges of bytes; download the file first"
            }
            RemoteProblem::Status(status) => {
                return write!(
                    f,
                    "the server answered with status {status}; try again later"
                );
            }
            RemoteProblem::NoConnection => {
                "the server cannot be reached; check the host, the network and the certificates"
            }
            RemoteProblem::TimedOut => "the server did not answer in time; try again later",
            RemoteProblem::Interrupted => "the connection broke repeatedly; try again later",
            RemoteProblem::WrongLength => "the server sent more bytes than were asked for",
            RemoteProblem::NoThreads => "the system refused to start threads; end other programs",
            RemoteProblem::Failed => {
                "the store failed; check the URL and the credentials of the environment"
            }
        })
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl StdError for RemoteError {}
