//! Sinks: targets to which a container is written.

use alloc::vec::Vec;
use core::convert::Infallible;

/// A file under construction that can be written at any offset.
pub trait Sink {
    /// The error of a failed write.
    type Error;

    /// Writes `bytes` at `offset` over what is there. The sink grows as needed.
    ///
    /// # Errors
    /// Whatever the sink's storage reports.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Truncates the sink to `length` bytes. It has at least as many.
    ///
    /// # Errors
    /// Whatever the sink's storage reports.
    fn truncate(&mut self, length: u64) -> Result<(), Self::Error>;
}

impl Sink for Vec<u8> {
    type Error = Infallible;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        let start = usize::try_from(offset).expect("a vector holds less than the address space");
        let end = start + bytes.len();
        if self.len() < end {
            self.resize(end, 0);
        }
        self[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> Result<(), Infallible> {
        Vec::truncate(self, length as usize);
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    type Error = S::Error;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), S::Error> {
        (**self).write_at(offset, bytes)
    }

    fn truncate(&mut self, length: u64) -> Result<(), S::Error> {
        (**self).truncate(length)
    }
}

/// A file opened for writing, as a sink.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct SeekSink {
    file: std::fs::File,
    position: u64,
}

#[cfg(feature = "std")]
impl SeekSink {
    /// A sink that writes to the empty file `file`.
    pub fn new(file: std::fs::File) -> SeekSink {
        // No file reaches this offset, so the first write seeks.
        SeekSink {
            file,
            position: u64::MAX,
        }
    }

    /// Returns the file.
    pub fn into_file(self) -> std::fs::File {
        self.file
    }
}

#[cfg(feature = "std")]
impl Sink for SeekSink {
    type Error = std::io::Error;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        use std::io::{Seek, SeekFrom, Write};
        if self.position != offset {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        // The position is unknown until the write has succeeded.
        self.position = u64::MAX;
        self.file.write_all(bytes)?;
        self.position = offset + bytes.len() as u64;
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        // The file usually has this length already, and some file systems refuse the call.
        if self.file.metadata()?.len() == length {
            return Ok(());
        }
        self.file.set_len(length)
    }
}
