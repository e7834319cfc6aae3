//! Loading of tensors to CUDA devices, into memory of the caller.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use unweight::gpu::load::CallerStream;
use unweight::gpu::{KeptContext, Output};
use unweight::{CudaDevice, CudaLoader, CudaOptions, CudaTarget, Error};

use crate::error::exception;
use crate::file::File;

/// The devices of this process by their numbers. They stay open: loading the kernels takes longer
/// than loading a small file.
static DEVICES: Mutex<Option<HashMap<usize, CudaDevice>>> = Mutex::new(None);

/// Loads tensors of files to one device.
#[pyclass(frozen, module = "unweight._unweight")]
pub(crate) struct Loader {
    loader: CudaLoader,
}

#[pymethods]
impl Loader {
    /// A loader for the device of this number.
    #[new]
    fn new(py: Python<'_>, device: usize) -> PyResult<Loader> {
        let opened = py.detach(|| {
            let _kept = KeptContext::new();
            device_of(device)
        });
        match opened {
            Ok(device) => Ok(Loader {
                loader: CudaLoader::new(&device),
            }),
            Err(error) => Err(exception(py, &error, None)),
        }
    }

    /// Loads tensors of a file: the name of each, and the address and length of its memory on the
    /// device. The addresses are multiples of 16. `stream` is a `CUstream` of the device's primary
    /// context, after whose present work the memory may be used.
    ///
    /// The caller keeps memory and stream until this returns, and nobody else uses the memory.
    fn load(
        &self,
        py: Python<'_>,
        file: &File,
        tensors: Vec<(String, u64, u64)>,
        stream: usize,
    ) -> PyResult<()> {
        let opened = file.get(py)?;
        let targets = tensors.iter().map(|(name, address, bytes)| CudaTarget {
            name,
            // SAFETY: `_cuda.py`, the only caller, gives memory of torch tensors that it holds
            // until this returns. It checks their lengths, and that the addresses are multiples of
            // 16. Torch allocates multiples of 512 bytes, so that the bytes up to the next multiple
            // of 16 can be read.
            output: unsafe { Output::at_address(*address, *bytes) },
        });
        let targets: Vec<CudaTarget<'_>> = targets.collect();
        // SAFETY: it is torch's current stream of the device, as `_cuda.py` asks for it. Torch uses
        // primary contexts, and keeps its streams.
        let stream = unsafe { CallerStream::from_raw(stream as *mut c_void) };
        let done = py.detach(|| self.loader.load(opened.checkpoint(), targets, &stream));
        match done {
            Ok(_) => Ok(()),
            Err(error) => Err(file.exception(py, &error)),
        }
    }
}

/// The device of this number, opened at first use.
pub(crate) fn device_of(number: usize) -> Result<CudaDevice, Error> {
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let devices = devices.get_or_insert_default();
    if let Some(device) = devices.get(&number) {
        return Ok(device.clone());
    }
    let device = CudaDevice::open(number, &CudaOptions::new().users_kernel_cache())?;
    devices.insert(number, device.clone());
    Ok(device)
}
