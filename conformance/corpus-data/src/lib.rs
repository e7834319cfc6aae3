//! The conformance corpus of the Unweight bitstream, version 1.0-rc.1, as data of a program.
//!
//! `manifest.json` lists the cases: files that a decoder must accept, and what they restore to;
//! files that it must reject, and the rule that each breaks; sources and the files that a canonical
//! encoder makes of them. `unweight-conformance-runner` runs a decoder against it; this crate has
//! the bytes alone, and no dependency.
//!
//! ```
//! let manifest = unweight_corpus_data::file("manifest.json").unwrap();
//! assert!(manifest.starts_with(b"{"));
//! for (path, bytes) in unweight_corpus_data::files() {
//!     println!("{path}: {} bytes", bytes.len());
//! }
//! ```

#![no_std]
#![forbid(unsafe_code)]

/// The README's example runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// All files, sorted by path.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The version of the format that the cases belong to, as the manifest has it.
pub const FORMAT_VERSION: &str = "1.0-rc.1";

/// Every file of the corpus, sorted by path: the path, with `/` between its parts, and the contents.
pub fn files() -> impl ExactSizeIterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().copied()
}

/// The contents of the file with this path, such as `manifest.json` or `valid/no-tensors-and-no-source.unw`.
pub fn file(path: &str) -> Option<&'static [u8]> {
    let position = FILES.binary_search_by_key(&path, |(path, _)| path).ok()?;
    Some(FILES[position].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_by_its_path() {
        assert!(files().len() > 1000);
        assert!(files().all(|(path, bytes)| file(path) == Some(bytes)));
        assert_eq!(file("manifest.jso"), None);
        assert_eq!(file(""), None);
    }

    #[test]
    fn the_version_is_that_of_the_manifest() {
        let manifest = core::str::from_utf8(file("manifest.json").unwrap()).unwrap();
        let line = manifest
            .lines()
            .find(|line| line.contains("\"format_version\""));
        let version = line.unwrap().split('"').nth(3);
        assert_eq!(version, Some(FORMAT_VERSION));
    }

    #[test]
    fn the_version_of_the_crate_is_that_of_the_format() {
        // 1.0-rc.1 is 1.0.0-rc.1 for cargo.
        let (number, candidate) = FORMAT_VERSION
            .split_once('-')
            .unwrap_or((FORMAT_VERSION, ""));
        let mut version = env!("CARGO_PKG_VERSION").split('-');
        let three = version.next().unwrap();
        assert_eq!(three.rsplit_once('.').unwrap().0, number);
        assert_eq!(version.next().unwrap_or(""), candidate);
    }
}
