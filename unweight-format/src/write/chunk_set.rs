//! Which chunks of a tensor have been written.

use alloc::vec;
use alloc::vec::Vec;

/// A set of chunks of one tensor: a bit for each.
#[derive(Debug)]
pub(super) struct ChunkSet {
    words: Vec<u64>,
    /// Chunks that are not in the set.
    missing: u64,
}

impl ChunkSet {
    /// The empty set of a tensor of so many chunks.
    pub(super) fn of_none(chunks: u64) -> ChunkSet {
        ChunkSet {
            words: vec![0; chunks.div_ceil(u64::BITS.into()) as usize],
            missing: chunks,
        }
    }

    /// Whether `chunk`, which the tensor has, is in the set.
    pub(super) fn has(&self, chunk: u64) -> bool {
        let (word, bit) = place(chunk);
        self.words[word] & bit != 0
    }

    /// Adds `chunk`, which the tensor has.
    pub(super) fn add(&mut self, chunk: u64) {
        let (word, bit) = place(chunk);
        self.missing -= u64::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// The first chunk that is not in the set, if one is not.
    pub(super) fn first_missing(&self) -> Option<u64> {
        if self.missing == 0 {
            return None;
        }
        let word = self.words.iter().position(|&word| word != u64::MAX)?;
        let bit = u64::from(self.words[word].trailing_ones());
        Some(word as u64 * u64::from(u64::BITS) + bit)
    }
}

fn place(chunk: u64) -> (usize, u64) {
    let bits = u64::from(u64::BITS);
    ((chunk / bits) as usize, 1 << (chunk % bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_chunk_that_is_missing() {
        for chunks in [1, 63, 64, 65, 200] {
            for missing in 0..chunks {
                let mut set = ChunkSet::of_none(chunks);
                let others = (0..chunks).filter(|&chunk| chunk != missing);
                // Once more changes nothing.
                others
                    .clone()
                    .chain(others)
                    .for_each(|chunk| set.add(chunk));
                assert!(!set.has(missing));
                assert_eq!(set.first_missing(), Some(missing));
                set.add(missing);
                assert!(set.has(missing));
                assert_eq!(set.first_missing(), None);
            }
        }
    }
}
