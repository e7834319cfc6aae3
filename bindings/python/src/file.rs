//! Open files.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use unweight::output::prepare_pages;
use unweight::{Checkpoint, Coalesce, Error, Indices, MemoryBudget, OpenOptions, Threads};

use crate::error::{exception, wrong_argument};
use crate::memory::Memory;
use crate::storage::{Bytes, FileObject};
use crate::threads::threads;

/// An open Unweight or safetensors file.
#[pyclass(frozen, module = "unweight._unweight")]
pub(crate) struct File {
    /// None once it is closed.
    opened: Mutex<Option<Arc<Opened>>>,
    path: Option<PathBuf>,
}

pub(crate) struct Opened {
    checkpoint: Checkpoint,
    threads: Threads,
}

impl Opened {
    pub(crate) const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

#[pymethods]
impl File {
    #[staticmethod]
    fn open_path(
        py: Python<'_>,
        path: PathBuf,
        threads: Option<usize>,
        memory: Option<u64>,
    ) -> PyResult<File> {
        let threads = self::threads(py, threads);
        File::opened(py, Some(path.clone()), threads, memory, move |options| {
            Checkpoint::open(path, options)
        })
    }

    #[staticmethod]
    fn open_bytes(
        py: Python<'_>,
        data: PyBackedBytes,
        threads: Option<usize>,
        memory: Option<u64>,
    ) -> PyResult<File> {
        let threads = self::threads(py, threads);
        File::opened(py, None, threads, memory, move |options| {
            Checkpoint::open_storage(Bytes(data), options)
        })
    }

    /// `reader` is a callable of offset and length, which returns as many bytes.
    #[staticmethod]
    fn open_reader(
        py: Python<'_>,
        reader: Py<PyAny>,
        length: u64,
        threads: Option<usize>,
        memory: Option<u64>,
    ) -> PyResult<File> {
        // A call takes longer than reading some bytes more.
        let coalesce = Coalesce::new().gap_bytes(64 << 10);
        let storage = FileObject { reader, length };
        let threads = self::threads(py, threads);
        File::opened(py, None, threads, memory, move |options| {
            Checkpoint::open_storage(storage, &options.clone().coalesce(coalesce))
        })
    }

    fn close(&self) {
        // What the file's destructor calls may be this file. The lock is free by then.
        let closed = self.lock().take();
        drop(closed);
    }

    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let mut keys = self.offset_keys(py)?;
        keys.sort_unstable();
        Ok(keys)
    }

    fn offset_keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let opened = self.get(py)?;
        let tensors = opened.checkpoint.tensors();
        let names = tensors.map(|tensor| tensor.name().to_owned());
        Ok(names.collect())
    }

    fn metadata(&self, py: Python<'_>) -> PyResult<Option<Vec<(String, String)>>> {
        let opened = self.get(py)?;
        let found = py.detach(|| opened.checkpoint.metadata());
        found.map_err(|error| self.exception(py, &error))
    }

    /// The type, bits of an element, and shape of a tensor.
    fn tensor(&self, py: Python<'_>, name: &str) -> PyResult<(&'static str, u64, Vec<u64>)> {
        let opened = self.get(py)?;
        let tensor = opened.checkpoint.tensor(name);
        let tensor = tensor.map_err(|error| self.exception(py, &error))?;
        let dtype = tensor.dtype();
        Ok((dtype.name(), dtype.bits(), tensor.shape()))
    }

    /// Decodes a tensor into `output`, an array of bytes. `is_new` says that its memory was just
    /// allocated.
    fn read_into(
        &self,
        py: Python<'_>,
        name: &str,
        output: &Bound<'_, PyAny>,
        is_new: bool,
    ) -> PyResult<()> {
        let opened = self.get(py)?;
        let mut memory = Memory::of(output)?;
        let bytes = memory.bytes_mut(py)?;
        let done = py.detach(|| {
            if is_new {
                prepare_pages(bytes, &opened.threads);
            }
            opened.checkpoint.tensor(name)?.read_bytes_into(bytes)
        });
        done.map_err(|error| self.exception(py, &error))
    }

    /// Decodes a slice of a tensor into `output`, an array of bytes: start, end and step for each
    /// dimension. `is_new` as for `read_into`.
    fn read_slice_into(
        &self,
        py: Python<'_>,
        name: &str,
        slice: Vec<(u64, u64, u64)>,
        output: &Bound<'_, PyAny>,
        is_new: bool,
    ) -> PyResult<()> {
        let opened = self.get(py)?;
        let slice = slice.into_iter().map(|(start, end, step)| {
            let step = NonZeroU64::new(step).ok_or_else(|| wrong_argument(py, "the step is 0"))?;
            Ok(Indices::from(start..end).every(step))
        });
        let slice = slice.collect::<PyResult<Vec<Indices>>>()?;
        let mut memory = Memory::of(output)?;
        let bytes = memory.bytes_mut(py)?;
        let done = py.detach(|| {
            if is_new {
                prepare_pages(bytes, &opened.threads);
            }
            let tensor = opened.checkpoint.tensor(name)?;
            tensor.read_slice_into(&slice, bytes)
        });
        done.map_err(|error| self.exception(py, &error))
    }
}

impl File {
    fn opened(
        py: Python<'_>,
        path: Option<PathBuf>,
        threads: Threads,
        memory: Option<u64>,
        open: impl FnOnce(&OpenOptions) -> Result<Checkpoint, Error> + Send,
    ) -> PyResult<File> {
        let options = options(threads.clone(), memory);
        match py.detach(|| open(&options)) {
            Ok(checkpoint) => Ok(File {
                opened: Mutex::new(Some(Arc::new(Opened {
                    checkpoint,
                    threads,
                }))),
                path,
            }),
            Err(error) => Err(exception(py, &error, path.as_deref())),
        }
    }

    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Arc<Opened>> {
        let opened = self.lock().clone();
        opened.ok_or_else(|| wrong_argument(py, "the file is closed"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Opened>>> {
        // The value is whole at all times.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exception(&self, py: Python<'_>, error: &Error) -> PyErr {
        exception(py, error, self.path.as_deref())
    }
}

pub(crate) fn options(threads: Threads, memory: Option<u64>) -> OpenOptions {
    let options = OpenOptions::new().threads(threads);
    match memory {
        Some(bytes) => options.memory(MemoryBudget::of_bytes(bytes)),
        None => options,
    }
}
