//! Where the bits of files go.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use unweight::breakdown::TensorBreakdown;
use unweight::format::{Extent, Tensor};
use unweight::{Error, Model, OpenOptions, Storage, folder, read_extent};

use crate::file::options;
use crate::operation::{ProgressEvent, Watch, run};
use crate::threads::threads;

/// A file whose reads are reported, and fail once the operation is cancelled.
struct Watched {
    file: File,
    watch: Arc<Watch>,
    event: ProgressEvent,
    done_bytes: AtomicU64,
}

impl Storage for Watched {
    fn byte_length(&self) -> io::Result<u64> {
        self.file.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if self.watch.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let before = self.done_bytes.fetch_add(extent.length, Ordering::Relaxed);
        self.watch.note(ProgressEvent {
            done_bytes: before + extent.length,
            ..self.event.clone()
        });
        Ok(read_extent(&self.file, extent, buffer)?)
    }
}

/// A tensor's directory entry, and what was read of its payload.
struct OfTensor {
    name: String,
    dtype: &'static str,
    shape: Vec<u64>,
    forms: Vec<&'static str>,
    chunk_size_log2: Option<u8>,
    data_bytes: u64,
    stored_bytes: u64,
    weights: u64,
    entropy_bits: Option<f64>,
    fields: Vec<OfField>,
}

struct OfField {
    kind: &'static str,
    high: u32,
    low: u32,
    form: &'static str,
    entropy_bits: f64,
    stored_bits: u64,
}

struct OfFile {
    path: PathBuf,
    file_bytes: u64,
    restored_bytes: u64,
    tensors: Vec<OfTensor>,
}

/// Reports on a file, or on the containers of a folder.
#[pyfunction]
pub(crate) fn inspect<'py>(
    py: Python<'py>,
    path: PathBuf,
    directory_only: bool,
    count: Option<usize>,
    memory: Option<u64>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let options = options(threads(py, count), memory);
    let done = run(py, progress, move |watch| {
        let paths = match path.is_dir() {
            true => folder::containers(path)?,
            false => vec![path],
        };
        let count = paths.len();
        let files = (1..)
            .zip(paths)
            .map(|(number, path)| of_file(watch, &options, (number, count), path, directory_only));
        files.collect::<Result<Vec<OfFile>, Error>>()
    });
    let files = done?.into_iter().map(|file| file_dict(py, file));
    PyList::new(py, files.collect::<PyResult<Vec<_>>>()?)
}

fn of_file(
    watch: &Arc<Watch>,
    options: &OpenOptions,
    (number, count): (usize, usize),
    path: PathBuf,
    directory_only: bool,
) -> Result<OfFile, Error> {
    let file = unweight::file::open(&path)?;
    let at = |error: Error| error.at(&path);
    let storage = Watched {
        event: ProgressEvent {
            action: "inspect",
            path: path.clone(),
            number,
            count,
            done_bytes: 0,
            total_bytes: file.byte_length().map_err(|error| at(Error::Read(error)))?,
        },
        file,
        watch: watch.clone(),
        done_bytes: AtomicU64::new(0),
    };
    let model: Model = options.open_storage(storage).map_err(at)?;
    let tensors = match directory_only {
        true => {
            let tensors = model.tensors();
            tensors
                .map(|tensor| OfTensor::new(tensor.entry(), None))
                .collect()
        }
        false => {
            let breakdown = model.breakdown().map_err(at)?;
            let tensors = breakdown.tensors();
            tensors
                .map(|(tensor, parts)| OfTensor::new(&tensor, Some(&parts)))
                .collect()
        }
    };
    Ok(OfFile {
        file_bytes: model.header().file_length(),
        restored_bytes: model.restored_bytes(),
        tensors,
        path,
    })
}

impl OfTensor {
    fn new(tensor: &Tensor<'_>, parts: Option<&TensorBreakdown>) -> OfTensor {
        let (forms, payload) = (tensor.forms(), tensor.payload());
        let [before, ..] = tensor.padding();
        let fields = parts.iter().flat_map(|parts| &parts.fields);
        let fields = fields.map(|field| OfField {
            kind: field.kind.name(),
            high: field.field.high(),
            low: field.field.low(),
            form: field.form.name(),
            entropy_bits: field.entropy_bits,
            stored_bits: field.stored.sum(),
        });
        OfTensor {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype().name(),
            shape: tensor.shape().collect(),
            forms: forms.iter().map(|(_, form)| form.name()).collect(),
            chunk_size_log2: forms.is_coded().then(|| payload.chunk_size_log2()),
            data_bytes: tensor.data_bytes(),
            stored_bytes: before.length + payload.extent().length,
            weights: payload.weights(),
            entropy_bits: parts.and_then(TensorBreakdown::entropy_bits),
            fields: fields.collect(),
        }
    }
}

fn file_dict(py: Python<'_>, file: OfFile) -> PyResult<Bound<'_, PyDict>> {
    let result = PyDict::new(py);
    result.set_item("path", file.path.as_os_str())?;
    result.set_item("file_bytes", file.file_bytes)?;
    result.set_item("restored_bytes", file.restored_bytes)?;
    let tensors = file
        .tensors
        .into_iter()
        .map(|tensor| tensor_dict(py, tensor));
    result.set_item("tensors", tensors.collect::<PyResult<Vec<_>>>()?)?;
    Ok(result)
}

fn tensor_dict(py: Python<'_>, tensor: OfTensor) -> PyResult<Bound<'_, PyDict>> {
    let result = PyDict::new(py);
    result.set_item("name", tensor.name)?;
    result.set_item("dtype", tensor.dtype)?;
    result.set_item("shape", tensor.shape)?;
    result.set_item("forms", tensor.forms)?;
    result.set_item("chunk_size_log2", tensor.chunk_size_log2)?;
    result.set_item("data_bytes", tensor.data_bytes)?;
    result.set_item("stored_bytes", tensor.stored_bytes)?;
    result.set_item("weights", tensor.weights)?;
    result.set_item("entropy_bits", tensor.entropy_bits)?;
    let fields = tensor.fields.into_iter().map(|field| {
        let result = PyDict::new(py);
        result.set_item("kind", field.kind)?;
        result.set_item("high", field.high)?;
        result.set_item("low", field.low)?;
        result.set_item("form", field.form)?;
        result.set_item("entropy_bits", field.entropy_bits)?;
        result.set_item("stored_bits", field.stored_bits)?;
        Ok(result)
    });
    result.set_item("fields", fields.collect::<PyResult<Vec<_>>>()?)?;
    Ok(result)
}
