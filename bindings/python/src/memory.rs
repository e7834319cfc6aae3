//! Memory of arrays and tensors, by the DLPack protocol.
//!
//! The stable ABI of Python 3.10 has no buffers, and the buffers of torch and of numpy have no
//! BF16. Callers therefore pass a contiguous view of bytes.

use std::ptr::NonNull;
use std::slice;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyCapsule};

use crate::dlpack::{
    DataType, HOST, IS_COPIED, MAJOR_VERSION, MANAGED, READ_ONLY, Tensor, VERSIONED, Versioned,
    code,
};
use crate::error::wrong_argument;

/// Bytes of an array of the host, which live as long as this.
pub(crate) struct Memory {
    /// Owns the tensor; its destructor frees it.
    _capsule: Py<PyCapsule>,
    data: NonNull<u8>,
    length: usize,
    flags: u64,
}

// SAFETY: the address is that of plain bytes, which belong to no thread. The capsule is only
// dropped, which any thread may do.
unsafe impl Send for Memory {}

// SAFETY: a shared reference allows only to read the bytes.
unsafe impl Sync for Memory {}

impl Memory {
    /// The bytes of `array`, a contiguous array of bytes in one dimension.
    pub(crate) fn of(array: &Bound<'_, PyAny>) -> PyResult<Memory> {
        let py = array.py();
        let version = [("max_version", (1, 0))].into_py_dict(py)?;
        let capsule = match array.call_method("__dlpack__", (), Some(&version)) {
            // Libraries before version 1 of the protocol do not know the argument.
            Err(error) if error.is_instance_of::<PyTypeError>(py) => {
                array.call_method0("__dlpack__")?
            }
            capsule => capsule?,
        };
        let capsule = capsule.cast_into::<PyCapsule>()?;
        let (tensor, flags) = tensor(&capsule)?;
        let refuse = |what: &str| {
            Err(wrong_argument(
                py,
                format!("{what}, expected an array of bytes"),
            ))
        };
        if tensor.device.kind != HOST {
            return refuse("the array is not in the memory of the host");
        }
        let bytes = DataType {
            code: code::UNSIGNED,
            bits: 8,
            lanes: 1,
        };
        if tensor.data_type != bytes || tensor.dimensions != 1 {
            return refuse("the array has another type or shape");
        }
        // SAFETY: by the protocol `shape` has as many elements as there are dimensions: one.
        let length = unsafe { *tensor.shape };
        let stride = match tensor.strides.is_null() {
            true => 1,
            // SAFETY: by the protocol `strides` is null or has one element for each dimension.
            false => unsafe { *tensor.strides },
        };
        if stride != 1 && length > 1 {
            return refuse("the array is not contiguous");
        }
        let length = usize::try_from(length)?;
        let start = tensor.data.cast::<u8>();
        let data = match NonNull::new(start) {
            // SAFETY: by the protocol the first element is `byte_offset` bytes behind `data`, in
            // the same allocation.
            Some(start) => unsafe { start.add(tensor.byte_offset as usize) },
            None if length == 0 => NonNull::dangling(),
            None => return refuse("the array has no memory"),
        };
        Ok(Memory {
            _capsule: capsule.unbind(),
            data,
            length,
            flags,
        })
    }

    /// The bytes, to be read.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `of` has checked that the capsule's tensor has these bytes, which live as long as
        // the capsule. Memory from another library holds some value in each byte. That nobody
        // writes to an array that is being saved is up to the caller in Python, as with every
        // function there that releases the interpreter's lock.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }

    /// The bytes, to be written.
    ///
    /// # Errors
    /// `WrongArgument` if the array may only be read, or if these are the bytes of a copy.
    pub(crate) fn bytes_mut(&mut self, py: Python<'_>) -> PyResult<&mut [u8]> {
        if self.flags & IS_COPIED != 0 {
            return Err(wrong_argument(
                py,
                "the array was copied to be shared, expected one that shares its own memory",
            ));
        }
        if self.flags & READ_ONLY != 0 {
            return Err(wrong_argument(
                py,
                "the array is read-only, expected one that can be written",
            ));
        }
        // SAFETY: as in `bytes`. The tensor is not marked as read-only.
        Ok(unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.length) })
    }
}

/// The tensor of a capsule, and its flags.
fn tensor<'c>(capsule: &'c Bound<'_, PyCapsule>) -> PyResult<(&'c Tensor, u64)> {
    if capsule.is_valid_checked(Some(MANAGED)) {
        let pointer = capsule.pointer_checked(Some(MANAGED))?;
        // SAFETY: by the protocol a capsule of this name points to a tensor and its owner, which
        // live as long as the capsule does and nobody takes the tensor out of it.
        return Ok((unsafe { pointer.cast::<Tensor>().as_ref() }, 0));
    }
    let pointer = capsule.pointer_checked(Some(VERSIONED))?;
    // SAFETY: as above. The version is the first member in every version of the protocol.
    let major = unsafe { pointer.cast::<u32>().read() };
    if major != MAJOR_VERSION {
        let message = format!("DLPack version {major}, expected {MAJOR_VERSION}");
        return Err(wrong_argument(capsule.py(), message));
    }
    // SAFETY: as above, for this version.
    let versioned = unsafe { pointer.cast::<Versioned>().as_ref() };
    debug_assert_eq!(versioned.major, major);
    Ok((&versioned.tensor, versioned.flags))
}
