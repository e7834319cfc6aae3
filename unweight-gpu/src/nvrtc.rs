//! NVRTC: source to machine code, where there was no `nvcc` when the crate was built.

#![expect(unsafe_code, reason = "calls of NVRTC")]

use std::ffi::{CStr, CString};

use cudarc::nvrtc::{result, sys};

use crate::GpuError;

/// Whether the library is on this machine.
pub(crate) fn is_present() -> bool {
    // SAFETY: it opens a library of the system by its name, and runs what that library runs when it is loaded.
    unsafe { sys::is_culib_present() }
}

/// Major and minor version of the library, which must be present.
pub(crate) fn version() -> Result<(i32, i32), GpuError> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: it writes two numbers.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(failed)?;
    Ok((major, minor))
}

/// Compiles a source to a cubin. The library must be present.
///
/// # Errors
/// [`GpuError::Compile`], with the compiler's messages.
///
/// # Panics
/// If there is a zero byte in the texts.
pub(crate) fn compile(name: &str, source: &str, options: &[String]) -> Result<Vec<u8>, GpuError> {
    let text = |text: &str| CString::new(text).expect("no zero bytes");
    let (name, source) = (text(name), text(source));
    let program = Program(result::create_program(&source, Some(&name)).map_err(failed)?);
    // SAFETY: of all: the program is one that was created, and is destroyed when it is dropped; memory is as long as the library says.
    unsafe {
        if let Err(error) = result::compile_program(program.0, options) {
            let log = result::get_program_log(program.0).map_err(failed)?;
            let log = CStr::from_ptr(log.as_ptr()).to_string_lossy();
            return Err(GpuError::Compile(format!("{error}: {log}")));
        }
        let mut length = 0;
        sys::nvrtcGetCUBINSize(program.0, &raw mut length)
            .result()
            .map_err(failed)?;
        let mut image = vec![0u8; length];
        sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr().cast())
            .result()
            .map_err(failed)?;
        Ok(image)
    }
}

struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once. There is nobody to tell of an error.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn failed(error: result::NvrtcError) -> GpuError {
    GpuError::Compile(error.to_string())
}
