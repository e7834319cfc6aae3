//! The asynchronous runtime of stores, behind a blocking interface.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Runtime};

use super::problem::RemoteProblem;

/// Threads that wait for sockets and timers. Decoding is done on the callers' threads.
const THREADS: usize = 2;

/// Waits for a result on this thread, also where it belongs to another runtime: `Runtime::block_on`
/// would panic there.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, RemoteProblem>>,
) -> Result<T, RemoteProblem> {
    let _context = runtime().ok_or(RemoteProblem::NoThreads)?.enter();
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// The runtime of this process. A child that was forked has none of its parent's threads, so it
/// starts a runtime of its own.
fn runtime() -> Option<&'static Runtime> {
    static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);
    let mut known = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((process, runtime)) = *known
        && process == std::process::id()
    {
        return Some(runtime);
    }
    let mut builder = Builder::new_multi_thread();
    let builder = builder
        .worker_threads(THREADS)
        .thread_name("unweight-remote");
    // It lives as long as the process: dropping it would wait for its threads.
    let runtime: &'static Runtime = Box::leak(Box::new(builder.enable_all().build().ok()?));
    *known = Some((std::process::id(), runtime));
    Some(runtime)
}

/// The thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Parked>) {
        self.0.unpark();
    }
}
