//! The CUDA context that is current on a thread.

use std::marker::PhantomData;

use cudarc::driver::{result, sys};

/// Drop guard that makes the context current again that was current on this thread before.
///
/// This crate makes a device's primary context current on the threads that it is called on. Other
/// libraries take the current context for the device to use, so a call on their thread keeps
/// theirs.
#[derive(Debug)]
#[must_use = "the context is restored when this is dropped"]
pub struct KeptContext {
    /// None if no driver answered.
    context: Option<sys::CUcontext>,
    /// It belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl KeptContext {
    /// Notes the context that is current. Does nothing without a driver.
    pub fn new() -> KeptContext {
        // SAFETY: the call opens a system library by its name, and runs the library's initializers.
        let is_present = unsafe { sys::is_culib_present() };
        let current = match is_present {
            true => result::ctx::get_current().ok(),
            false => None,
        };
        KeptContext {
            context: current.map(|current| current.unwrap_or(std::ptr::null_mut())),
            _thread: PhantomData,
        }
    }
}

impl Default for KeptContext {
    fn default() -> KeptContext {
        KeptContext::new()
    }
}

impl Drop for KeptContext {
    fn drop(&mut self) {
        if let Some(context) = self.context {
            // SAFETY: the context was current when this guard was made, or there was none. A
            // context that was destroyed meanwhile is an error of the call, which leaves none
            // current.
            let _ = unsafe { result::ctx::set_current(context) };
        }
    }
}
