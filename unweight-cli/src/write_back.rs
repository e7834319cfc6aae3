//! Writing back to the disk while there is still more to write.

use std::fs::File;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Small files are complete before this.
const INTERVAL: Duration = Duration::from_millis(50);

/// A thread that has the disk take what was written so far, again and again, so that little is left when the file is complete.
/// Left to itself, the system begins when somebody waits for it.
#[derive(Debug)]
pub(crate) struct WriteBack {
    /// Dropped to stop it.
    running: Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl WriteBack {
    pub(crate) fn of(file: File) -> io::Result<WriteBack> {
        let (running, stopped) = channel();
        let thread = Builder::new().spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                file.sync_data()?;
            }
            Ok(())
        })?;
        Ok(WriteBack { running, thread })
    }

    /// Stops it. An error is that of a write that had been reported as done: the system tells it once.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.running);
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
