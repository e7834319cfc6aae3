//! Streams of callers.

#![expect(unsafe_code, reason = "raw handles of streams")]

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, result, sys};

use crate::GpuError;
use crate::kernels::LaunchStream;
use crate::memory::require_context;

/// A stream of the caller. Loads wait for the work that is on it when they begin: what used the
/// outputs' memory before. Other crates' launches go to it ([`CallerStream::for_launches`]).
#[derive(Clone, Debug)]
pub struct CallerStream(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Shared(Arc<CudaStream>),
    /// A `CUstream`.
    Raw(usize),
}

impl CallerStream {
    /// Wraps a `CUstream` that another library made, for example PyTorch. NULL is the legacy
    /// default stream, and the handle of the per-thread default stream is the calling thread's.
    ///
    /// # Safety
    /// The stream must be of the primary context of the device that loads and launches with this
    /// value use, and must exist until these have returned.
    pub unsafe fn from_raw(stream: *mut c_void) -> CallerStream {
        CallerStream(Kind::Raw(stream as usize))
    }

    /// The stream for launches with memory of this context.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`].
    pub fn for_launches<'a>(
        &self,
        context: &'a Arc<CudaContext>,
    ) -> Result<LaunchStream<'a>, GpuError> {
        Ok(LaunchStream::new(context, self.raw(context)?))
    }

    /// Returns an error if launches cannot be ordered behind this stream. Nothing was allocated
    /// before: that would break a capture.
    ///
    /// # Errors
    /// [`GpuError::Capturing`]; [`GpuError::OtherContext`]; the errors of the driver.
    pub(super) fn require_no_capture(&self, context: &Arc<CudaContext>) -> Result<(), GpuError> {
        let raw = self.raw(context)?;
        context.bind_to_thread()?;
        // SAFETY: the stream exists (`from_raw`, or it is shared), and its context is current.
        let status = unsafe { result::stream::is_capturing(raw)? };
        match status {
            sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => Ok(()),
            _ => Err(GpuError::Capturing),
        }
    }

    fn raw(&self, context: &Arc<CudaContext>) -> Result<sys::CUstream, GpuError> {
        match &self.0 {
            Kind::Shared(stream) => {
                require_context(stream.context(), context)?;
                Ok(stream.cu_stream())
            }
            Kind::Raw(handle) => Ok(*handle as sys::CUstream),
        }
    }

    /// Makes other streams wait for the work that is on this stream now, which must not be
    /// capturing.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`]; the errors of the driver.
    pub(super) fn precedes(
        &self,
        context: &Arc<CudaContext>,
        others: &[&CudaStream],
    ) -> Result<(), GpuError> {
        let raw = self.raw(context)?;
        // This binds the context to the thread.
        let event = context.new_event(None)?;
        // SAFETY: the stream exists (`from_raw`, or it is shared), and the event is of the same
        // context.
        unsafe { result::event::record(event.cu_event(), raw)? };
        for other in others {
            other.wait(&event)?;
        }
        Ok(())
    }
}

impl From<Arc<CudaStream>> for CallerStream {
    fn from(stream: Arc<CudaStream>) -> CallerStream {
        CallerStream(Kind::Shared(stream))
    }
}
