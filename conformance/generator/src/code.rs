//! Prefix codes (section 6). This is a second implementation of the specification, so that the
//! corpus does not depend on the crate under test.

use crate::random::Random;

/// Code length of a palette entry without a code.
pub const NONE: u8 = 15;

/// The nibbles of a record's code lengths, by palette entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths(pub [u8; 16]);

impl Lengths {
    /// Lengths for the first entries. The others have no code.
    pub fn of(first: &[u8]) -> Lengths {
        let mut nibbles = [NONE; 16];
        nibbles[..first.len()].copy_from_slice(first);
        Lengths(nibbles)
    }

    /// A code for a single entry, with no bits.
    pub fn single(entry: usize) -> Lengths {
        let mut nibbles = [NONE; 16];
        nibbles[entry] = 0;
        Lengths(nibbles)
    }

    /// A code of 16 entries with 4 bits each.
    pub fn flat() -> Lengths {
        Lengths([4; 16])
    }

    /// A code for [`Weights::skewed`](crate::weights::Weights::skewed): entry 15 has 1 bit, entry
    /// 14 has 2, and so on. Only the last nine entries have a code.
    pub fn skewed() -> Lengths {
        let mut nibbles = [NONE; 16];
        for (entry, length) in (7..16).zip([8, 8, 7, 6, 5, 4, 3, 2, 1]) {
            nibbles[entry] = length;
        }
        Lengths(nibbles)
    }

    /// A complete code of `entries` entries that is as skewed as 8 bits allow: lengths 1, 2, and so
    /// on as long as possible.
    pub fn most_skewed(entries: usize) -> Lengths {
        split_until(entries, |lengths| {
            // The choice is the last of the longest codes that can still be split.
            (0..lengths.len())
                .filter(|&i| lengths[i] < 8)
                .max_by_key(|&i| lengths[i])
        })
    }

    /// A complete code of `entries` entries whose lengths differ by at most 1.
    pub fn most_even(entries: usize) -> Lengths {
        split_until(entries, |lengths| {
            (0..lengths.len()).rev().min_by_key(|&i| lengths[i])
        })
    }

    /// Some complete code of 1 to 16 entries, at random places in the palette.
    pub fn random(random: &mut Random) -> Lengths {
        let entries = 1 + random.below(16) as usize;
        let lengths = split_until(entries, |lengths| {
            let open: Vec<usize> = (0..lengths.len()).filter(|&i| lengths[i] < 8).collect();
            Some(open[random.below(open.len() as u64) as usize])
        });
        let mut nibbles = lengths.0;
        random.shuffle(&mut nibbles);
        Lengths(nibbles)
    }

    /// The 8 bytes in a record.
    pub fn to_bytes(self) -> [u8; 8] {
        std::array::from_fn(|i| self.0[2 * i] | self.0[2 * i + 1] << 4)
    }

    /// The length and the code of each entry. The code's first bit in the stream is its most
    /// significant one.
    pub fn canonical(&self) -> [Option<(u8, u16)>; 16] {
        let mut codes = [None; 16];
        let mut code = 0u16;
        let mut length_before = 0;
        for (count, (length, entry)) in self.in_order().into_iter().enumerate() {
            if count > 0 {
                code = (code + 1) << (length - length_before);
            }
            length_before = length;
            codes[entry] = Some((length, code));
        }
        codes
    }

    /// The first entry in canonical order (section 11.4).
    pub fn placeholder(&self) -> usize {
        self.in_order()[0].1
    }

    /// The entries with a code.
    pub fn entries(&self) -> Vec<usize> {
        (0..16).filter(|&entry| self.0[entry] != NONE).collect()
    }

    fn in_order(&self) -> Vec<(u8, usize)> {
        let mut order: Vec<(u8, usize)> = self
            .entries()
            .into_iter()
            .map(|entry| (self.0[entry], entry))
            .collect();
        order.sort_unstable();
        order
    }
}

/// Builds a code by splitting. It begins with one code of no bits, and repeatedly splits a code
/// into two that are one bit longer.
fn split_until(entries: usize, mut choose: impl FnMut(&[u8]) -> Option<usize>) -> Lengths {
    let mut lengths = vec![0u8];
    while lengths.len() < entries {
        let split = choose(&lengths).expect("256 codes of 8 bits are more than 16");
        lengths[split] += 1;
        lengths.insert(split + 1, lengths[split]);
    }
    Lengths::of(&lengths)
}

/// Packs bits into bytes, from bit 0 of the first byte upwards (section 5.2).
#[derive(Default)]
pub struct Bits {
    bits: Vec<bool>,
}

impl Bits {
    /// Appends a code, its most significant bit first.
    pub fn push(&mut self, (length, code): (u8, u16)) {
        self.bits
            .extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether there are no bits.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// The bytes. Unused bits of the last byte are zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| (0..).zip(bits).map(|(i, &bit)| u8::from(bit) << i).sum();
        self.bits.chunks(8).map(byte).collect()
    }
}
