//! Runs one command with a time limit and bounded output. On Unix the command leads a process group
//! of its own, and the whole group is killed.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Bytes kept of the beginning of each of stdout and stderr, and of the end of what follows. The rest
/// is read and dropped.
const KEPT_BYTES: usize = 16 * 1024;

/// Time that a stream may stay open after the command has ended. A grandchild could hold it open
/// without end. On a busy machine the thread that reads the stream may wait for seconds.
const STREAM_GRACE: Duration = Duration::from_secs(5);

/// Result of a command: its end and its output.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ending: Ending,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Exit(i32),
    Signal(i32),
    TimedOut,
}

/// Runs `words` (a program and its arguments) and waits for its end, but no longer than `limit`.
pub(crate) fn run_bounded(words: &[OsString], limit: Duration) -> io::Result<Finished> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);

    let started = Instant::now();
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().map(Capture::start);
    let stderr = child.stderr.take().map(Capture::start);
    let ending = match wait_until(&mut child, started + limit)? {
        Some(status) => ending_of(status),
        None => {
            kill(&mut child);
            child.wait()?;
            Ending::TimedOut
        }
    };
    let text = |capture: Option<Capture>| capture.map_or_else(String::new, Capture::finish);
    Ok(Finished {
        ending,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

/// Polls, because std has no wait with a limit: often at first (a decoder of small files ends in a
/// millisecond), then every 10 ms.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Kills the command and its descendants. The command has not been waited for, so its id is still
/// its own.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // Fails only if the group has ended already, which is the goal.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
}

fn ending_of(status: ExitStatus) -> Ending {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Ending::Signal(signal);
    }
    Ending::Exit(status.code().unwrap_or(-1))
}

/// A thread that reads a stream to its end, so that the command never blocks on a full pipe.
struct Capture {
    kept: Arc<Mutex<Kept>>,
    ended: mpsc::Receiver<()>,
}

impl Capture {
    fn start(mut stream: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (end, ended) = mpsc::channel();
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                shared
                    .lock()
                    .expect("no reader panics")
                    .add(&buffer[..count]);
            }
            // The receiver is dropped after the grace period.
            let _ = end.send(());
        });
        Self { kept, ended }
    }

    fn finish(self) -> String {
        // Either the stream has ended, or the grace period has, and the output so far is used.
        let _ = self.ended.recv_timeout(STREAM_GRACE);
        self.kept.lock().expect("no reader panics").text()
    }
}

/// Beginning and end of a stream.
#[derive(Default)]
struct Kept {
    begin: Vec<u8>,
    end: VecDeque<u8>,
    dropped: bool,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(KEPT_BYTES - self.begin.len()));
        self.begin.extend_from_slice(first);
        self.end.extend(rest);
        let surplus = self.end.len().saturating_sub(KEPT_BYTES);
        self.end.drain(..surplus);
        self.dropped |= surplus > 0;
    }

    fn text(&self) -> String {
        let gap: &[u8] = if self.dropped { b"\n...\n" } else { b"" };
        let (end, more) = self.end.as_slices();
        String::from_utf8_lossy(&[&self.begin, gap, end, more].concat()).into_owned()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Finished {
        run_bounded(&["sh".into(), "-c".into(), script.into()], limit).unwrap()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn tells_exit_codes_from_signals() {
        assert_eq!(sh("exit 0", LONG).ending, Ending::Exit(0));
        assert_eq!(sh("exit 77", LONG).ending, Ending::Exit(77));
        assert_eq!(sh("kill -SEGV $$", LONG).ending, Ending::Signal(11));
    }

    #[test]
    fn keeps_a_bounded_part_of_both_streams() {
        let script = "echo out; echo err >&2; head -c 1000000 /dev/zero; echo end";
        let finished = sh(script, LONG);
        assert_eq!(finished.ending, Ending::Exit(0));
        assert!(finished.stdout.starts_with("out\n"));
        assert!(finished.stdout.ends_with("end\n"));
        assert_eq!(finished.stdout.len(), 2 * KEPT_BYTES + "\n...\n".len());
        assert_eq!(finished.stderr, "err\n");
    }

    #[test]
    fn kills_grandchildren_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!(
            "(sleep 3; echo late > '{}') & echo begun; wait",
            mark.display()
        );
        let finished = sh(&script, Duration::from_secs(1));
        assert_eq!(finished.ending, Ending::TimedOut);
        assert_eq!(finished.stdout, "begun\n");
        thread::sleep(Duration::from_millis(2500));
        assert!(!mark.exists());
    }

    #[test]
    fn does_not_wait_for_a_stream_that_a_grandchild_holds() {
        let started = Instant::now();
        assert_eq!(sh("sleep 20 & exit 0", LONG).ending, Ending::Exit(0));
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn reports_a_program_that_does_not_exist() {
        let error = run_bounded(&["/no/such/program".into()], LONG).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
