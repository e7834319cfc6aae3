//! Arrays in memory of this package, which any library takes by DLPack.

use std::sync::Arc;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyTuple};
use unweight::Dtype;
use unweight::format::write::Declaration;

use crate::buffer::Buffer;
use crate::dlpack::{DataType, HOST, code};
use crate::error::{export_error, wrong_argument};
use crate::export::export;

/// An array in row-major order, in memory of its own. Libraries share it by DLPack:
/// ``numpy.from_dlpack(array)``, ``torch.from_dlpack(array)``, ``jax.dlpack.from_dlpack(array)``,
/// ``mlx.core.array(array)``.
///
/// The memory lives as long as this or an array that shares it. ``bytes(array)`` copies it.
#[pyclass(frozen, module = "unweight")]
pub(crate) struct Array {
    buffer: Arc<Buffer>,
    dtype: Dtype,
    shape: Vec<u64>,
}

/// A new array of zeros, of a type of safetensors.
#[pyfunction]
pub(crate) fn new_array(py: Python<'_>, dtype: &str, shape: Vec<u64>) -> PyResult<Array> {
    let unknown = || {
        wrong_argument(
            py,
            format!("found dtype {dtype:?}, expected one of safetensors"),
        )
    };
    let dtype = Dtype::from_name(dtype).ok_or_else(unknown)?;
    let elements = Declaration::new("", dtype, &shape).element_count();
    let bits = elements.map(|elements| elements * dtype.bits());
    let length = bits.and_then(|bits| usize::try_from(bits.div_ceil(8)).ok());
    let too_long = || PyMemoryError::new_err("the array is larger than any memory");
    Ok(Array {
        buffer: Arc::new(buffer(Buffer::new(length.ok_or_else(too_long)?))?),
        dtype,
        shape,
    })
}

#[pymethods]
impl Array {
    /// The type of the elements, as safetensors names it: ``"BF16"``.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.dtype.name()
    }

    /// The dimensions, outermost first.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    /// The number of bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.buffer.length()
    }

    /// The same memory as an array of bytes in one dimension.
    fn _as_bytes(&self) -> Array {
        Array {
            buffer: self.buffer.clone(),
            dtype: Dtype::U8,
            shape: vec![self.buffer.length() as u64],
        }
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, self.buffer.length(), |bytes| {
            self.buffer.copy_to(bytes);
            Ok(())
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.shape(py)?;
        Ok(format!("<unweight.Array {} {shape}>", self.dtype.name()))
    }

    /// Kind and number of the device: the memory of the host.
    fn __dlpack_device__(&self) -> (i32, i32) {
        (HOST, 0)
    }

    /// A capsule with the array, by the DLPack protocol.
    ///
    /// Args:
    ///     stream: None: memory of the host has no streams.
    ///     max_version: The latest version that the consumer knows. A consumer of version 1 gets a
    ///         versioned capsule.
    ///     dl_device: None or ``(1, 0)``.
    ///     copy: True gives the consumer memory of its own. None and False share this memory.
    ///
    /// Raises:
    ///     ExportError: DLPack or the capsule cannot express it.
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(i64, i64)>,
        dl_device: Option<(i64, i64)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let refuse = |found: String, expected: &str| {
            export_error(py, format!("found {found}, expected {expected}"))
        };
        if let Some(stream) = stream {
            let found = format!("stream {stream}");
            return Err(refuse(
                found,
                "None, because memory of the host has no streams",
            ));
        }
        if let Some((kind, number)) = dl_device
            && (kind, number) != (HOST.into(), 0)
        {
            let found = format!("device ({kind}, {number})");
            return Err(refuse(found, "(1, 0), the memory of the host"));
        }
        let (data_type, per_element) = data_type(self.dtype).ok_or_else(|| {
            refuse(
                self.dtype.name().to_owned(),
                "a type of whole bytes; use bytes(array)",
            )
        })?;
        let shape = dimensions(&self.shape, per_element).ok_or_else(|| {
            let found = format!("{} with shape {:?}", self.dtype.name(), self.shape);
            refuse(
                found,
                "dimensions that DLPack has; F4 needs an even last one",
            )
        })?;
        let is_copied = copy == Some(true);
        let buffer = match is_copied {
            true => Arc::new(buffer(py.detach(|| self.buffer.copy()))?),
            false => self.buffer.clone(),
        };
        export(py, buffer, data_type, shape, is_copied, max_version)
    }
}

fn buffer(made: std::io::Result<Buffer>) -> PyResult<Buffer> {
    made.map_err(|error| PyMemoryError::new_err(error.to_string()))
}

/// The type, and how many elements of safetensors one of its elements has.
fn data_type(dtype: Dtype) -> Option<(DataType, u64)> {
    let code = match dtype {
        Dtype::Bool => code::BOOL,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => code::UNSIGNED,
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => code::SIGNED,
        Dtype::F16 | Dtype::F32 | Dtype::F64 => code::FLOAT,
        Dtype::Bf16 => code::BFLOAT,
        Dtype::C64 => code::COMPLEX,
        Dtype::F8E4M3 => code::F8_E4M3FN,
        Dtype::F8E4M3Fnuz => code::F8_E4M3FNUZ,
        Dtype::F8E5M2 => code::F8_E5M2,
        Dtype::F8E5M2Fnuz => code::F8_E5M2FNUZ,
        Dtype::F8E8M0 => code::F8_E8M0FNU,
        // Two in a byte, as torch has them.
        Dtype::F4 => code::F4_E2M1FN,
        _ => return None,
    };
    let lanes = if dtype == Dtype::F4 { 2 } else { 1 };
    let data_type = DataType {
        code,
        bits: dtype.bits() as u8,
        lanes,
    };
    Some((data_type, lanes.into()))
}

/// The shape in elements of DLPack.
fn dimensions(shape: &[u64], per_element: u64) -> Option<Vec<i64>> {
    let mut shape = shape.to_vec();
    if per_element > 1 {
        let last = shape.last_mut()?;
        if !last.is_multiple_of(per_element) {
            return None;
        }
        *last /= per_element;
    }
    shape
        .into_iter()
        .map(|length| i64::try_from(length).ok())
        .collect()
}
