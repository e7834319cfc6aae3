//! Storages of bytes that Python objects have.

use std::io;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use unweight::format::Extent;
use unweight::{Storage, StorageError, read_extent};

/// Bytes of a `bytes` object.
pub(crate) struct Bytes(pub(crate) PyBackedBytes);

impl Storage for Bytes {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let bytes: &[u8] = &self.0;
        Ok(read_extent(bytes, extent, buffer)?)
    }
}

/// A file object. `reader` is a callable of offset and length that returns as many bytes, or fewer
/// at the end of the file. It may be called by several threads.
pub(crate) struct FileObject {
    pub(crate) reader: Py<PyAny>,
    pub(crate) length: u64,
}

impl Storage for FileObject {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if extent.end() > self.length {
            return Err(StorageError::ends_at(extent, self.length).into());
        }
        buffer.clear();
        while (buffer.len() as u64) < extent.length {
            let at = extent.offset + buffer.len() as u64;
            let rest = extent.length - buffer.len() as u64;
            let bytes = Python::attach(|py| {
                let bytes = self.reader.bind(py).call1((at, rest))?;
                bytes.extract::<PyBackedBytes>().map_err(PyErr::from)
            });
            let bytes = bytes.map_err(io::Error::other)?;
            if bytes.is_empty() {
                return Err(StorageError::ends_at(extent, at).into());
            }
            buffer.extend_from_slice(&bytes);
        }
        Ok(buffer)
    }
}
