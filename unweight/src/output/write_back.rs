//! Write-back of a file to the disk while there is still more to write.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::flush::tolerate_flush;
use crate::diagnostics::Warning;

/// Time between two flushes. Small files are complete before the first one.
const INTERVAL: Duration = Duration::from_millis(50);

/// Thread that flushes the file again and again, so that little is left to flush when the file is
/// complete. Without it, the system begins to write only when somebody waits for the file.
#[derive(Debug)]
pub(crate) struct WriteBack {
    /// Sender that is dropped to stop the thread.
    running: Sender<()>,
    /// None if the system refused the thread or its handle. The file is then written back when it
    /// is complete.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl WriteBack {
    pub(crate) fn of(file: &File) -> WriteBack {
        let (running, stopped) = channel();
        let thread = file.try_clone().and_then(|file| {
            Builder::new().spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    file.sync_data()?;
                }
                Ok(())
            })
        });
        WriteBack {
            running,
            thread: thread.ok(),
        }
    }

    /// Stops the thread. An error is the failure of a write that had been reported as done. The
    /// system reports such an error only once.
    pub(crate) fn finish(self, name: &Path, warn: &dyn Fn(Warning)) -> io::Result<()> {
        drop(self.running);
        match self.thread.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(done)) => tolerate_flush(done, name, warn),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}
