//! The prefix code of a record (section 6).

use crate::error::Rule;
use crate::layout::{CODE_LENGTHS_BYTES, LONGEST_CODE_BITS, NO_CODE, PALETTE_ENTRIES};

/// A complete prefix code over palette entries, given by its code lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    lengths: [u8; PALETTE_ENTRIES],
}

/// The code of one palette entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CanonicalCode {
    /// The palette index.
    pub entry: u8,
    /// Length in bits, 0 to 8.
    pub length_bits: u8,
    /// The code. Its first bit in the stream is the most significant.
    pub bits: u8,
}

impl CanonicalCode {
    /// The code read backwards: its first bit in the stream is bit 0, as a stream's bytes hold it.
    pub const fn stream_bits(self) -> u8 {
        match self.length_bits {
            0 => 0,
            length => self.bits.reverse_bits() >> (8 - length),
        }
    }
}

impl Code {
    /// A code of a palette of `entries` entries with these lengths by palette index; `None` for an
    /// entry that has no code.
    ///
    /// # Errors
    /// `code-length`, `code-oversubscribed` or `code-incomplete`, with the number that broke the
    /// rule: the length, or the sum of 2^(8-length).
    pub fn from_lengths(
        lengths: [Option<u8>; PALETTE_ENTRIES],
        entries: usize,
    ) -> Result<Code, (Rule, u64)> {
        Code::from_nibbles(lengths.map(|length| length.unwrap_or(NO_CODE)), entries)
    }

    /// A code of a palette of `entries` entries from the code lengths of a record header. Errors as
    /// [`Code::from_lengths`].
    pub fn from_bytes(
        bytes: [u8; CODE_LENGTHS_BYTES],
        entries: usize,
    ) -> Result<Code, (Rule, u64)> {
        let mut nibbles = [0; PALETTE_ENTRIES];
        for (pair, byte) in nibbles.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[byte & 15, byte >> 4]);
        }
        Code::from_nibbles(nibbles, entries)
    }

    fn from_nibbles(lengths: [u8; PALETTE_ENTRIES], entries: usize) -> Result<Code, (Rule, u64)> {
        let mut sum = 0;
        for (entry, &length) in lengths.iter().enumerate() {
            match length {
                0..=LONGEST_CODE_BITS if entry < entries => {
                    sum += 1u64 << (LONGEST_CODE_BITS - length)
                }
                NO_CODE => {}
                _ => return Err((Rule::CodeLength, length.into())),
            }
        }
        match sum {
            256 => Ok(Code { lengths }),
            0..256 => Err((Rule::CodeIncomplete, sum)),
            _ => Err((Rule::CodeOversubscribed, sum)),
        }
    }

    /// The code lengths as a record header holds them.
    pub fn to_bytes(self) -> [u8; CODE_LENGTHS_BYTES] {
        core::array::from_fn(|i| self.lengths[2 * i] | self.lengths[2 * i + 1] << 4)
    }

    /// The length in bits of an entry's code, if it has one.
    pub fn length_bits(&self, entry: usize) -> Option<u8> {
        let length = self.lengths[entry];
        (length != NO_CODE).then_some(length)
    }

    /// The codes of all entries that have one, in canonical order: by length, then by entry.
    pub fn canonical(&self) -> impl Iterator<Item = CanonicalCode> + '_ {
        let mut next = 0u16;
        let mut length_before = 0;
        (0..=LONGEST_CODE_BITS)
            .flat_map(|length| (0..PALETTE_ENTRIES).map(move |entry| (length, entry)))
            .filter(|&(length, entry)| self.lengths[entry] == length)
            .map(move |(length, entry)| {
                next <<= length - length_before;
                length_before = length;
                let bits = next as u8;
                next += 1;
                CanonicalCode {
                    entry: entry as u8,
                    length_bits: length,
                    bits,
                }
            })
    }

    /// The first entry in canonical order: the placeholder for values without a code (section
    /// 11.4).
    pub fn placeholder(&self) -> CanonicalCode {
        self.canonical()
            .next()
            .expect("a complete code has an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(given: &[u8]) -> [Option<u8>; 16] {
        core::array::from_fn(|i| given.get(i).copied())
    }

    #[test]
    fn assigns_the_codes_of_the_specs_example() {
        let code = Code::from_lengths(lengths(&[1, 2, 3, 3]), 4).unwrap();
        let codes: [u8; 4] = core::array::from_fn(|i| code.canonical().nth(i).unwrap().bits);
        assert_eq!(codes, [0b0, 0b10, 0b110, 0b111]);
        let streams: [u8; 4] =
            core::array::from_fn(|i| code.canonical().nth(i).unwrap().stream_bits());
        assert_eq!(streams, [0b0, 0b01, 0b011, 0b111]);
        assert_eq!(Code::from_bytes(code.to_bytes(), 16), Ok(code));
    }

    #[test]
    fn a_single_entry_has_the_empty_code() {
        let code = Code::from_lengths(lengths(&[0]), 2).unwrap();
        assert_eq!(code.canonical().count(), 1);
        assert_eq!(code.placeholder().stream_bits(), 0);
    }

    #[test]
    fn rejects_what_is_not_a_complete_code() {
        let rejected = |given: &[u8]| Code::from_lengths(lengths(given), 16).unwrap_err();
        assert_eq!(rejected(&[]), (Rule::CodeIncomplete, 0));
        assert_eq!(rejected(&[1]), (Rule::CodeIncomplete, 128));
        assert_eq!(rejected(&[1, 1, 8]), (Rule::CodeOversubscribed, 257));
        assert_eq!(rejected(&[0, 0]), (Rule::CodeOversubscribed, 512));
        for length in 9..15 {
            assert_eq!(rejected(&[length]), (Rule::CodeLength, length.into()));
        }
    }

    #[test]
    fn rejects_a_length_for_an_entry_that_the_palette_lacks() {
        let lengths = lengths(&[1, 2, 2]);
        assert!(Code::from_lengths(lengths, 3).is_ok());
        assert_eq!(Code::from_lengths(lengths, 2), Err((Rule::CodeLength, 2)));
    }
}
