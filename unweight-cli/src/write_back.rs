//! Writing back to the disk while there is still more to write.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::output::tolerate_flush;

/// Small files are complete before this.
const INTERVAL: Duration = Duration::from_millis(50);

/// A thread that has the disk take what was written so far, again and again, so that little is left when the file is complete.
/// Left to itself, the system begins when somebody waits for it.
#[derive(Debug)]
pub(crate) struct WriteBack {
    /// Dropped to stop it.
    running: Sender<()>,
    /// None where the system had no thread or handle for it: then all is written back when the file is complete.
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

    /// Stops it. An error is that of a write that had been reported as done: the system tells it once.
    pub(crate) fn finish(self, name: &Path) -> io::Result<()> {
        drop(self.running);
        match self.thread.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(done)) => tolerate_flush(done, name),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}
