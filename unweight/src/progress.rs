//! Progress of an operation, and its cancellation.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, io};

use unweight_format::Extent;

use crate::{Storage, StorageError, StorageFault, read_extent};

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that have been read.
    pub done_bytes: u64,
    /// Bytes that will have been read in the end, as far as that is known.
    pub total_bytes: u64,
}

/// Is called again and again during an operation, from any of its threads. `Break` cancels the operation.
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

/// A storage whose reads are reported.
pub(crate) struct Metered<'a, S: ?Sized> {
    storage: &'a S,
    callback: Option<&'a ProgressCallback>,
    total_bytes: u64,
    done_bytes: AtomicU64,
}

impl<'a, S: ?Sized> Metered<'a, S> {
    pub(crate) fn new(
        storage: &'a S,
        callback: Option<&'a ProgressCallback>,
        total_bytes: u64,
    ) -> Metered<'a, S> {
        Metered {
            storage,
            callback,
            total_bytes,
            done_bytes: AtomicU64::new(0),
        }
    }
}

impl<S: Storage + ?Sized> Storage for Metered<'_, S> {
    fn byte_length(&self) -> io::Result<u64> {
        self.storage.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let bytes = read_extent(self.storage, extent, buffer)?;
        if let Some(ProgressCallback(callback)) = self.callback {
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

/// Travels through the storage's errors to where [`Error::Cancelled`](crate::Error::Cancelled) is made of it.
#[derive(Debug)]
struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Whether this, or what a storage reported within it, is a cancellation.
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
