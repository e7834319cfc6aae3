//! Where libraries of CUDA are looked for.

use crate::GpuError;

/// Has this process look for libraries by name in folders of the system alone: on Windows, System32 and, for NVRTC and cuBLASLt, where `CUDA_PATH` says that the
/// toolkit is; not the current folder, that of the program or `PATH`. It is for the whole process: call it first, from the program, not from a library.
///
/// Elsewhere there is nothing to do: a name without a slash is never looked for in the current folder, unless `LD_LIBRARY_PATH` has an empty part, which
/// then holds for the libraries of every program.
///
/// # Errors
/// [`GpuError::Libraries`], with the system's.
pub fn search_system_folders_only() -> Result<(), GpuError> {
    #[cfg(windows)]
    windows::search_system_folders_only().map_err(GpuError::Libraries)?;
    Ok(())
}

/// Not compiled in CI, which has no Windows.
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
        // SAFETY: it takes flags, and changes nothing but where libraries are looked for.
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
            // SAFETY: it reads a path that ends in a zero. A folder that is not there is an error, which means that there is nothing to find.
            let _ = unsafe { AddDllDirectory(name.as_ptr()) };
        }
        Ok(())
    }
}
