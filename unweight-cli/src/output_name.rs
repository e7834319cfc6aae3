//! Default names of outputs.

use std::path::{Path, PathBuf};

use unweight::file::{SAFETENSORS_EXTENSION, UNW_EXTENSION};

use crate::failure::Failure;

/// Default output name of `compress` for this input.
pub(crate) fn of_compressed(input: &Path, is_folder: bool) -> Result<PathBuf, Failure> {
    match is_folder {
        true => appended(input, UNW_EXTENSION),
        false => replaced(input, SAFETENSORS_EXTENSION, UNW_EXTENSION),
    }
}

/// Default output name of `decompress` for this input.
pub(crate) fn of_restored(input: &Path, is_folder: bool) -> Result<PathBuf, Failure> {
    if !is_folder {
        return replaced(input, UNW_EXTENSION, SAFETENSORS_EXTENSION);
    }
    match input.extension() {
        Some(extension) if extension == UNW_EXTENSION => Ok(input.with_extension("")),
        _ => Err(Failure::Usage(format!(
            "{}: expected a name that ends in .{UNW_EXTENSION}; name the output with -o",
            input.display()
        ))),
    }
}

/// Replaces the extension `from` of the input by `to`, or appends `to` if the input has another
/// one. The part after another dot may be all that tells the input from its neighbour, such as
/// `llama-3.1` from `llama-3.2`.
fn replaced(input: &Path, from: &str, to: &str) -> Result<PathBuf, Failure> {
    if stands_for_a_descriptor(input) {
        return Err(Failure::Usage(format!(
            "{} is a stream that the program was started with; name the output with -o",
            input.display()
        )));
    }
    match input.extension() {
        Some(extension) if extension == from => Ok(input.with_extension(to)),
        _ => appended(input, to),
    }
}

fn appended(input: &Path, extension: &str) -> Result<PathBuf, Failure> {
    // `.` and `..` have no name that an extension could be appended to.
    let Some(name) = input.file_name() else {
        return Err(Failure::Usage(format!(
            "{} has no name to derive the output from; name the output with -o",
            input.display()
        )));
    };
    let mut name = name.to_owned();
    name.push(".");
    name.push(extension);
    Ok(input.with_file_name(name))
}

/// Whether a path stands for a file descriptor, such as `/dev/stdin`, `/dev/fd/3` or
/// `/proc/self/fd/3`, or leads to a folder of descriptors.
fn stands_for_a_descriptor(input: &Path) -> bool {
    let folder = match input.parent() {
        Some(folder) if folder != Path::new("") => folder.canonicalize(),
        _ => Path::new(".").canonicalize(),
    };
    folder.is_ok_and(|folder| {
        folder == Path::new("/dev") || folder.starts_with("/dev/fd") || folder.starts_with("/proc")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_the_extension_that_it_knows() {
        for (input, compressed, restored) in [
            ("m.safetensors", "m.unw", "m.safetensors.safetensors"),
            ("d/m.unw", "d/m.unw.unw", "d/m.safetensors"),
            ("llama-3.1", "llama-3.1.unw", "llama-3.1.safetensors"),
            (
                ".safetensors",
                ".safetensors.unw",
                ".safetensors.safetensors",
            ),
            (
                "m.SAFETENSORS",
                "m.SAFETENSORS.unw",
                "m.SAFETENSORS.safetensors",
            ),
        ] {
            let input = Path::new(input);
            assert_eq!(of_compressed(input, false).unwrap(), Path::new(compressed));
            assert_eq!(of_restored(input, false).unwrap(), Path::new(restored));
        }
        let folder = Path::new("llama-3.1/");
        assert_eq!(
            of_compressed(folder, true).unwrap(),
            Path::new("llama-3.1.unw")
        );
        let back = of_restored(Path::new("llama-3.1.unw/"), true);
        assert_eq!(back.unwrap(), Path::new("llama-3.1"));
        assert!(of_compressed(Path::new(".."), true).is_err());
    }
}
