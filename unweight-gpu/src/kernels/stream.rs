//! Streams that launches go to.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, sys};

/// A stream that launches go to: one of cudarc, or of another library
/// ([`CallerStream::for_launches`](crate::load::CallerStream::for_launches)).
#[derive(Clone, Copy, Debug)]
pub struct LaunchStream<'a> {
    context: &'a Arc<CudaContext>,
    handle: sys::CUstream,
}

impl<'a> LaunchStream<'a> {
    /// `handle` is a stream of the context.
    pub(crate) const fn new(
        context: &'a Arc<CudaContext>,
        handle: sys::CUstream,
    ) -> LaunchStream<'a> {
        LaunchStream { context, handle }
    }

    /// The context.
    pub const fn context(&self) -> &'a Arc<CudaContext> {
        self.context
    }

    /// The driver's handle.
    pub const fn handle(&self) -> sys::CUstream {
        self.handle
    }
}

impl<'a> From<&'a CudaStream> for LaunchStream<'a> {
    fn from(stream: &'a CudaStream) -> LaunchStream<'a> {
        LaunchStream::new(stream.context(), stream.cu_stream())
    }
}

impl<'a> From<&'a Arc<CudaStream>> for LaunchStream<'a> {
    fn from(stream: &'a Arc<CudaStream>) -> LaunchStream<'a> {
        LaunchStream::from(&**stream)
    }
}
