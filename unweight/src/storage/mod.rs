//! Where a container's bytes are, and where weights to be encoded come from.

pub(crate) mod pool;
pub(crate) mod retry;
mod weights;

use std::fs::File;
use std::{fmt, io};

use unweight_format::Extent;

pub use weights::{StoredWeights, Weights};

/// Bytes that can be read at any offset, from several threads at once.
///
/// Files are read, never mapped: a file that somebody cuts short while it is open gives an error,
/// not a signal, and memory stays bounded by what is asked for.
///
/// Nothing here trusts an implementation: every answer goes through [`read_extent`], which compares its length.
pub trait Storage: Sync {
    /// Number of bytes.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn byte_length(&self) -> io::Result<u64>;

    /// The bytes of `extent`, all of them: borrowed, or read into `buffer`, which may hold anything before. A storage that can go on
    /// after an interruption (`Interrupted`) or a short read does so itself.
    ///
    /// Callers use [`read_extent`].
    ///
    /// # Errors
    /// [`StorageError::ends_at`] if the storage has seen that it ends before the extent does, which makes a file truncated;
    /// otherwise whatever the storage reports. After `UnexpectedEof` from elsewhere [`byte_length`](Storage::byte_length) is asked
    /// whether the storage has become shorter.
    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]>;
}

/// The bytes of `extent` of `storage`, as many as it has: borrowed, or read into `buffer`. The one place where [`Storage::read`] is
/// called (`clippy.toml` says so too).
///
/// # Errors
/// [`StorageError`]. Then `buffer` holds anything.
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

/// Frees a buffer that a storage has made longer than a chunk ever needs.
pub(crate) fn limit_capacity(buffer: &mut Vec<u8>) {
    // Two bytes for each weight of the largest chunk, and vectors grow by doubling.
    const LONGEST_BYTES: usize = 2 * (2 << *unweight_format::limits::CHUNK_SIZE_LOG2.end());
    if buffer.capacity() > LONGEST_BYTES {
        *buffer = Vec::new();
    }
}

/// Why an extent of a storage could not be read. [`ReadError::Io`](crate::ReadError::Io) holds it as the inner error.
#[derive(Debug)]
pub struct StorageError {
    extent: Extent,
    tensor: Option<Box<str>>,
    fault: StorageFault,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageFault {
    /// The storage gave this many bytes, and they are not as many as the extent has.
    WrongLength(u64),
    /// The storage ends at this byte, before the extent does.
    EndsAt(u64),
    /// The storage failed.
    Failed(io::Error),
}

impl StorageError {
    /// For a storage to say that it ends at byte `end`, which is within `extent` or before it.
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

    /// What a storage reported of this extent.
    fn of(extent: Extent, error: io::Error) -> StorageError {
        // One storage in another reports the same read; of another extent it may speak in other offsets.
        match error.downcast::<StorageError>() {
            Ok(same) if same.extent == extent => same,
            Ok(other) => StorageError::new(extent, StorageFault::Failed(other.into())),
            Err(error) => StorageError::new(extent, StorageFault::Failed(error)),
        }
    }

    /// What was to be read. Of [`Weights`](crate::Weights), counted from the tensor's first byte.
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// The name of the tensor, where it was read for one.
    pub fn tensor(&self) -> Option<&str> {
        self.tensor.as_deref()
    }

    /// What went wrong.
    pub const fn fault(&self) -> &StorageFault {
        &self.fault
    }

    /// The kind of the [`io::Error`] that this becomes: that of the storage's error, `Other` for a wrong length.
    pub fn kind(&self) -> io::ErrorKind {
        match &self.fault {
            StorageFault::WrongLength(_) => io::ErrorKind::Other,
            StorageFault::EndsAt(_) => io::ErrorKind::UnexpectedEof,
            StorageFault::Failed(error) => error.kind(),
        }
    }

    /// Notes the name of the tensor, if none is noted.
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
            StorageFault::WrongLength(found) => write!(f, "the storage gave {found} bytes"),
            StorageFault::EndsAt(end) => write!(
                f,
                "the file ends at byte {end}, it was cut short while it was open"
            ),
            StorageFault::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StorageError {
    /// The message has the text of the storage's error already, so this is what lies behind that one.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            StorageFault::Failed(error) => error.source(),
            StorageFault::WrongLength(_) | StorageFault::EndsAt(_) => None,
        }
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
        buffer.resize(length, 0);
        let mut done = 0;
        while done < length {
            let at = extent.offset + done as u64;
            match read_some_at(self, &mut buffer[done..], at) {
                // The file ended here at this moment, whatever its length is by now.
                Ok(0) => {
                    let end = self.byte_length().map_or(at, |length| length.min(at));
                    return Err(StorageError::ends_at(extent, end).into());
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(buffer)
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
