//! Containers of arrays in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use unweight::format::write::{SeekSink, Sink};
use unweight::output::{Attributes, MemorySink, OutputFile};
use unweight::{CompressOptions, Dtype, Encoding, Error, Writer};

use crate::error::{save_exception, wrong_argument};
use crate::memory::Memory;
use crate::operation::{ProgressEvent, Watch, encoding, finish};
use crate::threads::threads;

/// Name, type and shape of an array, and its bytes as an array of bytes.
type Given<'py> = (String, String, Vec<u64>, Bound<'py, PyAny>);

struct Array {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    memory: Memory,
}

/// The caller's thread drops them last, with the interpreter's lock: without it, dropping an object
/// takes a lock of its own, which a fork could copy locked.
struct Arrays {
    arrays: Vec<Array>,
    metadata: Option<Vec<(String, String)>>,
    encoding: Encoding,
    threads: unweight::Threads,
}

/// The container of these arrays as bytes.
#[pyfunction]
pub(crate) fn save<'py>(
    py: Python<'py>,
    arrays: Vec<Given<'py>>,
    metadata: Option<Vec<(String, String)>>,
    encoding: &str,
    count: Option<usize>,
) -> PyResult<Bound<'py, PyBytes>> {
    let arrays = Arrays::new(py, arrays, metadata, encoding, count)?;
    let of_thread = arrays.clone();
    let written = finish(py, None, move |watch| {
        let sink = MemorySink::new(of_thread.likely_bytes(), &of_thread.threads);
        of_thread.write(watch, sink)
    })?;
    let sink = written.map_err(|error| save_exception(py, &error))?;
    Ok(PyBytes::new(py, &sink.into_vec()))
}

/// Makes the file `path` of these arrays, in place of a file of that name.
#[pyfunction]
pub(crate) fn save_file<'py>(
    py: Python<'py>,
    arrays: Vec<Given<'py>>,
    path: PathBuf,
    metadata: Option<Vec<(String, String)>>,
    encoding: &str,
    count: Option<usize>,
) -> PyResult<()> {
    let arrays = Arrays::new(py, arrays, metadata, encoding, count)?;
    let of_thread = arrays.clone();
    let done = finish(py, None, move |watch| {
        let done = write_file(&of_thread, &path, watch);
        done.map_err(|error| error.at(path))
    });
    done?.map_err(|error| save_exception(py, &error))
}

fn write_file(arrays: &Arrays, path: &Path, watch: &Arc<Watch>) -> Result<(), Error> {
    let output = OutputFile::create(path, true, &Attributes::of_new_file())?;
    let sink = SeekSink::new(output.file()?);
    arrays.write(watch, sink)?;
    if watch.is_cancelled() {
        return Err(Error::Cancelled);
    }
    // A file system that keeps no times or permissions keeps the weights all the same.
    output.commit(|_| ())
}

impl Arrays {
    fn new(
        py: Python<'_>,
        given: Vec<Given<'_>>,
        metadata: Option<Vec<(String, String)>>,
        encoding: &str,
        count: Option<usize>,
    ) -> PyResult<Arc<Arrays>> {
        let array = |(name, dtype, shape, bytes): Given<'_>| {
            let unknown = || {
                wrong_argument(
                    py,
                    format!("found dtype {dtype:?}, expected one of safetensors"),
                )
            };
            Ok(Array {
                dtype: Dtype::from_name(&dtype).ok_or_else(unknown)?,
                memory: Memory::of(&bytes)?,
                name,
                shape,
            })
        };
        Ok(Arc::new(Arrays {
            arrays: given.into_iter().map(array).collect::<PyResult<Vec<_>>>()?,
            metadata,
            encoding: self::encoding(py, encoding)?,
            threads: threads(py, count),
        }))
    }

    /// A container is seldom longer than this.
    fn likely_bytes(&self) -> u64 {
        const BYTES_PER_TENSOR: u64 = 1 << 10;
        let data = self
            .arrays
            .iter()
            .map(|array| array.memory.bytes().len() as u64);
        data.map(|bytes| bytes + bytes / 1024 + BYTES_PER_TENSOR)
            .sum()
    }

    fn write<S>(&self, watch: &Arc<Watch>, sink: S) -> Result<S, Error>
    where
        S: Sink<Error: std::error::Error + Send + Sync + 'static> + Send,
    {
        let watch = watch.clone();
        let options = CompressOptions::new()
            .encoding(self.encoding)
            .threads(self.threads.clone())
            .progress(move |progress| {
                watch.note(ProgressEvent {
                    action: "compress",
                    path: PathBuf::new(),
                    number: 1,
                    count: 1,
                    done_bytes: progress.done_bytes,
                    total_bytes: progress.total_bytes,
                });
                watch.answer()
            });
        let mut writer = Writer::with_options(options);
        for array in &self.arrays {
            writer = writer.tensor_bytes(
                &*array.name,
                array.dtype,
                &array.shape,
                array.memory.bytes(),
            );
        }
        writer.finish_safetensors(self.metadata.as_deref(), sink)
    }
}
