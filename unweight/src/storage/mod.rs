//! Storages of bytes.

pub(crate) mod coalesce;
pub(crate) mod pool;
pub(crate) mod retry;

use std::fs::File;
use std::{fmt, io};

use unweight_format::Extent;

pub use coalesce::Coalesce;

/// Random-access bytes that several threads can read at once.
///
/// Files are read, not mapped. A file that is truncated while it is open gives an error instead of
/// a signal, and memory use is bounded by the size of the request.
///
/// The crate does not trust implementations: [`read_extent`] compares the length of every answer.
pub trait Storage: Sync {
    /// Number of bytes.
    ///
    /// # Errors
    /// The errors of the storage.
    fn byte_length(&self) -> io::Result<u64>;

    /// Reads all bytes of `extent`. The bytes are borrowed from the storage or read into `buffer`,
    /// whose previous content is unspecified. The implementation itself must continue after an
    /// interruption (`Interrupted`) or a short read if it can.
    ///
    /// Callers should use [`read_extent`].
    ///
    /// # Errors
    /// [`StorageError::ends_at`] if the storage ends before the extent does: the file is then
    /// reported as truncated. Otherwise any error of the storage. After an `UnexpectedEof` without
    /// [`StorageError::ends_at`], [`byte_length`](Storage::byte_length) is called to find out
    /// whether the storage has become shorter.
    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]>;

    /// Reads all bytes of `extent` into `output`, which is as long. Storages that can read into any
    /// memory should implement it; by default the bytes of [`read`](Storage::read) are copied.
    ///
    /// Callers should use [`read_extent_into`].
    ///
    /// # Errors
    /// The errors of [`read`](Storage::read).
    fn read_into(&self, extent: Extent, output: &mut [u8]) -> io::Result<()> {
        output.copy_from_slice(read_extent(self, extent, &mut Vec::new())?);
        Ok(())
    }
}

/// Reads all bytes of `extent` of `storage`, and checks their number. The bytes are borrowed from
/// the storage or read into `buffer`. This is the only caller of [`Storage::read`] (enforced by
/// `clippy.toml`).
///
/// # Errors
/// [`StorageError`]. The content of `buffer` is then unspecified.
pub fn read_extent<'a, S: Storage + ?Sized>(
    storage: &'a S,
    extent: Extent,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], StorageError> {
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    let answer = storage.read(extent, buffer);
    match answer {
        Ok(bytes) if bytes.len() as u64 == extent.length => Ok(bytes),
        Ok(bytes) => Err(StorageError::wrong_length(extent, bytes.len() as u64)),
        Err(error) => Err(StorageError::of(extent, error)),
    }
}

/// Reads all bytes of `extent` of `storage` into `output`, without an intermediate copy where the
/// storage can.
///
/// # Errors
/// [`StorageError`]. The content of `output` is then unspecified.
///
/// # Panics
/// If `output` is not as long as the extent.
pub fn read_extent_into<S: Storage + ?Sized>(
    storage: &S,
    extent: Extent,
    output: &mut [u8],
) -> Result<(), StorageError> {
    assert_eq!(output.len() as u64, extent.length, "bytes to read");
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    let answer = storage.read_into(extent, output);
    answer.map_err(|error| StorageError::of(extent, error))
}

/// Frees a buffer that is longer than a chunk of this many original bytes needs, and not short
/// either.
pub(crate) fn limit_capacity(buffer: &mut Vec<u8>, data_bytes: u64) {
    const SHORT_BYTES: u64 = 128 << 10;
    // Vectors grow by doubling.
    if buffer.capacity() as u64 > SHORT_BYTES.max(2 * data_bytes) {
        *buffer = Vec::new();
    }
}

/// The error of a failed read of an extent. [`ReadError::Io`](crate::ReadError::Io) contains it as
/// the inner error.
#[derive(Debug)]
pub struct StorageError {
    extent: Extent,
    tensor: Option<Box<str>>,
    fault: StorageFault,
}

/// The cause of a [`StorageError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageFault {
    /// The storage returned this number of bytes, which differs from the extent's length.
    WrongLength(u64),
    /// The storage ends at this byte, before the extent does.
    EndsAt(u64),
    /// The storage failed.
    Failed(io::Error),
}

impl StorageError {
    /// The error of a storage that ends at byte `end`, which is before the end of `extent`.
    pub fn ends_at(extent: Extent, end: u64) -> StorageError {
        StorageError::new(extent, StorageFault::EndsAt(end))
    }

    pub(crate) fn wrong_length(extent: Extent, found: u64) -> StorageError {
        StorageError::new(extent, StorageFault::WrongLength(found))
    }

    fn new(extent: Extent, fault: StorageFault) -> StorageError {
        StorageError {
            extent,
            tensor: None,
            fault,
        }
    }

    /// Wraps an error that a storage reported for this extent.
    fn of(extent: Extent, error: io::Error) -> StorageError {
        // A wrapping storage reports the same extent. An error with another extent may use other
        // offsets, so it becomes the inner error.
        match error.downcast::<StorageError>() {
            Ok(same) if same.extent == extent => same,
            Ok(other) => StorageError::new(extent, StorageFault::Failed(other.into())),
            Err(error) => StorageError::new(extent, StorageFault::Failed(error)),
        }
    }

    /// The extent that was to be read.
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// The name of the tensor, if the read was for a tensor.
    pub fn tensor(&self) -> Option<&str> {
        self.tensor.as_deref()
    }

    /// The cause of the error.
    pub const fn fault(&self) -> &StorageFault {
        &self.fault
    }

    /// The kind of the [`io::Error`] that this is converted to: the kind of the storage's error, or
    /// `Other` for a wrong length.
    pub fn kind(&self) -> io::ErrorKind {
        match &self.fault {
            StorageFault::WrongLength(_) => io::ErrorKind::Other,
            StorageFault::EndsAt(_) => io::ErrorKind::UnexpectedEof,
            StorageFault::Failed(error) => error.kind(),
        }
    }

    /// Sets the name of the tensor if none is set.
    pub(crate) fn note_tensor(&mut self, name: &str) {
        self.tensor.get_or_insert_with(|| name.into());
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.tensor {
            write!(f, "tensor {name:?}: ")?;
        }
        let Extent { offset, length } = self.extent;
        write!(f, "reading {length} bytes at byte {offset}: ")?;
        match &self.fault {
            StorageFault::WrongLength(found) => write!(f, "the storage returned {found} bytes"),
            StorageFault::EndsAt(end) => write!(
                f,
                "the file now ends at byte {end}; it became shorter while it was open"
            ),
            StorageFault::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StorageError {
    /// The message already contains the text of the storage's error, so `source` skips to the cause
    /// of that error.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            StorageFault::Failed(error) => error.source(),
            StorageFault::WrongLength(_) | StorageFault::EndsAt(_) => None,
        }
    }
}

impl<S: Storage + ?Sized> Storage for &S {
    fn byte_length(&self) -> io::Result<u64> {
        (**self).byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        Ok(read_extent(&**self, extent, buffer)?)
    }

    fn read_into(&self, extent: Extent, output: &mut [u8]) -> io::Result<()> {
        Ok(read_extent_into(&**self, extent, output)?)
    }
}

impl<S: Storage + ?Sized> Storage for Box<S> {
    fn byte_length(&self) -> io::Result<u64> {
        (**self).byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        Ok(read_extent(&**self, extent, buffer)?)
    }

    fn read_into(&self, extent: Extent, output: &mut [u8]) -> io::Result<()> {
        Ok(read_extent_into(&**self, extent, output)?)
    }
}

impl Storage for [u8] {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, _: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let ends_here = || StorageError::ends_at(extent, self.len() as u64).into();
        extent.of(self).ok_or_else(ends_here)
    }
}

impl Storage for Vec<u8> {
    fn byte_length(&self) -> io::Result<u64> {
        self.as_slice().byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        Ok(read_extent(self.as_slice(), extent, buffer)?)
    }
}

impl Storage for File {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let length = usize::try_from(extent.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        buffer.try_reserve(length.saturating_sub(buffer.len()))?;
        buffer.resize(length, 0);
        read_extent_into(self, extent, buffer)?;
        Ok(buffer)
    }

    fn read_into(&self, extent: Extent, output: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < output.len() {
            let at = extent.offset + done as u64;
            match read_some_at(self, &mut output[done..], at) {
                // A read of 0 bytes means that the file ended here at this moment, whatever its
                // length is now.
                Ok(0) => {
                    let end = self.byte_length().map_or(at, |length| length.min(at));
                    return Err(StorageError::ends_at(extent, end).into());
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_some_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_read_that_memory_cannot_hold_is_an_error() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let extent = Extent {
            offset: 0,
            length: 1 << 62,
        };
        let error = read_extent(&file, extent, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
