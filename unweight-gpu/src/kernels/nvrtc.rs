//! NVRTC with named headers: compiles source to machine code if the crate was built without `nvcc`.
//! cudarc's safe call takes only a single source text and returns only PTX.

#![expect(unsafe_code, reason = "calls of NVRTC")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;

use cudarc::nvrtc::{result, sys};

use super::Header;
use crate::GpuError;

/// Whether the library is on this machine.
pub(crate) fn is_present() -> bool {
    // SAFETY: loading a system library runs its initializers. NVRTC's have no preconditions.
    unsafe { sys::is_culib_present() }
}

/// Major and minor version of the library, which must be present.
pub(crate) fn version() -> Result<(i32, i32), GpuError> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the call writes two numbers.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(failed)?;
    Ok((major, minor))
}

/// Compiles `source` to a cubin. Error messages contain `name`. The library must be present.
///
/// # Errors
/// [`GpuError::Compile`] with NVRTC's log.
pub(crate) fn compile(
    source: &str,
    name: &str,
    headers: &[&[Header]],
    options: &[String],
) -> Result<Vec<u8>, GpuError> {
    let program = Program::new(source, name, headers)?;
    // SAFETY: `program` has a program that is not destroyed yet.
    if let Err(error) = unsafe { result::compile_program(program.handle, options) } {
        let log = program.log().unwrap_or_default();
        return Err(GpuError::Compile(format!("{error}: {}", log.trim_end())));
    }
    program.cubin()
}

/// An NVRTC program and the texts that it may refer to.
struct Program {
    handle: sys::nvrtcProgram,
    _texts: Vec<CString>,
}

impl Program {
    fn new(source: &str, name: &str, headers: &[&[Header]]) -> Result<Program, GpuError> {
        let terminated = |text: &str| {
            CString::new(text).map_err(|_| GpuError::Compile("a NUL in a source text".to_owned()))
        };
        let headers = || headers.iter().copied().flatten();
        let header_count = headers().count();
        // The order is: source, name, all header texts, all header names.
        let texts = [source, name].into_iter();
        let texts = texts.chain(headers().map(|header| header.text));
        let texts = texts.chain(headers().map(|header| header.name));
        let texts = texts.map(terminated).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        let (header_texts, header_names) = pointers[2..].split_at(header_count);
        let mut handle = ptr::null_mut();
        // SAFETY: all pointers are to NUL-terminated texts that outlive the program, both tables
        // have as many entries as the count says, and `handle` is writable.
        let created = unsafe {
            sys::nvrtcCreateProgram(
                &mut handle,
                pointers[0],
                pointers[1],
                header_count as c_int,
                header_texts.as_ptr(),
                header_names.as_ptr(),
            )
        };
        created.result().map_err(failed)?;
        Ok(Program {
            handle,
            _texts: texts,
        })
    }

    fn log(&self) -> Result<String, GpuError> {
        // SAFETY: the program is not destroyed yet.
        let log = unsafe { result::get_program_log(self.handle) }.map_err(failed)?;
        let bytes: Vec<u8> = log.into_iter().map(|byte| byte as u8).collect();
        let text = CStr::from_bytes_until_nul(&bytes).map(CStr::to_bytes);
        Ok(String::from_utf8_lossy(text.unwrap_or(&bytes)).into_owned())
    }

    fn cubin(&self) -> Result<Vec<u8>, GpuError> {
        let mut length = 0;
        // SAFETY: the program is not destroyed yet, and the call writes a number.
        unsafe { sys::nvrtcGetCUBINSize(self.handle, &raw mut length) }
            .result()
            .map_err(failed)?;
        let mut image = vec![0u8; length];
        // SAFETY: the program is not destroyed yet, and the memory has the length that NVRTC
        // reported.
        unsafe { sys::nvrtcGetCUBIN(self.handle, image.as_mut_ptr().cast()) }
            .result()
            .map_err(failed)?;
        Ok(image)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is not destroyed yet, and nothing uses it after this call. A failure
        // is ignored, because nothing can be done about it.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

fn failed(error: result::NvrtcError) -> GpuError {
    GpuError::Compile(error.to_string())
}
