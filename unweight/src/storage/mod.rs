//! Where a container's bytes are, and where weights to be encoded come from.

pub(crate) mod pool;
mod weights;

use std::fs::File;
use std::io;

use unweight_format::Extent;

pub use weights::{StoredWeights, Weights};

/// Bytes that can be read at any offset, from several threads at once.
///
/// Files are read, never mapped: a file that somebody cuts short while it is open gives an error,
/// not a signal, and memory stays bounded by what is asked for.
pub trait Storage: Sync {
    /// Number of bytes.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn byte_length(&self) -> io::Result<u64>;

    /// The bytes of `extent`: borrowed, or read into `buffer`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the storage ends before the extent does; otherwise whatever the storage reports.
    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]>;
}

impl Storage for [u8] {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, _: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        extent.of(self).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Storage for Vec<u8> {
    fn byte_length(&self) -> io::Result<u64> {
        self.as_slice().byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        self.as_slice().read(extent, buffer)
    }
}

impl Storage for File {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let length = usize::try_from(extent.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        buffer.resize(length, 0);
        read_exact_at(self, buffer, extent.offset)?;
        Ok(buffer)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}
