//! Retried reads.

use std::sync::Arc;
use std::{fmt, io};

use unweight_format::Extent;

use crate::{Storage, read_extent, read_extent_into};

/// Decides from an error and the number of failed attempts whether to retry.
#[derive(Clone)]
pub(crate) struct RetryPolicy(Arc<Policy>);

type Policy = dyn Fn(&io::Error, u32) -> bool + Send + Sync;

impl RetryPolicy {
    pub(crate) fn new(
        policy: impl Fn(&io::Error, u32) -> bool + Send + Sync + 'static,
    ) -> RetryPolicy {
        RetryPolicy(Arc::new(policy))
    }

    fn run<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut failed = 0u32;
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failed = failed.saturating_add(1);
            if !(self.0)(&error, failed) {
                return Err(error);
            }
        }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryPolicy")
    }
}

/// A storage that retries failed reads.
#[derive(Debug)]
pub(crate) struct Retrying<S> {
    storage: S,
    policy: RetryPolicy,
}

impl<S> Retrying<S> {
    pub(crate) fn new(storage: S, policy: RetryPolicy) -> Retrying<S> {
        Retrying { storage, policy }
    }
}

impl<S: Storage> Storage for Retrying<S> {
    fn byte_length(&self) -> io::Result<u64> {
        self.policy.run(|| self.storage.byte_length())
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let mut attempted = Vec::new();
        self.policy.run(|| {
            // The bytes are copied because a borrow must not outlive its attempt.
            let bytes = read_extent(&self.storage, extent, &mut attempted)?;
            buffer.clear();
            buffer.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(buffer)
    }

    fn read_into(&self, extent: Extent, output: &mut [u8]) -> io::Result<()> {
        self.policy
            .run(|| Ok(read_extent_into(&self.storage, extent, output)?))
    }
}
