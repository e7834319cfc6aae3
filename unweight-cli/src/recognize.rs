//! Recognition of a file that is not of the expected kind, by its first bytes. It runs only after
//! the file has been refused.

use std::path::Path;

use unweight::file::open;
use unweight::{Storage, read_extent};
use unweight_format::{Extent, layout};

use crate::printable::quoted;

/// Kind of file that a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Unweight,
    Safetensors,
}

impl Expected {
    fn name(self) -> &'static str {
        match self {
            Expected::Unweight => "an Unweight file",
            Expected::Safetensors => "a safetensors file",
        }
    }
}

/// Number of bytes at the start of a file that are examined.
const FIRST_BYTES: u64 = 512;
/// Number of characters of a text that are quoted.
const QUOTED_CHARACTERS: usize = 60;

/// Says what the file at `path` is, and what to do, as part of a message. None if the kind is
/// unknown or is the expected one.
pub(crate) fn instead_of(expected: Expected, path: &Path) -> Option<String> {
    let file = open(path).ok()?;
    let length = file.byte_length().ok()?;
    let begin = Extent {
        offset: 0,
        length: length.min(FIRST_BYTES),
    };
    let mut buffer = Vec::new();
    let found = what_is(expected, read_extent(&file, begin, &mut buffer).ok()?)?;
    Some(format!(
        "this is {}, expected {}; {}",
        found.what,
        expected.name(),
        found.advice
    ))
}

/// Kind of file that was recognised, and advice for the user.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    what: String,
    advice: &'static str,
}

const OTHER_CHECKPOINT: &str = "convert it to safetensors first";
const UNPACK: &str = "unpack it first";
const DOWNLOAD_AGAIN: &str = "download the file again";

fn what_is(expected: Expected, begin: &[u8]) -> Option<Found> {
    let found = |what: &str, advice: &'static str| {
        Some(Found {
            what: what.to_owned(),
            advice,
        })
    };
    if begin.is_empty() {
        return found("an empty file", DOWNLOAD_AGAIN);
    }
    if begin.starts_with(&layout::MAGIC) {
        return match expected {
            Expected::Unweight => None,
            Expected::Safetensors => found(
                "an Unweight file already",
                "use it with decompress, verify or transcode",
            ),
        };
    }
    if is_safetensors(begin) {
        return match expected {
            Expected::Safetensors => None,
            Expected::Unweight => found("a safetensors file", "compress it first"),
        };
    }
    binary(begin).or_else(|| text(begin)).or_else(|| {
        let is_blank = begin.iter().all(|&byte| byte == 0);
        is_blank.then(|| Found {
            what: "a file that begins with zeros, as an unfinished download does".to_owned(),
            advice: DOWNLOAD_AGAIN,
        })
    })
}

/// Whether a file starts with a length of less than 2^32 and a JSON object. The file may have been
/// cut short.
fn is_safetensors(begin: &[u8]) -> bool {
    matches!(begin, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

/// Recognises binary files by their first bytes.
fn binary(begin: &[u8]) -> Option<Found> {
    const KINDS: [(&[u8], &str, &str); 15] = [
        (
            b"GGUF",
            "a GGUF file",
            "Unweight compresses safetensors checkpoints",
        ),
        (
            b"\x89HDF\r\n\x1a\n",
            "an HDF5 file (Keras)",
            OTHER_CHECKPOINT,
        ),
        (b"\x93NUMPY", "a NumPy array", OTHER_CHECKPOINT),
        (b"PK\x05\x06", "an empty zip archive", DOWNLOAD_AGAIN),
        (b"\x1f\x8b", "a gzip file", UNPACK),
        (b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
        (b"\xfd7zXZ\0", "an xz file", UNPACK),
        (b"BZh", "a bzip2 file", UNPACK),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
        (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
        (
            b"PAR1",
            "a Parquet file",
            "Unweight compresses model weights",
        ),
        (
            b"tjgg",
            "a GGML file",
            "Unweight compresses safetensors checkpoints",
        ),
        (
            b"lmgg",
            "a GGML file",
            "Unweight compresses safetensors checkpoints",
        ),
        (b"\x7fELF", "a program", "name a model file"),
        (b"%PDF-", "a PDF document", "name a model file"),
    ];
    let found = |what: &str, advice| {
        Some(Found {
            what: what.to_owned(),
            advice,
        })
    };
    if let Some((_, what, advice)) = KINDS.iter().find(|(magic, ..)| begin.starts_with(magic)) {
        return found(what, advice);
    }
    if begin.starts_with(b"PK\x03\x04") {
        return found(zip(begin), OTHER_CHECKPOINT);
    }
    // PyTorch before 1.6 begins with the number 0x1950a86a20f9469cfc6c.
    const TORCH_NUMBER: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    match begin {
        [0x80, 2..=5, rest @ ..] if rest.starts_with(TORCH_NUMBER) => {
            return found("a PyTorch checkpoint (pickle)", OTHER_CHECKPOINT);
        }
        [0x80, 2..=5, ..] => return found("a Python pickle (PyTorch?)", OTHER_CHECKPOINT),
        // Field 1, the version, then field 2, the producer, or field 7, the graph.
        [0x08, 1..=20, 0x12 | 0x3a, ..] => {
            return found("a protocol buffer (ONNX or TensorFlow?)", OTHER_CHECKPOINT);
        }
        _ => {}
    }
    if begin.get(4..8) == Some(b"TFL3") {
        return found("a TensorFlow Lite model", OTHER_CHECKPOINT);
    }
    if begin.get(257..262) == Some(b"ustar") {
        return found("a tar archive", UNPACK);
    }
    None
}

/// Kind of a zip archive, by the name of its first file.
fn zip(begin: &[u8]) -> &'static str {
    const NAME_LENGTH: usize = 26;
    const NAME: usize = 30;
    let length = begin.get(NAME_LENGTH..NAME_LENGTH + 2);
    let length = length.map_or(0, |bytes| {
        usize::from(bytes[0]) | usize::from(bytes[1]) << 8
    });
    let name = begin.get(NAME..NAME + length).unwrap_or_default();
    if name.ends_with(b"data.pkl") || name.ends_with(b"/version") || name.ends_with(b"/byteorder") {
        "a PyTorch checkpoint (a zip archive)"
    } else if name.ends_with(b".npy") {
        "a NumPy archive"
    } else {
        "a zip archive (PyTorch?)"
    }
}

/// Recognises text files. Text where weights were expected is a pointer to them, or says why they
/// are missing.
fn text(begin: &[u8]) -> Option<Found> {
    let found = |what: String, advice| Some(Found { what, advice });
    if begin.starts_with(b"version https://git-lfs.github.com/") {
        let what = "a Git LFS pointer, not the file itself".to_owned();
        return found(what, "run `git lfs pull` to get it");
    }
    // The examined bytes may end within a character.
    let text = match std::str::from_utf8(begin) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    let is_text = |character: char| !character.is_control() || "\t\n\r".contains(character);
    // A shorter text may be anything.
    const LEAST_BYTES: usize = 8;
    if text.len() < LEAST_BYTES || !text.chars().all(is_text) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    if ["<!doctype html", "<html", "<head"]
        .iter()
        .any(|tag| lower.starts_with(tag))
    {
        let what = "an HTML page, perhaps of a login or an error".to_owned();
        return found(what, "download the file itself");
    }
    if lower.contains("/annex/objects/") {
        let what = "a git-annex pointer, not the file itself".to_owned();
        return found(what, "run `git annex get` to get it");
    }
    if text.starts_with('{') && text.contains("\"weight_map\"") | text.contains("\"total_size\"") {
        let what = "the index of a sharded model".to_owned();
        return found(what, "name its folder, or one of its shards");
    }
    if text.starts_with(['{', '[']) {
        return found("a JSON file".to_owned(), "name a file with weights");
    }
    let begin: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(QUOTED_CHARACTERS)
        .collect();
    found(
        format!("a text file that begins with {}", quoted(&begin)),
        "name a file with weights, or download it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(expected: Expected, begin: &[u8]) -> Option<String> {
        what_is(expected, begin).map(|found| found.what)
    }

    #[test]
    fn knows_what_people_have_by_the_name_of_a_checkpoint() {
        let mut tar = [b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let torch_zip = [
            b"PK\x03\x04".as_slice(),
            &[0; 22],
            &[16, 0, 0, 0],
            b"archive/data.pkl",
        ]
        .concat();
        for (begin, expected) in [
            (&b""[..], "an empty file"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                "a Git LFS pointer",
            ),
            (b"<!DOCTYPE html><html>", "an HTML page"),
            (b"\n <HTML lang=en>", "an HTML page"),
            (b"GGUF\x03\0\0\0", "a GGUF file"),
            (&torch_zip, "a PyTorch checkpoint (a zip archive)"),
            (
                b"PK\x03\x04\0\0\0\0\x08\x08\0\0",
                "a zip archive (PyTorch?)",
            ),
            (b"\x80\x02}q\0.......", "a Python pickle (PyTorch?)"),
            (
                b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
                "a PyTorch checkpoint",
            ),
            (b"\x93NUMPY\x01\0", "a NumPy array"),
            (b"\x08\x07\x12\x07pytorch", "a protocol buffer"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "a gzip file"),
            (b"\x28\xb5\x2f\xfd\x24", "a zstd file"),
            (&tar, "a tar archive"),
            (
                b"{\"metadata\":{\"total_size\":1},\"weight_map\":{}}",
                "the index of a sharded model",
            ),
            (b"{\"a\": 1, \"b\": 2}", "a JSON file"),
            (
                b"Entry not found\n",
                "a text file that begins with \"Entry not found\"",
            ),
            (&[0; 64], "a file that begins with zeros"),
        ] {
            for kind in [Expected::Unweight, Expected::Safetensors] {
                let found = what(kind, begin).unwrap_or_else(|| panic!("{expected}: nothing"));
                assert!(found.starts_with(expected), "{expected}: {found}");
            }
        }
    }

    #[test]
    fn says_nothing_of_what_was_expected_and_of_what_it_does_not_know() {
        let safetensors = b"\x02\0\0\0\0\0\0\0{}";
        let unweight = [&layout::MAGIC[..], &[0; 56]].concat();
        assert_eq!(what(Expected::Safetensors, safetensors), None);
        assert_eq!(what(Expected::Unweight, &unweight), None);
        assert_eq!(
            what(Expected::Unweight, safetensors).unwrap(),
            "a safetensors file"
        );
        assert_eq!(
            what(Expected::Safetensors, &unweight).unwrap(),
            "an Unweight file already"
        );
        assert_eq!(what(Expected::Unweight, &[0xfe; 100]), None);
        // A gzip file's first bytes may be the length of a header.
        let mut header = b"\x1f\x8b\0\0\0\0\0\0{".to_vec();
        assert_eq!(what(Expected::Safetensors, &header), None);
        header.truncate(8);
        assert_eq!(what(Expected::Safetensors, &header).unwrap(), "a gzip file");
    }
}
