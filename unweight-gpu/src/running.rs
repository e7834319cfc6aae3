//! Waits for launches before the memory that they use is given up.

use std::sync::Arc;

use cudarc::driver::{CudaStream, DriverError};

/// Where launches may still be running. Dropping it waits for them, so it stands before the memory in whatever holds both.
#[derive(Debug, Default)]
pub(crate) struct Running {
    stream: Option<Arc<CudaStream>>,
    is_used: bool,
}

impl Running {
    /// For memory that this stream is still writing.
    pub(crate) fn made_on(stream: &Arc<CudaStream>) -> Running {
        Running {
            stream: Some(stream.clone()),
            is_used: false,
        }
    }

    /// Whether anything was launched.
    pub(crate) const fn is_used(&self) -> bool {
        self.is_used
    }

    /// Remembers where to wait. Of two streams, the first is waited for at once: so launches, if this is asked for in front of them, come one after the other.
    pub(crate) fn on(&mut self, stream: &Arc<CudaStream>) -> Result<(), DriverError> {
        self.before(stream)?;
        self.stream = Some(stream.clone());
        self.is_used = true;
        Ok(())
    }

    /// Waits for what runs elsewhere, if anything does.
    pub(crate) fn before(&self, stream: &CudaStream) -> Result<(), DriverError> {
        match &self.stream {
            Some(before) if before.cu_stream() != stream.cu_stream() => before.synchronize(),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            // An error here is one of the launches', which asking for their outcome would have told.
            let _ = stream.synchronize();
        }
    }
}
