//! The user's folder for compiled kernels.

use std::ffi::OsString;
use std::path::PathBuf;

/// Folder that keeps compiled kernels. `UNWEIGHT_KERNEL_CACHE` is a folder, or `off`. Without it,
/// the folder is in the user's cache folder, as the XDG Base Directory Specification says. Relative
/// paths are ignored.
pub(super) fn kernel_cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
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
