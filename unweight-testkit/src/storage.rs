//! A storage that counts what is read, and answers wrongly where a script says so.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use unweight::{Storage, StorageError};
use unweight_format::Extent;

/// An answer of a storage to a read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// This many bytes too few.
    Short(u64),
    /// No bytes.
    Nothing,
    /// This many bytes too many.
    Long(u64),
    /// The right number of bytes, with the one of this number changed (modulo their number).
    Other(u64),
    /// The buffer with its old content.
    OldBuffer,
    /// An error.
    Error(io::ErrorKind),
    /// An error that the storage ends this many bytes before the end of the extent.
    EndsWithin(u64),
}

/// A reported length, relative to the true one.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// The true one.
    True,
    /// Less, but not below 0.
    LessBy(u64),
    /// More.
    MoreBy(u64),
    /// An error instead.
    Error(io::ErrorKind),
}

/// The answers of a storage. After the end of each list, answers are true.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The answers to reads; `None` is the true answer.
    pub answers: Vec<Option<Answer>>,
    /// The answers to queries of the length.
    pub lengths: Vec<Length>,
}

impl Script {
    /// This answer at the read of this number, counted from 0.
    pub fn at_read(number: usize, answer: Answer) -> Script {
        let mut script = Script::default();
        script.answers.resize(number, None);
        script.answers.push(Some(answer));
        script
    }
}

/// Bytes in memory that are copied out like a file's. Reads outside of them are errors.
#[derive(Debug)]
pub struct TestStorage<'a> {
    /// The true bytes.
    pub bytes: Cow<'a, [u8]>,
    script: Script,
    resizes_first: bool,
    reads: AtomicUsize,
    read_bytes: AtomicU64,
    length_calls: AtomicUsize,
    other_bytes: AtomicBool,
    other_length: AtomicBool,
    said_shorter: AtomicBool,
}

impl<'a> TestStorage<'a> {
    /// A storage of these bytes with true answers.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> TestStorage<'a> {
        TestStorage::scripted(bytes, Script::default())
    }

    /// A storage of these bytes that follows the script.
    pub fn scripted(bytes: impl Into<Cow<'a, [u8]>>, script: Script) -> TestStorage<'a> {
        TestStorage {
            bytes: bytes.into(),
            script,
            resizes_first: false,
            reads: AtomicUsize::new(0),
            read_bytes: AtomicU64::new(0),
            length_calls: AtomicUsize::new(0),
            other_bytes: AtomicBool::new(false),
            other_length: AtomicBool::new(false),
            said_shorter: AtomicBool::new(false),
        }
    }

    /// Resizes the buffer to the requested length before it compares the extent with the bytes, as
    /// a file does. Tests that count allocations see a read that is longer than the storage.
    pub fn resizing_first(mut self) -> TestStorage<'a> {
        self.resizes_first = true;
        self
    }

    /// The number of reads so far.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// The number of bytes that were asked for since the last call.
    pub fn take_read_bytes(&self) -> u64 {
        self.read_bytes.swap(0, Ordering::Relaxed)
    }

    /// Whether it has returned the right number of bytes with wrong content.
    pub fn gave_other_bytes(&self) -> bool {
        self.other_bytes.load(Ordering::Relaxed)
    }

    /// Whether it has reported a wrong length.
    pub fn gave_other_length(&self) -> bool {
        self.other_length.load(Ordering::Relaxed)
    }

    /// Whether it has reported a shorter length, or an end within the extent.
    pub fn said_shorter(&self) -> bool {
        self.said_shorter.load(Ordering::Relaxed)
    }
}

fn note(what: &AtomicBool, is_so: bool) {
    what.fetch_or(is_so, Ordering::Relaxed);
}

impl Storage for TestStorage<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        let call = self.length_calls.fetch_add(1, Ordering::Relaxed);
        let true_length = self.bytes.len() as u64;
        let length = match self.script.lengths.get(call) {
            None | Some(Length::True) => true_length,
            Some(&Length::LessBy(by)) => true_length.saturating_sub(by),
            Some(&Length::MoreBy(by)) => true_length.saturating_add(by),
            Some(&Length::Error(kind)) => return Err(kind.into()),
        };
        note(&self.other_length, length != true_length);
        note(&self.said_shorter, length < true_length);
        Ok(length)
    }

    fn read<'b>(&'b self, extent: Extent, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(extent.length, Ordering::Relaxed);
        let answer = self.script.answers.get(read).copied().flatten();
        if self.resizes_first {
            let length = usize::try_from(extent.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
            buffer.resize(length, 0);
        }
        let Some(bytes) = extent.of(&self.bytes) else {
            return Err(StorageError::ends_at(extent, self.bytes.len() as u64).into());
        };
        let length = bytes.len();
        let keeps_old_bytes = matches!(
            answer,
            Some(Answer::OldBuffer | Answer::Error(_) | Answer::EndsWithin(_))
        );
        if !keeps_old_bytes {
            buffer.resize(length, 0);
            buffer.copy_from_slice(bytes);
        }
        match answer {
            None | Some(Answer::OldBuffer) => {}
            Some(Answer::Short(by)) => buffer.truncate(length.saturating_sub(by as usize)),
            Some(Answer::Nothing) => buffer.clear(),
            Some(Answer::Long(by)) => buffer.resize(length + by as usize, 0xa5),
            Some(Answer::Other(_)) if buffer.is_empty() => {}
            Some(Answer::Other(at)) => buffer[at as usize % length] ^= 0x5a,
            Some(Answer::Error(kind)) => return Err(kind.into()),
            Some(Answer::EndsWithin(by)) => {
                note(&self.said_shorter, true);
                let end = extent.end().saturating_sub(by);
                return Err(StorageError::ends_at(extent, end).into());
            }
        }
        note(&self.other_bytes, buffer.len() == length && buffer != bytes);
        Ok(buffer)
    }
}
