//! `--gpu`: the device of the command line, and the messages where it fails. The library decodes
//! with it.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use unweight::gpu::{GpuError, search_system_folders_only};
use unweight::{CudaOptions, Disagreement};

use crate::failure::Failure;

pub(crate) use unweight::CudaDevice as Gpu;

/// Opens the device of this number for a command.
pub(crate) fn open(ordinal: u16) -> Result<Gpu, unweight::Error> {
    // The search path is set before the first library is looked for. The program may run in a
    // model's folder, and must not load libraries from there.
    search_system_folders_only()?;
    let mut options = CudaOptions::new();
    if let Some(folder) = kernel_cache(|name| env::var_os(name)) {
        options = options.kernel_cache(folder);
    }
    Gpu::open(ordinal.into(), &options)
}

/// Folder that keeps compiled kernels. `UNWEIGHT_KERNEL_CACHE` is a folder, or `off`. Without it,
/// the folder is in the user's cache folder, as the XDG Base Directory Specification says. Relative
/// paths are ignored.
fn kernel_cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let folder = |name| {
        set(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    match set("UNWEIGHT_KERNEL_CACHE") {
        Some(value) if value == "off" => None,
        Some(_) => folder("UNWEIGHT_KERNEL_CACHE"),
        None => folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".cache")))
            .map(|caches| caches.join("unweight/kernels")),
    }
}

/// Failure of a command whose device is missing or fails.
pub(crate) fn failed(error: impl Into<GpuError>) -> Failure {
    unusable(error.into().into())
}

/// Failure of a command for which [`open`] fails, and which could use the CPU.
pub(crate) fn unusable(error: unweight::Error) -> Failure {
    Failure::Io(format!("GPU: {error}; run without --gpu to use the CPU"))
}

/// Failure of a command where the CPU does not confirm what the device reports about a file.
pub(crate) fn disagreement(Disagreement { tensor, report, .. }: &Disagreement) -> Failure {
    Failure::Io(format!(
        "internal error: the GPU reports \"{report}\" in tensor {tensor:?}, but the CPU finds no error; run without --gpu"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_kept_where_the_user_says_or_in_the_cache_folder() {
        let kept = |variables: &[(&str, &str)]| {
            let folder = kernel_cache(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            });
            folder.map(|path| path.to_str().unwrap().to_owned())
        };
        let home = ("HOME", "/home/a");
        let in_home = Some("/home/a/.cache/unweight/kernels".to_owned());
        assert_eq!(kept(&[home]), in_home);
        assert_eq!(kept(&[home, ("XDG_CACHE_HOME", "")]), in_home);
        assert_eq!(kept(&[home, ("XDG_CACHE_HOME", "caches")]), in_home);
        let in_caches = Some("/caches/unweight/kernels".to_owned());
        assert_eq!(kept(&[home, ("XDG_CACHE_HOME", "/caches")]), in_caches);
        assert_eq!(kept(&[home, ("UNWEIGHT_KERNEL_CACHE", "off")]), None);
        assert_eq!(kept(&[home, ("UNWEIGHT_KERNEL_CACHE", "here")]), None);
        let there = Some("/there".to_owned());
        assert_eq!(kept(&[home, ("UNWEIGHT_KERNEL_CACHE", "/there")]), there);
        assert_eq!(kept(&[]), None);
    }
}
