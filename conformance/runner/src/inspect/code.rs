//! Huffman codes: section 6.

/// The nibble of an entry that has no code.
pub(super) const NONE: u8 = 15;

/// The 16 code lengths of a record header.
pub(super) fn lengths(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|j| bytes[j / 2] >> (4 * (j % 2)) & 15)
}

/// The canonical code of each entry that has one, sorted by (length, entry): entry, length, code.
pub(super) fn codes(lengths: &[u8; 16]) -> Vec<(usize, u8, u32)> {
    let coded = lengths
        .iter()
        .enumerate()
        .filter(|(_, length)| **length <= 8);
    let mut sorted: Vec<(u8, usize)> = coded.map(|(j, length)| (*length, j)).collect();
    sorted.sort_unstable();
    let mut codes = Vec::new();
    let mut before = None;
    for (length, j) in sorted {
        let code = match before {
            None => 0,
            Some((before_length, code)) => (code + 1u32) << (length - before_length),
        };
        before = Some((length, code));
        codes.push((j, length, code));
    }
    codes
}

/// The table *Q*: for the next 8 bits of a stream, the entry and the length of its code. The error is
/// that the lengths make no complete code.
pub(super) fn table(lengths: &[u8; 16]) -> Result<[(usize, u8); 256], String> {
    let sum: u32 = lengths
        .iter()
        .filter(|length| **length <= 8)
        .map(|length| 256 >> length)
        .sum();
    if sum != 256 {
        return Err(format!(
            "the code lengths fill {sum} of 256 parts of the code space (6)"
        ));
    }
    let mut table = [(0, 0); 256];
    for (j, length, code) in codes(lengths) {
        let reversed = (0..length).fold(0, |r, bit| r | (code >> bit & 1) << (length - 1 - bit));
        for i in 0..256usize >> length {
            table[reversed as usize + (i << length)] = (j, length);
        }
    }
    Ok(table)
}
