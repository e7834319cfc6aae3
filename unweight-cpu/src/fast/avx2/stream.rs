//! Lane streams of AVX2's encoders.

use std::arch::x86_64::*;

use crate::fast::lanes::ROW_BYTES;

/// Greatest number of bits in one append. Fewer than 8 bits are pending.
pub(super) const APPENDABLE_BITS: u32 = 56;

/// A lane stream under construction.
#[derive(Clone, Copy, Default)]
pub(super) struct Stream {
    at: usize,
    pending: u64,
    pending_bits: u32,
}

impl Stream {
    /// Appends at most [`APPENDABLE_BITS`] bits.
    #[inline]
    #[target_feature(enable = "bmi2")]
    pub(super) fn append(&mut self, bits: u64, length: u32, row: &mut [u8; ROW_BYTES]) {
        let bits = self.pending | bits << self.pending_bits;
        let bit_count = self.pending_bits + length;
        row[self.at..self.at + 8].copy_from_slice(&bits.to_le_bytes());
        self.at += bit_count as usize / 8;
        self.pending = bits >> (bit_count & !7);
        self.pending_bits = bit_count % 8;
    }

    /// The number of appended bits.
    #[inline]
    pub(super) fn bits(&self) -> u32 {
        8 * self.at as u32 + self.pending_bits
    }
}

/// The four words of a vector.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn words(vector: __m256i) -> [u64; 4] {
    let mut words = [0u64; 4];
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    words
}
