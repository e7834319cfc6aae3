//! Ownership of memory that launches use, until they are done.

#![expect(unsafe_code, reason = "memory that launches may still use")]

use std::mem::ManuallyDrop;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};

use crate::GpuError;

/// `CU_STREAM_PER_THREAD`: one handle that means another stream on each thread.
const PER_THREAD: usize = 2;

/// What launches use, and the stream of the last of them.
///
/// Dropping it waits for the launches and then frees what it owns. Where waiting fails, or launches may have become part of a graph, nothing is freed:
/// the memory is lost, and nobody else gets it. So it is if this is forgotten.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    owned: ManuallyDrop<T>,
    context: Arc<CudaContext>,
    stream: Option<Arc<CudaStream>>,
    /// Launches may be part of a graph, or a panic came between them.
    is_lost: bool,
}

impl<T> InFlight<T> {
    /// Takes what nothing uses yet: the memory of launches on streams of this context.
    pub(crate) fn new(context: &Arc<CudaContext>, owned: T) -> InFlight<T> {
        InFlight {
            owned: ManuallyDrop::new(owned),
            context: context.clone(),
            stream: None,
            is_lost: false,
        }
    }

    /// What launches use, to look at.
    pub(crate) fn owned(&self) -> &T {
        &self.owned
    }

    /// Calls `launch`, which launches on this stream and on no other. Of two streams, the first is waited for before: so launches come one after the other.
    ///
    /// # Errors
    /// As [`require_stream`], so [`GpuError::Capturing`] too if a capture begins meanwhile: then what is owned is lost. Those of `launch`; the driver's.
    pub(crate) fn launch<R>(
        &mut self,
        stream: &Arc<CudaStream>,
        launch: impl FnOnce(&mut T) -> Result<R, GpuError>,
    ) -> Result<R, GpuError> {
        require_stream(stream, &self.context)?;
        // Waiting for a stream that is capturing would make the capture invalid.
        self.stream.as_deref().map_or(Ok(()), require_no_capture)?;
        self.move_to(stream)?;
        let was_lost = std::mem::replace(&mut self.is_lost, true);
        let launched = launch(&mut self.owned);
        // A capture that another thread has begun since may have all of it, or a part. As in `wait`, the first answer may be an earlier call's error.
        match require_no_capture(stream) {
            Err(GpuError::Driver(_)) => require_no_capture(stream)?,
            checked => checked?,
        }
        self.is_lost = was_lost;
        launched
    }

    /// Remembers a launch that the caller has made, on a stream that may be capturing.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// If the stream is capturing, this outlives every launch of the graph.
    pub(crate) unsafe fn launched_on(&mut self, stream: &Arc<CudaStream>) -> Result<(), GpuError> {
        Ok(self.move_to(stream)?)
    }

    fn move_to(&mut self, stream: &Arc<CudaStream>) -> Result<(), DriverError> {
        match &self.stream {
            Some(before) if before.cu_stream() == stream.cu_stream() => return Ok(()),
            Some(before) => before.synchronize()?,
            None => {}
        }
        self.stream = Some(stream.clone());
        Ok(())
    }

    /// Waits for the launches and gives back what they used.
    ///
    /// # Errors
    /// [`GpuError::Capturing`]; the driver's, those of the launches too. Nothing is freed then.
    pub(crate) fn into_owned(mut self) -> Result<T, GpuError> {
        if self.is_lost {
            return Err(GpuError::Capturing);
        }
        // Until it was waited for.
        self.is_lost = true;
        if let Some(stream) = &self.stream {
            require_no_capture(stream)?;
            wait(stream)?;
        }
        // SAFETY: taken once: `self` is dropped next, and leaves alone what is lost.
        Ok(unsafe { ManuallyDrop::take(&mut self.owned) })
    }
}

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        if self.is_lost {
            return;
        }
        let is_done = match &self.stream {
            // An error here is one of the launches', which asking for their outcome would have told.
            Some(stream) => require_no_capture(stream).is_ok() && wait(stream).is_ok(),
            None => true,
        };
        if is_done {
            // SAFETY: dropped once: `into_owned` has not taken it.
            unsafe { ManuallyDrop::drop(&mut self.owned) };
        }
    }
}

/// Waits for a stream. cudarc reports the error of an earlier call first, if there is one, and does not wait then; the second call waits.
fn wait(stream: &CudaStream) -> Result<(), DriverError> {
    stream.synchronize().or_else(|_| stream.synchronize())
}

/// Memory that is handed over while others may still use it: a stream that is to wait for them, by cudarc's events.
///
/// It is a stream of its own, since an event of a stream that is capturing would draw it into the capture.
#[derive(Debug)]
pub(crate) struct Handover(Arc<CudaStream>);

impl Handover {
    pub(crate) fn new(context: &Arc<CudaContext>) -> Result<Handover, GpuError> {
        Ok(Handover(context.new_stream()?))
    }

    /// To ask cudarc for addresses with.
    pub(crate) fn stream(&self) -> &CudaStream {
        &self.0
    }

    /// Waits until nobody uses what addresses were asked for.
    ///
    /// # Errors
    /// [`GpuError::Capturing`] if a graph would use it; the driver's.
    pub(crate) fn finish(self) -> Result<(), GpuError> {
        require_no_capture(&self.0)?;
        Ok(self.0.synchronize()?)
    }
}

/// Waits for a stream that nobody captures when a function that lends memory to launches returns, with an error too.
#[must_use]
pub(crate) struct WaitAtEnd<'a>(pub(crate) &'a CudaStream);

impl Drop for WaitAtEnd<'_> {
    fn drop(&mut self) {
        // Where this fails, the context is lost, and nothing runs on it any more.
        let _ = wait(self.0);
    }
}

/// Returns an error if safe functions cannot launch on this stream with memory of this context.
///
/// # Errors
/// [`GpuError::OtherContext`]; [`GpuError::PerThreadStream`]; [`GpuError::Capturing`]; the driver's.
pub(crate) fn require_stream(
    stream: &CudaStream,
    context: &Arc<CudaContext>,
) -> Result<(), GpuError> {
    require_context(stream.context(), context)?;
    // What is waited for later would be the stream of whatever thread waits.
    if stream.cu_stream() as usize == PER_THREAD {
        return Err(GpuError::PerThreadStream);
    }
    require_no_capture(stream)
}

/// Returns an error if memory or a stream is of another context: cudarc orders streams by events within one alone.
pub(crate) fn require_context(
    found: &Arc<CudaContext>,
    expected: &Arc<CudaContext>,
) -> Result<(), GpuError> {
    match Arc::ptr_eq(found, expected) {
        true => Ok(()),
        false => Err(GpuError::OtherContext),
    }
}

pub(crate) fn require_no_capture(stream: &CudaStream) -> Result<(), GpuError> {
    match stream.capture_status()? {
        sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => Ok(()),
        _ => Err(GpuError::Capturing),
    }
}
