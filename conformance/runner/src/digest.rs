//! SHA-256 digests and bytes in lower-case hexadecimal, as in the manifest.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    text
}

/// Whether `text` is 64 lower-case hexadecimal digits.
pub(crate) fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex_digit)
}

/// The bytes that `text` writes, two lower-case hexadecimal digits each.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(is_hex_digit) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_that_of_fips_180() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn parses_lower_case_pairs_only() {
        assert_eq!(parse_hex("00ff7a"), Some(vec![0, 255, 122]));
        assert_eq!(parse_hex(""), Some(vec![]));
        for text in ["0", "0g", "FF", "+1", "é"] {
            assert_eq!(parse_hex(text), None, "{text:?}");
        }
    }
}
