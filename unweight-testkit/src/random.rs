//! Pseudo-random numbers and weights that are the same on every machine.

use half::bf16;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence with this seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The sequence for these bytes.
    pub fn of(bytes: &[u8]) -> Random {
        Random(unweight_format::crc32(bytes).into())
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// A range within `0..=length`, sometimes an empty one.
    pub fn range_in(&mut self, length: u64) -> std::ops::Range<u64> {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        a.min(b)..a.max(b)
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }

    /// Weights in which each bit is equally likely, so that there is nothing to compress.
    pub fn random_weights(&mut self, count: usize) -> Vec<bf16> {
        let weight = |_| bf16::from_bits(self.bits() as u16);
        (0..count).map(weight).collect()
    }

    /// Weights that are about normally distributed, as trained weights are. Their exponents have
    /// about 2.6 bits of entropy. The first weights do not depend on `count`.
    pub fn trained_weights(&mut self, count: usize) -> Vec<bf16> {
        let weight = |_| {
            let bits = self.bits();
            let parts = (0..4).map(|part| i64::from((bits >> (16 * part)) as i16));
            let sum: i64 = parts.sum();
            bf16::from_bits(((sum as f32 * 1e-6).to_bits() >> 16) as u16)
        };
        (0..count).map(weight).collect()
    }

    /// Weights with exponents out of `exponents`, all equally likely, and with random signs and
    /// mantissas.
    pub fn weights_of(&mut self, exponents: &[u8], count: usize) -> Vec<bf16> {
        let weight = |_| {
            let bits = self.bits();
            let exponent = exponents[(bits >> 16) as usize % exponents.len()];
            bf16::from_bits(bits as u16 & 0x807f | u16::from(exponent) << 7)
        };
        (0..count).map(weight).collect()
    }
}
