//! The set of chunks of a tensor that have been written.

use alloc::vec;
use alloc::vec::Vec;

/// A set of chunks of one tensor, one bit a chunk.
#[derive(Debug)]
pub(super) struct ChunkSet {
    words: Vec<u64>,
    /// Number of chunks that are not in the set.
    missing: u64,
}

impl ChunkSet {
    /// The empty set for a tensor of `chunks` chunks.
    pub(super) fn of_none(chunks: u64) -> ChunkSet {
        ChunkSet {
            words: vec![0; chunks.div_ceil(u64::BITS.into()) as usize],
            missing: chunks,
        }
    }

    /// Whether `chunk` is in the set. The tensor must have this chunk.
    pub(super) fn has(&self, chunk: u64) -> bool {
        let (word, bit) = place(chunk);
        self.words[word] & bit != 0
    }

    /// Adds `chunk`. The tensor must have this chunk.
    pub(super) fn add(&mut self, chunk: u64) {
        let (word, bit) = place(chunk);
        self.missing -= u64::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// The first chunk that is not in the set, or `None` if all are.
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
                // Adding a chunk twice changes nothing.
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
