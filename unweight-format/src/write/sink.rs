//! Sinks: targets to which a container is written.

use alloc::vec::Vec;
use core::convert::Infallible;

use crate::extent::Extent;

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

    /// Memory of the sink for this extent, so that several threads can write to parts of it at the
    /// same time. The sink grows as needed, and the content of new bytes is any. None if the sink
    /// is no memory, which is the default.
    fn memory(&mut self, extent: Extent) -> Option<&mut [u8]> {
        let _ = extent;
        None
    }

    /// The sink for several threads at the same time. None if it takes only one at a time, which is
    /// the default.
    fn shared(&self) -> Option<&dyn SharedSink<Error = Self::Error>> {
        None
    }
}

/// A file under construction that several threads write at the same time, each at other offsets.
pub trait SharedSink: Sync {
    /// The error of a failed write.
    type Error;

    /// Writes `bytes` at `offset` over what is there. The sink grows as needed.
    ///
    /// # Errors
    /// Whatever the sink's storage reports.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl Sink for Vec<u8> {
    type Error = Infallible;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        let length = bytes.len() as u64;
        let memory = self.memory(Extent { offset, length });
        memory.expect("a vector is memory").copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> Result<(), Infallible> {
        Vec::truncate(self, length as usize);
        Ok(())
    }

    fn memory(&mut self, extent: Extent) -> Option<&mut [u8]> {
        let [start, end] = [extent.offset, extent.end()].map(|offset| {
            usize::try_from(offset).expect("a vector holds less than the address space")
        });
        if self.len() < end {
            self.resize(end, 0);
        }
        Some(&mut self[start..end])
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

    fn memory(&mut self, extent: Extent) -> Option<&mut [u8]> {
        (**self).memory(extent)
    }

    fn shared(&self) -> Option<&dyn SharedSink<Error = S::Error>> {
        (**self).shared()
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

    #[cfg(unix)]
    fn shared(&self) -> Option<&dyn SharedSink<Error = std::io::Error>> {
        Some(self)
    }
}

/// Writes at offsets leave the position of the file as it is.
#[cfg(all(feature = "std", unix))]
impl SharedSink for SeekSink {
    type Error = std::io::Error;

    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }
}
