//! Pinned host memory, and buffers of it that are used again.

#![expect(unsafe_code, reason = "memory of the driver")]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, result};

use crate::GpuError;

/// Host memory that the device copies from while the host works on.
#[derive(Debug)]
pub struct PinnedBuffer {
    start: NonNull<u8>,
    length: usize,
    context: Arc<CudaContext>,
    /// Recorded behind the last copy.
    copied: CudaEvent,
}

// SAFETY: the memory belongs to this value alone, and the driver frees it from any thread.
unsafe impl Send for PinnedBuffer {}

// SAFETY: a shared reference allows only to read the bytes.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// New memory of so many bytes, all 0.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Panics
    /// If `length` is 0.
    pub(crate) fn new(context: &Arc<CudaContext>, length: usize) -> Result<PinnedBuffer, GpuError> {
        assert!(length > 0, "pinned memory of 0 bytes");
        // This binds the context to the thread.
        let copied = context.new_event(None)?;
        // SAFETY: the length is not 0. No flag makes the memory write-combined, so that reading is
        // as fast as writing.
        let start = unsafe { result::malloc_host(length, 0)? };
        let start = NonNull::new(start.cast::<u8>()).expect("the driver reported success");
        // SAFETY: the memory has `length` bytes.
        unsafe { start.write_bytes(0, length) };
        Ok(PinnedBuffer {
            start,
            length,
            context: context.clone(),
            copied,
        })
    }

    /// Notes that the last copy from this buffer is on this stream.
    pub(super) fn note_copies(&self, stream: &CudaStream) -> Result<(), GpuError> {
        Ok(self.copied.record(stream)?)
    }

    /// Waits for the last copy.
    pub(super) fn wait(&self) -> Result<(), GpuError> {
        Ok(self.copied.synchronize()?)
    }
}

impl Deref for PinnedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory has these bytes, which were initialised, and only this value refers to
        // it. Copies of the device read it alone.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for PinnedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`. The loader keeps a buffer while the device copies from it.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        // Errors are those of a context that is lost, and with it the memory.
        let _ = self.context.bind_to_thread();
        // SAFETY: `new` has allocated the memory, and nothing copies from it any more: the loader
        // waits for copies before it drops buffers.
        let _ = unsafe { result::free_host(self.start.as_ptr().cast()) };
    }
}

/// Buffers that are free.
#[derive(Debug, Default)]
pub struct PinnedPool(Mutex<Vec<PinnedBuffer>>);

impl PinnedPool {
    /// Takes a free buffer. There is one if as many pieces are read at a time as
    /// [`LoaderOptions::pieces_in_work`](super::LoaderOptions::pieces_in_work) allows.
    pub fn take(&self) -> Option<PinnedBuffer> {
        self.lock().pop()
    }

    pub(super) fn put(&self, buffer: PinnedBuffer) {
        self.lock().push(buffer);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PinnedBuffer>> {
        // The list is whole at all times.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
