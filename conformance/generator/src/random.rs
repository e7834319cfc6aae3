//! Pseudo-random numbers by SplitMix64. The same seed always gives the same numbers.

/// A stream of numbers.
pub struct Random(u64);

impl Random {
    /// The stream for `seed`, a few words (FNV-1a converts them to a number).
    pub fn new(seed: &str) -> Random {
        Random(seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// The next `count` bytes, of which those from 1021 on repeat the first ones: the repository
    /// contains these files, and stores what repeats in little space. 1021 is a prime, so that
    /// chunks and steps differ.
    pub fn repeated_bytes(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.bytes(count.min(1021));
        bytes.iter().copied().cycle().take(count).collect()
    }

    /// Shuffles `items`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
