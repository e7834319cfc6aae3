//! Tensors: what they are, and their weights.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::{ops::Range, slice, str};

use unweight::{Error, Model, Tensor};

use crate::open::{ModelHandle, model_of, require_buffer};
use crate::sized::{self, SizedStruct};
use crate::status::{ErrorReport, Failure, Status, c_string, call};

/// The most dimensions of a tensor.
pub const UNWEIGHT_MAX_RANK: usize = 64;
/// Bytes of `unweight_tensor_info.dtype_name`.
pub const UNWEIGHT_DTYPE_NAME_BYTES: usize = 16;

/// What a tensor is. The caller sets `struct_size`; the library writes the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TensorInfo {
    /// `sizeof(unweight_tensor_info)`.
    pub struct_size: u32,
    /// Number of the tensor, counted from 0 in the order of the data.
    pub number: u32,
    /// Element type, a value of `unweight_dtype`. Later versions may add types.
    pub dtype: u32,
    /// Number of dimensions, at most `UNWEIGHT_MAX_RANK`. 0: a scalar.
    pub rank: u32,
    /// Bits of an element: 4, 6, 8, 16, 32 or 64.
    pub element_bits: u32,
    /// Bytes of a weight: 1, 2, 4 or 8.
    pub weight_bytes: u32,
    /// Number of elements: the product of the dimensions.
    pub element_count: u64,
    /// Length of the decoded tensor in bytes.
    pub data_bytes: u64,
    /// Length of the tensor in the file in bytes, without its entry in the directory.
    pub stored_bytes: u64,
    /// The name: `name_bytes` bytes of UTF-8 WITHOUT a zero byte behind them. It lives until the
    /// model is closed. It comes from the file: it may be empty, look like a path, or contain
    /// control characters and zero bytes.
    pub name: *const c_char,
    /// Length of the name in bytes.
    pub name_bytes: usize,
    /// Name of the element type as in a safetensors file, such as "BF16", with a zero byte behind.
    pub dtype_name: [c_char; UNWEIGHT_DTYPE_NAME_BYTES],
    /// The dimensions, outermost first. Those from `rank` on are 0.
    pub dims: [u64; UNWEIGHT_MAX_RANK],
}

// SAFETY: no padding where pointers have 4 or 8 bytes; integers and a raw pointer; the size is
// first.
unsafe impl SizedStruct for TensorInfo {
    const NAME: &'static str = "unweight_tensor_info";
    const FIRST_BYTES: usize = 48 + 2 * size_of::<usize>() + 16 + 8 * UNWEIGHT_MAX_RANK;
}

/// Number of tensors. 0 if `model` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_tensor_count(model: *const ModelHandle) -> u32 {
    let mut count = 0;
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        count = unsafe { model_of(model) }?.tensor_count();
        Ok(())
    };
    // SAFETY: there is no report.
    unsafe { call(std::ptr::null_mut(), work) };
    count
}

/// Describes the tensor with this number, which is below `unweight_tensor_count`. Takes the same
/// time for every number, and reads nothing.
///
/// Statuses: `NO_TENSOR`, `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_get_tensor(
    model: *const ModelHandle,
    number: u32,
    info: *mut TensorInfo,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        let described = info_of(&tensor_at(&model, number)?);
        // SAFETY: the header requires NULL or a struct of the size that it states.
        unsafe { sized::write(info, described) }
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

/// Describes the tensor of this name, which has `name_bytes` bytes and needs no zero byte behind
/// them. Takes a binary search, and reads nothing. `name` may be NULL if `name_bytes` is 0.
///
/// Statuses: `NO_TENSOR`, `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_find_tensor(
    model: *const ModelHandle,
    name: *const c_char,
    name_bytes: usize,
    info: *mut TensorInfo,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        require_buffer(name.cast(), name_bytes, "name")?;
        let name: &[u8] = match name_bytes {
            0 => &[],
            // SAFETY: the header requires as many bytes, which are not NULL and fit into memory.
            _ => unsafe { slice::from_raw_parts(name.cast(), name_bytes) },
        };
        // Every name in a valid file is UTF-8.
        let name = str::from_utf8(name).map_err(|_| {
            Failure::NoTensor("there is no tensor of a name that is not UTF-8".into())
        })?;
        let described = info_of(&model.tensor(name)?);
        // SAFETY: the header requires NULL or a struct of the size that it states.
        unsafe { sized::write(info, described) }
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

/// Decodes the tensor with this number into `buffer`, and checks its checksum. `buffer_bytes` must
/// be the tensor's `data_bytes`. Uses the threads of the model.
///
/// Statuses: `NO_TENSOR`, `WRONG_LENGTH`, `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`,
/// `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_read_tensor(
    model: *const ModelHandle,
    number: u32,
    buffer: *mut c_void,
    buffer_bytes: usize,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        let tensor = tensor_at(&model, number)?;
        // SAFETY: the header requires as many bytes, which nobody else uses during the call.
        let buffer = unsafe { buffer_of(buffer, buffer_bytes) }?;
        Ok(tensor.read_bytes_into_uninit(buffer)?)
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

/// Reads `length` bytes of the decoded tensor with this number, from byte `offset` on, into
/// `buffer`. Reads, decodes and checks only the chunks that contain them, on the caller's thread.
///
/// Statuses: those of `unweight_read_tensor`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_read_bytes(
    model: *const ModelHandle,
    number: u32,
    offset: u64,
    buffer: *mut c_void,
    length: usize,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        let tensor = tensor_at(&model, number)?;
        let end = offset.checked_add(length as u64);
        let range = offset..end.ok_or_else(|| beyond(&tensor))?;
        // SAFETY: the header requires as many bytes, which nobody else uses during the call.
        let buffer = unsafe { buffer_of(buffer, length) }?;
        Ok(tensor.read_byte_range_into_uninit(range, buffer)?)
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

/// Reads `count` weights of the tensor with this number, from weight `first` on in row-major order,
/// into `buffer`. `buffer_bytes` must be `count` times the tensor's `weight_bytes`. Otherwise as
/// `unweight_read_bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_read_weights(
    model: *const ModelHandle,
    number: u32,
    first: u64,
    count: u64,
    buffer: *mut c_void,
    buffer_bytes: usize,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the header requires NULL or an open model.
        let model = unsafe { model_of(model) }?;
        let tensor = tensor_at(&model, number)?;
        let range = bytes_of_weights(&tensor, first, count).ok_or_else(|| beyond(&tensor))?;
        // SAFETY: the header requires as many bytes, which nobody else uses during the call.
        let buffer = unsafe { buffer_of(buffer, buffer_bytes) }?;
        Ok(tensor.read_byte_range_into_uninit(range, buffer)?)
    };
    // SAFETY: the header requires NULL or a report.
    unsafe { call(error, work) }
}

fn bytes_of_weights(tensor: &Tensor<'_>, first: u64, count: u64) -> Option<Range<u64>> {
    let size = tensor.dtype().weight_bytes() as u64;
    let end = first.checked_add(count)?.checked_mul(size)?;
    Some(first * size..end)
}

/// A range ends behind any tensor.
fn beyond(tensor: &Tensor<'_>) -> Failure {
    let error = Error::WrongLength {
        tensor: tensor.name().to_owned(),
        expected: tensor.data_bytes(),
        found: u64::MAX,
    };
    error.into()
}

pub(crate) fn tensor_at(model: &Model, number: u32) -> Result<Tensor<'_>, Failure> {
    model.tensor_at(number).ok_or_else(|| {
        let count = model.tensor_count();
        Failure::NoTensor(format!(
            "there is no tensor {number}; the file has {count} tensors, counted from 0"
        ))
    })
}

/// The caller's buffer for output.
///
/// # Safety
/// `buffer` must be NULL or valid for writing `length` bytes as long as the result is used, and
/// nothing else may use these bytes meanwhile.
unsafe fn buffer_of<'a>(
    buffer: *mut c_void,
    length: usize,
) -> Result<&'a mut [MaybeUninit<u8>], Failure> {
    require_buffer(buffer, length, "buffer")?;
    match length {
        0 => Ok(&mut []),
        // SAFETY: the caller promises the bytes. They need not be initialised.
        _ => Ok(unsafe { slice::from_raw_parts_mut(buffer.cast(), length) }),
    }
}

fn info_of(tensor: &Tensor<'_>) -> TensorInfo {
    let dtype = tensor.dtype();
    let mut dims = [0; UNWEIGHT_MAX_RANK];
    let mut rank = 0;
    for (place, dimension) in dims.iter_mut().zip(tensor.shape()) {
        *place = dimension;
        rank += 1;
    }
    TensorInfo {
        struct_size: 0,
        number: tensor.entry().number(),
        dtype: dtype.code().into(),
        rank,
        element_bits: dtype.bits() as u32,
        weight_bytes: dtype.weight_bytes() as u32,
        element_count: tensor.element_count(),
        data_bytes: tensor.data_bytes(),
        stored_bytes: tensor.entry().payload().extent().length,
        name: tensor.name().as_ptr().cast(),
        name_bytes: tensor.name().len(),
        dtype_name: c_string(dtype.name()),
        dims,
    }
}

#[cfg(test)]
mod tests {
    use unweight::Dtype;
    use unweight::format::limits;

    use super::*;

    #[test]
    fn every_tensor_fits() {
        assert_eq!(UNWEIGHT_MAX_RANK as u64, limits::RANK as u64);
        for dtype in Dtype::ALL {
            assert!(dtype.name().len() < UNWEIGHT_DTYPE_NAME_BYTES);
        }
    }
}
