//! First difference of an output from the expected one.
//!
//! The expected restored source is known byte by byte when the manifest has it (`restored_hex`, or
//! a `source` file) or when [`inspect`] restores it from the file, and by the digests of the whole
//! and of each tensor otherwise.

use crate::{
    Accept, Difference, Tensor,
    digest::sha256_hex,
    inspect::{self, first_differing_weight},
};

/// Compares the source restored from `file` with the manifest's `expected`, and byte by byte with
/// `known` where the caller has the bytes.
pub(crate) fn compare_restored(
    expected: &Accept,
    file: &[u8],
    known: Option<&[u8]>,
    restored: &[u8],
) -> Option<Difference> {
    if restored.len() as u64 == expected.length_bytes && sha256_hex(restored) == expected.sha256 {
        return None;
    }
    let own = match known {
        None => inspect::restore(file).ok(),
        Some(_) => None,
    };
    let right = |bytes: &&[u8]| sha256_hex(bytes) == expected.sha256;
    let known = known.or(own.as_deref().filter(right));
    let mut difference = difference(expected, known, restored);
    if let (Some(known), Some(offset)) = (known, difference.offset) {
        difference.weight = first_differing_weight(file, known, restored, offset);
    }
    Some(difference)
}

fn difference(expected: &Accept, known: Option<&[u8]>, restored: &[u8]) -> Difference {
    match known.and_then(|known| Some((known, first_difference(known, restored)?))) {
        Some((known, offset)) => differs_at(expected, known, restored, offset),
        None => differs_by_digest(expected, restored),
    }
}

/// Compares an encoder's file with the expected one.
pub(crate) fn compare_bytes(expected: &[u8], found: &[u8]) -> Option<Difference> {
    let offset = first_difference(expected, found)?;
    let text = format!(
        "the files first differ at offset {offset}: {}",
        bytes_at(expected, found, offset)
    );
    Some(Difference {
        tensor: None,
        offset: Some(offset as u64),
        weight: None,
        text: with_lengths(text, expected.len() as u64, found),
    })
}

/// The first index at which the two differ, if any.
fn first_difference(expected: &[u8], found: &[u8]) -> Option<usize> {
    let differing = expected
        .iter()
        .zip(found)
        .position(|(expected, found)| expected != found);
    differing.or_else(|| (expected.len() != found.len()).then(|| expected.len().min(found.len())))
}

fn differs_at(expected: &Accept, known: &[u8], restored: &[u8], offset: usize) -> Difference {
    let position = offset as u64;
    let tensor = expected
        .tensors
        .iter()
        .find(|tensor| (tensor.offset..tensor.offset + tensor.length_bytes).contains(&position));
    let bytes = bytes_at(known, restored, offset);
    let text = match tensor {
        Some(tensor) => format!(
            "{} first differs at its byte {}, offset {offset} of the restored source: {bytes}",
            describe(tensor),
            position - tensor.offset
        ),
        None if position < expected.length_bytes => {
            let what = match expected.tensors.is_empty() {
                true => "restored source",
                false => "source section",
            };
            format!("the {what} first differs at its byte {offset}: {bytes}")
        }
        None => "the restored source continues after its last tensor".into(),
    };
    Difference {
        tensor: tensor.map(|tensor| tensor.name.clone()),
        offset: Some(position),
        weight: None,
        text: with_lengths(text, expected.length_bytes, restored),
    }
}

fn differs_by_digest(expected: &Accept, restored: &[u8]) -> Difference {
    let section_end = expected
        .tensors
        .first()
        .map_or(expected.length_bytes, |tensor| tensor.offset);
    let differs = |tensor: &&Tensor| match slice(restored, tensor.offset, tensor.length_bytes) {
        Some(bytes) => sha256_hex(bytes) != tensor.sha256,
        None => true,
    };
    let tensor = expected.tensors.iter().find(differs);
    let text = match tensor {
        Some(tensor) => format!(
            "{} is the first that differs; it stands at {}..{} of the restored source",
            describe(tensor),
            tensor.offset,
            tensor.offset + tensor.length_bytes
        ),
        None if restored.len() as u64 > expected.length_bytes => {
            "every tensor is right, but the restored source continues after the last".into()
        }
        None => format!(
            "every tensor is right, but the source section, bytes 0..{section_end}, differs"
        ),
    };
    Difference {
        tensor: tensor.map(|tensor| tensor.name.clone()),
        offset: None,
        weight: None,
        text: with_lengths(text, expected.length_bytes, restored),
    }
}

fn describe(tensor: &Tensor) -> String {
    format!(
        "tensor {:?} ({} {:?})",
        tensor.name, tensor.dtype, tensor.shape
    )
}

fn bytes_at(expected: &[u8], found: &[u8], offset: usize) -> String {
    match (found.get(offset), expected.get(offset)) {
        (Some(found), Some(expected)) => format!("found {found:#04x}, expected {expected:#04x}"),
        (None, _) => "found the end".into(),
        (_, None) => "expected the end".into(),
    }
}

fn with_lengths(text: String, expected_bytes: u64, found: &[u8]) -> String {
    if found.len() as u64 == expected_bytes {
        text
    } else {
        format!(
            "{text} ({} bytes found, {expected_bytes} expected)",
            found.len()
        )
    }
}

fn slice(bytes: &[u8], offset: u64, length_bytes: u64) -> Option<&[u8]> {
    let begin = usize::try_from(offset).ok()?;
    let end = begin.checked_add(usize::try_from(length_bytes).ok()?)?;
    bytes.get(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source section of 4 bytes, then tensors of 3, 0 and 2 bytes.
    fn expected() -> (Accept, Vec<u8>) {
        let bytes = b"HEADabcde".to_vec();
        let tensor = |name: &str, offset: usize, length: usize| Tensor {
            name: name.into(),
            dtype: "U8".into(),
            shape: vec![length as u64],
            offset: offset as u64,
            length_bytes: length as u64,
            sha256: sha256_hex(&bytes[offset..offset + length]),
        };
        let accept = Accept {
            length_bytes: 9,
            sha256: sha256_hex(&bytes),
            tensors: vec![tensor("a", 4, 3), tensor("empty", 7, 0), tensor("b", 7, 2)],
            restored: None,
            source: None,
        };
        (accept, bytes)
    }

    fn compare(found: &[u8], byte_by_byte: bool) -> Option<(Option<String>, Option<u64>)> {
        let (accept, bytes) = expected();
        let known = byte_by_byte.then_some(bytes.as_slice());
        compare_restored(&accept, b"", known, found)
            .map(|difference| (difference.tensor, difference.offset))
    }

    #[test]
    fn equal_bytes_do_not_differ() {
        assert_eq!(compare(b"HEADabcde", true), None);
        assert_eq!(compare(b"HEADabcde", false), None);
    }

    #[test]
    fn names_tensor_and_byte_where_the_bytes_are_known() {
        assert_eq!(
            compare(b"HEADabXde", true),
            Some((Some("a".into()), Some(6)))
        );
        assert_eq!(
            compare(b"HEADabcdX", true),
            Some((Some("b".into()), Some(8)))
        );
        assert_eq!(compare(b"HEADabc", true), Some((Some("b".into()), Some(7))));
        assert_eq!(compare(b"HXADabcdX", true), Some((None, Some(1))));
        assert_eq!(compare(b"HEADabcdef", true), Some((None, Some(9))));
    }

    #[test]
    fn names_the_tensor_where_only_digests_are_known() {
        assert_eq!(compare(b"HEADabXdX", false), Some((Some("a".into()), None)));
        assert_eq!(compare(b"HEADabcd", false), Some((Some("b".into()), None)));
        assert_eq!(compare(b"", false), Some((Some("a".into()), None)));
        assert_eq!(compare(b"XEADabcde", false), Some((None, None)));
        assert_eq!(compare(b"HEADabcdef", false), Some((None, None)));
    }

    #[test]
    fn files_differ_at_the_first_byte_that_only_one_has() {
        let offset = |expected: &[u8], found: &[u8]| {
            compare_bytes(expected, found).map(|d| d.offset.unwrap())
        };
        assert_eq!(offset(b"abc", b"abc"), None);
        assert_eq!(offset(b"abc", b"abd"), Some(2));
        assert_eq!(offset(b"abc", b"ab"), Some(2));
        assert_eq!(offset(b"abc", b"abcd"), Some(3));
        assert_eq!(offset(b"", b"a"), Some(0));
    }
}
