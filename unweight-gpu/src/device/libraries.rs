//! Search path of the CUDA libraries.

use crate::GpuError;

/// Restricts the search for libraries by name in this process to system folders. On Windows these
/// are System32 and, for NVRTC and cuBLASLt, the toolkit's folder in `CUDA_PATH`. The current
/// folder, the program's folder and `PATH` are excluded. It affects the whole process: call it
/// first, from the program, not from a library.
///
/// On other systems it does nothing. They never search the current folder for a name without a
/// slash, unless `LD_LIBRARY_PATH` has an empty part, which then applies to the libraries of every
/// program.
///
/// # Errors
/// [`GpuError::Libraries`] with the error of the system.
pub fn search_system_folders_only() -> Result<(), GpuError> {
    #[cfg(windows)]
    windows::search_system_folders_only().map_err(GpuError::Libraries)?;
    Ok(())
}

/// This code is not compiled in CI, which has no Windows.
#[cfg(windows)]
mod windows {
    use std::io;
    use std::os::windows::ffi::OsStrExt;
    use std::path::PathBuf;

    use windows_sys::Win32::System::LibraryLoader::{
        AddDllDirectory, LOAD_LIBRARY_SEARCH_SYSTEM32, LOAD_LIBRARY_SEARCH_USER_DIRS,
        SetDefaultDllDirectories,
    };

    pub(super) fn search_system_folders_only() -> io::Result<()> {
        // SAFETY: the call takes flags, and changes only the search path of libraries.
        let is_set = unsafe {
            SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32 | LOAD_LIBRARY_SEARCH_USER_DIRS)
        };
        if is_set == 0 {
            return Err(io::Error::last_os_error());
        }
        let toolkit = std::env::var_os("CUDA_PATH").map(PathBuf::from);
        let toolkit = toolkit.filter(|folder| folder.is_absolute());
        for folder in ["bin", r"bin\x64"] {
            let Some(folder) = toolkit.as_ref().map(|toolkit| toolkit.join(folder)) else {
                continue;
            };
            let name = folder.as_os_str().encode_wide();
            let name: Vec<u16> = name.chain(std::iter::once(0)).collect();
            // SAFETY: the call reads a path that ends in a zero. A missing folder is an error,
            // which means that there is nothing to find.
            let _ = unsafe { AddDllDirectory(name.as_ptr()) };
        }
        Ok(())
    }
}
