//! The extension module of the Python package `unweight`. The package's own modules call it; it has
//! no interface for others.

mod array;
mod buffer;
mod cuda;
mod dlpack;
mod error;
mod export;
mod file;
mod inspect;
mod memory;
mod operation;
mod packed;
mod packed_cuda;
mod program;
mod save;
mod storage;
mod threads;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

#[pymodule]
fn _unweight(module: &Bound<'_, PyModule>) -> PyResult<()> {
    require_main_interpreter(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add(
        "kernels_are_built_in",
        unweight::gpu::kernels_are_built_in(),
    )?;
    module.add_class::<file::File>()?;
    module.add_class::<array::Array>()?;
    module.add_function(wrap_pyfunction!(array::new_array, module)?)?;
    module.add_class::<cuda::Loader>()?;
    module.add_function(wrap_pyfunction!(operation::compress, module)?)?;
    module.add_function(wrap_pyfunction!(operation::decompress, module)?)?;
    module.add_function(wrap_pyfunction!(operation::transcode, module)?)?;
    module.add_function(wrap_pyfunction!(operation::verify, module)?)?;
    module.add_function(wrap_pyfunction!(inspect::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(save::save, module)?)?;
    module.add_function(wrap_pyfunction!(save::save_file, module)?)?;
    module.add_function(wrap_pyfunction!(program::run_program, module)?)?;
    module.add_function(wrap_pyfunction!(packed::packed_layout, module)?)?;
    module.add_function(wrap_pyfunction!(packed::pack, module)?)?;
    module.add_function(wrap_pyfunction!(packed::restore, module)?)?;
    module.add_function(wrap_pyfunction!(packed::check_tables, module)?)?;
    module.add_function(wrap_pyfunction!(packed_cuda::choose_palette, module)?)?;
    module.add_function(wrap_pyfunction!(
        packed_cuda::most_rows_of_fused_norm,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(packed_cuda::routing_bytes, module)?)?;
    module.add_class::<packed_cuda::PackedKernels>()?;
    Ok(())
}

/// Refuses a subinterpreter. Threads and open files belong to the process, and call back into the
/// interpreter that imported the module first.
fn require_main_interpreter(_: Python<'_>) -> PyResult<()> {
    // SAFETY: the thread is attached to an interpreter, as the token says, so that there is a
    // current one.
    let current = unsafe { pyo3::ffi::PyInterpreterState_Get() };
    // SAFETY: `current` is the current interpreter, which is not null.
    match unsafe { pyo3::ffi::PyInterpreterState_GetID(current) } {
        0 => Ok(()),
        _ => Err(PyImportError::new_err(
            "unweight does not support subinterpreters; import it in the main interpreter",
        )),
    }
}
