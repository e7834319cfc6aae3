//! NVRTC with named headers. cudarc's safe call takes one source text only.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;

use cudarc::nvrtc::{Ptx, result, sys};

use crate::GpuError;

/// A header by the name in `#include "name"`.
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// Compiles `source` to PTX. `name` stands in error messages.
///
/// # Errors
/// [`GpuError::NoKernels`] without an NVRTC on the machine; [`GpuError::Compile`] with NVRTC's log
/// if it fails.
pub(crate) fn compile(
    source: &str,
    name: &str,
    headers: &[Header],
    options: &[String],
) -> Result<Ptx, GpuError> {
    // SAFETY: loading a library of the system runs its initializers. NVRTC's have no preconditions.
    if !unsafe { sys::is_culib_present() } {
        return Err(GpuError::NoKernels);
    }
    let program = Program::new(source, name, headers)?;
    // SAFETY: `program` holds a program that is not destroyed yet.
    if let Err(error) = unsafe { result::compile_program(program.handle, options) } {
        let log = program.log().unwrap_or_default();
        return Err(GpuError::Compile(format!("{error}: {}", log.trim_end())));
    }
    program.ptx()
}

/// A program that NVRTC holds, and the texts that it may refer to.
struct Program {
    handle: sys::nvrtcProgram,
    _texts: Vec<CString>,
}

impl Program {
    fn new(source: &str, name: &str, headers: &[Header]) -> Result<Program, GpuError> {
        let terminated = |text: &str| {
            CString::new(text).map_err(|_| GpuError::Compile("a NUL in a source text".to_owned()))
        };
        // Source, name, then all header texts, then all header names.
        let texts = [source, name].into_iter();
        let texts = texts.chain(headers.iter().map(|header| header.text));
        let texts = texts.chain(headers.iter().map(|header| header.name));
        let texts = texts.map(terminated).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        let (header_texts, header_names) = pointers[2..].split_at(headers.len());
        let mut handle = ptr::null_mut();
        // SAFETY: all pointers are to NUL-terminated texts that outlive the program, both tables
        // have as many entries as the count says, and `handle` can be written to.
        let created = unsafe {
            sys::nvrtcCreateProgram(
                &mut handle,
                pointers[0],
                pointers[1],
                headers.len() as c_int,
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
        unsafe { result::get_program_log(self.handle) }
            .map(text_of)
            .map_err(failed)
    }

    fn ptx(&self) -> Result<Ptx, GpuError> {
        // SAFETY: the program is not destroyed yet.
        unsafe { result::get_ptx(self.handle) }
            .map(|bytes| Ptx::from_src(text_of(bytes)))
            .map_err(failed)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is not destroyed yet, and nothing uses it after this. A failure
        // leaves nothing to do.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

fn failed(error: result::NvrtcError) -> GpuError {
    GpuError::Compile(error.to_string())
}

/// Text up to the first NUL.
fn text_of(bytes: Vec<c_char>) -> String {
    let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
    CStr::from_bytes_until_nul(&bytes).map_or_else(
        |_| String::from_utf8_lossy(&bytes).into_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}
