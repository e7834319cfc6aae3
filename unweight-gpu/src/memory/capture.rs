//! Calls of the driver while a stream is capturing.

#![expect(unsafe_code, reason = "calls of the driver")]

use std::marker::PhantomData;

use cudarc::driver::sys::{self, CUstreamCaptureMode};

use crate::GpuError;

/// While it exists, this thread may allocate memory and load kernels though it captures a stream. By
/// default the driver would refuse that, and the capture would fail.
#[derive(Debug)]
pub struct RelaxedCapture {
    before: CUstreamCaptureMode,
    /// The mode is the thread's.
    _of_thread: PhantomData<*const ()>,
}

impl RelaxedCapture {
    /// Begins it. It ends when the value is dropped, on the same thread.
    ///
    /// # Errors
    /// [`GpuError::NoDriver`]; the errors of the driver, also if it is not initialised.
    pub fn begin() -> Result<RelaxedCapture, GpuError> {
        // SAFETY: the call opens a system library by its name, and runs the library's initializers.
        if !unsafe { sys::is_culib_present() } {
            return Err(GpuError::NoDriver);
        }
        Ok(RelaxedCapture {
            before: exchange(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)?,
            _of_thread: PhantomData,
        })
    }
}

impl Drop for RelaxedCapture {
    fn drop(&mut self) {
        // It cannot fail: it sets a variable of the thread.
        let _ = exchange(self.before);
    }
}

/// Sets the thread's mode, and returns the one before.
fn exchange(mut mode: CUstreamCaptureMode) -> Result<CUstreamCaptureMode, GpuError> {
    // SAFETY: the driver reads and writes the mode.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) }.result()?;
    Ok(mode)
}
