//! Ownership of memory that launches use until they are done.

#![expect(unsafe_code, reason = "memory that launches may still use")]

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::driver::{CudaContext, CudaStream, DriverError, sys};
use crate::GpuError;

/// `CU_STREAM_PER_THREAD`: a handle that refers to a different stream on each thread.
const PER_THREAD: usize = 2;

/// Memory that launches use, and the stream of the last launch.
///
/// Dropping it waits for the launches and then frees the memory. If waiting fails, or launches may
/// have become part of a graph, the memory is leaked instead of freed, so that nobody else gets it.
/// Forgetting this value leaks the memory too.
#[derive(Debug)]
pub struct InFlight<T> {
    owned: ManuallyDrop<T>,
    context: Arc<CudaContext>,
    stream: Option<Arc<CudaStream>>,
    /// Launches may be part of a graph, or a panic interrupted the launches.
    is_lost: bool,
}

impl<T> InFlight<T> {
    /// Takes memory that nothing uses yet, for launches on streams of this context.
    pub fn new(context: &Arc<CudaContext>, owned: T) -> InFlight<T> {
        InFlight {
            owned: ManuallyDrop::new(owned),
            context: context.clone(),
            stream: None,
            is_lost: false,
        }
    }

    /// Shared access to the memory that launches use.
    pub fn owned(&self) -> &T {
        &self.owned
    }

    /// Calls `launch`, which must launch on this stream only, and must not free or replace memory
    /// that earlier launches use. If the stream changes, waits for the previous one first, so that
    /// launches run one after the other.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`]; [`GpuError::PerThreadStream`]; [`GpuError::Capturing`], also if a
    /// capture begins meanwhile, which leaks the memory; the errors of `launch`; the errors of the
    /// driver.
    pub fn launch<R>(
        &mut self,
        stream: &Arc<CudaStream>,
        launch: impl FnOnce(&mut T) -> Result<R, GpuError>,
    ) -> Result<R, GpuError> {
        require_stream(stream, &self.context)?;
        self.move_to(stream)?;
        let was_lost = std::mem::replace(&mut self.is_lost, true);
        let launched = launch(&mut self.owned);
        // Another thread may have begun a capture meanwhile, which may contain some or all of the
        // launches. As in `wait`, the first result may be an earlier call's error.
        match require_no_capture(stream) {
            Err(GpuError::Driver(_)) => require_no_capture(stream)?,
            checked => checked?,
        }
        self.is_lost = was_lost;
        launched
    }

    /// Registers a launch that the caller makes, on a stream that may be capturing. Must be called
    /// before the launch: after an error nothing may be launched.
    ///
    /// # Errors
    /// [`GpuError::PerThreadStream`]; [`GpuError::Capturing`] if the stream of the last launch is
    /// another one and is capturing; the errors of the driver.
    ///
    /// # Safety
    /// The stream must be of this context. If it is capturing, this value must outlive every launch
    /// of the graph.
    pub unsafe fn launched_on(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        require_one_stream(stream)?;
        self.move_to(stream)
    }

    fn move_to(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        match &self.stream {
            Some(before) if before.cu_stream() == stream.cu_stream() => return Ok(()),
            Some(before) => {
                // Waiting for a stream that is capturing would invalidate the capture.
                require_no_capture(before)?;
                before.synchronize()?;
            }
            None => {}
        }
        self.stream = Some(stream.clone());
        Ok(())
    }

    /// Waits for the launches and returns the memory that they used.
    ///
    /// # Errors
    /// [`GpuError::Capturing`]; the errors of the driver, including those of the launches. Nothing
    /// is freed on an error.
    pub fn into_owned(mut self) -> Result<T, GpuError> {
        if self.is_lost {
            return Err(GpuError::Capturing);
        }
        // The memory counts as lost until the wait has succeeded.
        self.is_lost = true;
        if let Some(stream) = &self.stream {
            require_no_capture(stream)?;
            wait(stream)?;
        }
        // SAFETY: this is taken only once: `self` is dropped next, and the drop does not touch lost
        // memory.
        Ok(unsafe { ManuallyDrop::take(&mut self.owned) })
    }
}

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        if self.is_lost {
            return;
        }
        let is_done = match &self.stream {
            // An error here is one of the launches. A query of their status would have reported it.
            Some(stream) => require_no_capture(stream).is_ok() && wait(stream).is_ok(),
            None => true,
        };
        if is_done {
            // SAFETY: this is dropped only once: `into_owned` has not taken it.
            unsafe { ManuallyDrop::drop(&mut self.owned) };
        }
    }
}

/// Waits for a stream. cudarc may report the error of an earlier call first, without waiting. The
/// second call then waits.
fn wait(stream: &CudaStream) -> Result<(), DriverError> {
    stream.synchronize().or_else(|_| stream.synchronize())
}

/// Memory that is handed over while others may still use it. Its stream waits for them with
/// cudarc's events.
///
/// The stream is a separate one, because an event of a capturing stream would draw it into the
/// capture.
#[derive(Debug)]
pub struct Handover(Arc<CudaStream>);

impl Handover {
    /// Begins a handover of memory of this context.
    ///
    /// # Errors
    /// The errors of the driver.
    pub fn new(context: &Arc<CudaContext>) -> Result<Handover, GpuError> {
        Ok(Handover(context.new_stream()?))
    }

    /// The stream for requesting addresses from cudarc.
    pub fn stream(&self) -> &CudaStream {
        &self.0
    }

    /// Waits until nobody uses the memory whose addresses were requested.
    ///
    /// # Errors
    /// [`GpuError::Capturing`] if a graph would use the memory; the errors of the driver.
    pub fn finish(self) -> Result<(), GpuError> {
        require_no_capture(&self.0)?;
        Ok(self.0.synchronize()?)
    }
}

/// Drop guard that waits for a stream, which nobody captures. A function that lends memory to
/// launches uses it to wait also when it returns an error.
#[must_use]
pub struct WaitAtEnd<'a>(pub &'a CudaStream);

impl Drop for WaitAtEnd<'_> {
    fn drop(&mut self) {
        // If this fails, the context is lost, and nothing runs on it any more.
        let _ = wait(self.0);
    }
}

/// Returns an error if safe functions cannot launch on this stream with memory of this context.
///
/// # Errors
/// [`GpuError::OtherContext`]; [`GpuError::PerThreadStream`]; [`GpuError::Capturing`]; the errors
/// of the driver.
pub(crate) fn require_stream(
    stream: &CudaStream,
    context: &Arc<CudaContext>,
) -> Result<(), GpuError> {
    require_context(stream.context(), context)?;
    require_one_stream(stream)?;
    require_no_capture(stream)
}

/// Returns an error for a handle that refers to a different stream on each thread. A later wait
/// would use the stream of the waiting thread.
///
/// # Errors
/// [`GpuError::PerThreadStream`].
fn require_one_stream(stream: &CudaStream) -> Result<(), GpuError> {
    match stream.cu_stream() as usize {
        PER_THREAD => Err(GpuError::PerThreadStream),
        _ => Ok(()),
    }
}

/// Returns an error if memory or a stream is of another context, because cudarc's events order only
/// streams of a single context.
///
/// # Errors
/// [`GpuError::OtherContext`].
pub fn require_context(
    found: &Arc<CudaContext>,
    expected: &Arc<CudaContext>,
) -> Result<(), GpuError> {
    match Arc::ptr_eq(found, expected) {
        true => Ok(()),
        false => Err(GpuError::OtherContext),
    }
}

/// Returns an error if the stream is capturing a graph.
///
/// # Errors
/// [`GpuError::Capturing`]; the errors of the driver.
pub fn require_no_capture(stream: &CudaStream) -> Result<(), GpuError> {
    match stream.capture_status()? {
        sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => Ok(()),
        _ => Err(GpuError::Capturing),
    }
}
