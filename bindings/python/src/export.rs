//! Capsules of DLPack with memory of this package.

use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::buffer::Buffer;
use crate::dlpack::{
    DataType, Device, HOST, IS_COPIED, MAJOR_VERSION, MANAGED, MINOR_VERSION, Managed, Tensor,
    VERSIONED, Versioned,
};

/// What the pointers of a tensor point to. The consumer's call of the deleter frees it.
struct Owner {
    _buffer: Arc<Buffer>,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// A capsule with an array in row-major order. It is versioned if `max_version` is 1 or later.
///
/// `buffer` has as many bytes as the array.
pub(crate) fn export(
    py: Python<'_>,
    buffer: Arc<Buffer>,
    data_type: DataType,
    shape: Vec<i64>,
    is_copied: bool,
    max_version: Option<(i64, i64)>,
) -> PyResult<Bound<'_, PyCapsule>> {
    let data = match buffer.length() {
        0 => null_mut(),
        _ => buffer.data().as_ptr().cast::<c_void>(),
    };
    let strides = strides(&shape);
    let owner = Box::new(Owner {
        _buffer: buffer,
        shape,
        strides,
    });
    let tensor = Tensor {
        data,
        device: Device {
            kind: HOST,
            number: 0,
        },
        dimensions: owner.shape.len() as i32,
        data_type,
        shape: owner.shape.as_ptr(),
        strides: owner.strides.as_ptr(),
        byte_offset: 0,
    };
    let owner = Box::into_raw(owner).cast::<c_void>();
    match max_version {
        Some((major, minor)) if major >= 1 => {
            let known = i64::from(MINOR_VERSION);
            let minor = if major == 1 {
                minor.clamp(0, known)
            } else {
                known
            };
            let versioned = Versioned {
                major: MAJOR_VERSION,
                minor: minor as u32,
                owner,
                deleter: Some(delete_versioned),
                flags: if is_copied { IS_COPIED } else { 0 },
                tensor,
            };
            capsule(py, versioned, VERSIONED, destroy_versioned)
        }
        _ => {
            let managed = Managed {
                tensor,
                owner,
                deleter: Some(delete_managed),
            };
            capsule(py, managed, MANAGED, destroy_managed)
        }
    }
}

fn capsule<'py, T>(
    py: Python<'py>,
    content: T,
    name: &'static CStr,
    destructor: ffi::PyCapsule_Destructor,
) -> PyResult<Bound<'py, PyCapsule>> {
    let content = NonNull::from(Box::leak(Box::new(content))).cast();
    // SAFETY: the content lives until the destructor or the consumer frees it, which any thread may
    // do.
    unsafe { PyCapsule::new_with_pointer_and_destructor(py, content, name, Some(destructor)) }
}

/// Strides of an array in row-major order, in elements.
fn strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1_i64; shape.len()];
    for at in (1..shape.len()).rev() {
        // The product of the dimensions of an empty array may exceed any number.
        strides[at - 1] = strides[at].saturating_mul(shape[at].max(1));
    }
    strides
}

unsafe extern "C" fn delete_managed(managed: *mut Managed) {
    // SAFETY: by the protocol the consumer passes the struct of the capsule, once.
    let managed = unsafe { Box::from_raw(managed) };
    // SAFETY: `export` made the owner, which only this struct has.
    drop(unsafe { Box::from_raw(managed.owner.cast::<Owner>()) });
}

unsafe extern "C" fn delete_versioned(versioned: *mut Versioned) {
    // SAFETY: by the protocol the consumer passes the struct of the capsule, once.
    let versioned = unsafe { Box::from_raw(versioned) };
    // SAFETY: `export` made the owner, which only this struct has.
    drop(unsafe { Box::from_raw(versioned.owner.cast::<Owner>()) });
}

/// Frees what a capsule has, unless a consumer took it, and renamed the capsule.
unsafe extern "C" fn destroy_managed(capsule: *mut ffi::PyObject) {
    // SAFETY: Python passes the capsule that is destroyed.
    if let Some(managed) = unsafe { content(capsule, MANAGED) } {
        // SAFETY: nobody took it.
        unsafe { delete_managed(managed.cast().as_ptr()) };
    }
}

/// Same as [`destroy_managed`], for a versioned capsule.
unsafe extern "C" fn destroy_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: Python passes the capsule that is destroyed.
    if let Some(versioned) = unsafe { content(capsule, VERSIONED) } {
        // SAFETY: nobody took it.
        unsafe { delete_versioned(versioned.cast().as_ptr()) };
    }
}

/// The content of a capsule, if it has this name.
///
/// # Safety
/// `capsule` must be a capsule, and the thread attached to the interpreter.
unsafe fn content(capsule: *mut ffi::PyObject, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the caller promises a capsule. This never sets an exception.
    if unsafe { ffi::PyCapsule_IsValid(capsule, name.as_ptr()) } == 0 {
        return None;
    }
    // SAFETY: as above; the capsule has this name.
    NonNull::new(unsafe { ffi::PyCapsule_GetPointer(capsule, name.as_ptr()) })
}
