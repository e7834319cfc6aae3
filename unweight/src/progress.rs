//! Progress of an operation, and its cancellation.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, io};

use unweight_format::Extent;

use crate::{Storage, StorageError, StorageFault, read_extent};

/// Progress of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that have been read.
    pub done_bytes: u64,
    /// Estimate of the bytes that will have been read at the end.
    pub total_bytes: u64,
}

/// A progress callback. It is called repeatedly during an operation, from any of its threads.
/// `Break` cancels the operation.
#[derive(Clone)]
pub(crate) struct ProgressCallback(Arc<dyn Fn(Progress) -> ControlFlow<()> + Send + Sync>);

impl ProgressCallback {
    pub(crate) fn new(
        callback: impl Fn(Progress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> ProgressCallback {
        ProgressCallback(Arc::new(callback))
    }
}

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressCallback")
    }
}

/// A storage that reports its reads to a progress callback.
pub(crate) struct Metered<S> {
    storage: S,
    callback: Option<ProgressCallback>,
    total_bytes: u64,
    done_bytes: AtomicU64,
}

impl<S> Metered<S> {
    pub(crate) fn new(
        storage: S,
        callback: Option<ProgressCallback>,
        total_bytes: u64,
    ) -> Metered<S> {
        Metered {
            storage,
            callback,
            total_bytes,
            done_bytes: AtomicU64::new(0),
        }
    }
}

impl<S: Storage> Storage for Metered<S> {
    fn byte_length(&self) -> io::Result<u64> {
        self.storage.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let bytes = read_extent(&self.storage, extent, buffer)?;
        if let Some(ProgressCallback(callback)) = &self.callback {
            let before = self.done_bytes.fetch_add(extent.length, Ordering::Relaxed);
            let progress = Progress {
                done_bytes: before + extent.length,
                total_bytes: self.total_bytes,
            };
            if callback(progress).is_break() {
                return Err(io::Error::other(Cancelled));
            }
        }
        Ok(bytes)
    }
}

/// Marker error for a cancellation. It passes through the storage's errors, and is converted to
/// [`Error::Cancelled`](crate::Error::Cancelled) at the end.
#[derive(Debug)]
struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Whether this error, or the storage error that it contains, is a cancellation.
pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else {
        return false;
    };
    if inner.is::<Cancelled>() {
        return true;
    }
    let fault = inner.downcast_ref().map(StorageError::fault);
    matches!(fault, Some(StorageFault::Failed(error)) if is_cancelled(error))
}
