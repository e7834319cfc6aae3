//! The inputs that fuzzing found and that are kept: for each target those that reach code which the
//! other seeds do not reach.
//!
//! `fuzz/kept/TARGET.bin` has each input after its length, which is four bytes, little-endian.

use std::path::PathBuf;
use std::{fs, io};

use unweight_testkit::repository;

/// The kept inputs of a target. None if it has none.
///
/// # Errors
/// The file cannot be read; [`io::ErrorKind::InvalidData`] if it ends within an input.
pub fn kept_inputs(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let file = match fs::read(path(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut inputs = Vec::new();
    let mut rest = &file[..];
    while !rest.is_empty() {
        let (input, after) = first_input(rest).ok_or(io::ErrorKind::InvalidData)?;
        inputs.push(input.to_vec());
        rest = after;
    }
    Ok(inputs)
}

fn first_input(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Replaces the kept inputs of a target. The order of the inputs does not matter.
///
/// # Errors
/// The file cannot be written.
pub fn keep_inputs(target: &str, mut inputs: Vec<Vec<u8>>) -> io::Result<()> {
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    let mut file = Vec::new();
    for input in inputs {
        let length = u32::try_from(input.len()).map_err(io::Error::other)?;
        file.extend(length.to_le_bytes());
        file.extend(input);
    }
    let path = path(target);
    fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
    fs::write(path, file)
}

fn path(target: &str) -> PathBuf {
    repository("fuzz/kept").join(format!("{target}.bin"))
}
