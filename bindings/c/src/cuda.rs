//! Decoding into device memory. Only with the feature `cuda`.

use std::ffi::c_void;
use std::slice;

use unweight::gpu::load::CallerStream;
use unweight::gpu::{KeptContext, Output};
use unweight::{CudaDevice, CudaLoader, CudaOptions, CudaTarget};

use crate::open::{ModelHandle, model_of};
use crate::status::{ErrorReport, Failure, Status, call};
use crate::tensors::tensor_at;

/// Loads tensors to one CUDA device. `unweight_cuda_close` frees it.
pub struct CudaLoaderHandle(CudaLoader);

/// A tensor to load, and the device memory for it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CudaTensor {
    /// Number of the tensor.
    pub number: u32,
    /// 0.
    pub reserved: u32,
    /// Device address (`CUdeviceptr`), a multiple of 16.
    pub address: u64,
    /// Length of the memory in bytes: the tensor's `data_bytes`. The bytes behind it must be
    /// readable up to the next multiple of 16, as they are in memory of `cuMemAlloc` and
    /// `cudaMalloc`.
    pub bytes: u64,
}

/// Makes a loader for CUDA device `device`, counted from 0 as the driver does, in the device's
/// primary context, which is that of the CUDA runtime. It loads the kernels. The context that is
/// current on the calling thread stays so.
///
/// On success `*loader` is the loader, which the caller closes with `unweight_cuda_close`;
/// otherwise it is NULL.
///
/// Statuses: `NO_DEVICE`, `DEVICE_FAILED`, `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_cuda_open(
    device: u32,
    loader: *mut *mut CudaLoaderHandle,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        if loader.is_null() {
            return Err(Failure::null("loader"));
        }
        // SAFETY: the caller promises a place for a pointer.
        unsafe { loader.write(std::ptr::null_mut()) };
        let _kept = KeptContext::new();
        let options = CudaOptions::new().users_kernel_cache();
        let opened = CudaDevice::open(device as usize, &options)?;
        let handle = Box::new(CudaLoaderHandle(CudaLoader::new(&opened)));
        // SAFETY: the caller promises a place for a pointer.
        unsafe { loader.write(Box::into_raw(handle)) };
        Ok(())
    };
    // SAFETY: the caller promises NULL or a report.
    unsafe { call(error, work) }
}

/// Decodes `count` tensors into device memory, and checks all of their checksums on the device. The
/// file is read on the threads of the model, through pinned memory that the memory budget of the
/// model bounds, and through at most some 100 MiB of device memory, both of which the loader keeps.
/// Many tensors in one call take less time than one by one.
///
/// `stream` is a `CUstream` or `cudaStream_t` of the device's primary context, or NULL for the
/// default stream. The work begins behind what is on it, and is complete when the function returns.
/// Nobody else may use the memory meanwhile. The content of all of it is unspecified after a
/// failure. `tensors` may be NULL if `count` is 0.
///
/// Several threads may use a loader at a time.
///
/// Statuses: `NO_TENSOR`, `WRONG_LENGTH`, `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`,
/// `DEVICE_FAILED`, `INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_cuda_load(
    loader: *const CudaLoaderHandle,
    model: *const ModelHandle,
    tensors: *const CudaTensor,
    count: usize,
    stream: *mut c_void,
    error: *mut ErrorReport,
) -> Status {
    let work = || {
        // SAFETY: the caller promises NULL or a loader that is not closed.
        let loader = unsafe { loader.as_ref() };
        let CudaLoaderHandle(loader) = loader.ok_or_else(|| Failure::null("loader"))?;
        // SAFETY: the caller promises NULL or an open model.
        let model = unsafe { model_of(model) }?;
        if tensors.is_null() && count > 0 {
            return Err(Failure::null("tensors"));
        }
        let tensors = match count {
            0 => &[],
            // SAFETY: the caller promises so many structs.
            _ => unsafe { slice::from_raw_parts(tensors, count) },
        };
        let mut targets = Vec::with_capacity(count);
        for tensor in tensors {
            if !tensor.address.is_multiple_of(16) {
                let address = tensor.address;
                return Err(Failure::argument(format!(
                    "a device address is {address:#x}, expected a multiple of 16"
                )));
            }
            targets.push(CudaTarget {
                name: tensor_at(&model, tensor.number)?.name(),
                // SAFETY: the caller promises the memory until the function returns, which waits
                // for everything that uses it.
                output: unsafe { Output::at_address(tensor.address, tensor.bytes) },
            });
        }
        // SAFETY: the caller promises a stream of the primary context until the function returns.
        let stream = unsafe { CallerStream::from_raw(stream) };
        loader.load_model(&model, targets, &stream)?;
        Ok(())
    };
    // SAFETY: the caller promises NULL or a report.
    unsafe { call(error, work) }
}

/// Closes a loader, and frees its pinned memory and its device memory. NULL is allowed. No other
/// thread may use the loader meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unweight_cuda_close(loader: *mut CudaLoaderHandle) {
    let close = || {
        if !loader.is_null() {
            let _kept = KeptContext::new();
            // SAFETY: the handle is a box that `unweight_cuda_open` made, and nobody uses it any
            // more.
            drop(unsafe { Box::from_raw(loader) });
        }
        Ok(())
    };
    // SAFETY: there is no report.
    unsafe { call(std::ptr::null_mut(), close) };
}
