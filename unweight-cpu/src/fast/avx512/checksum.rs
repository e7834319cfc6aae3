//! CRC-32 by folding, for loops that already have the bytes in registers. The multiplications use
//! execution ports that the loop leaves idle. All other checksums use `crc32fast`.
//!
//! The remainder of a polynomial stays the same if 128 bits of it are replaced by their product
//! with x^d mod P, placed d bits further on. Each 128-bit lane of a sum is therefore multiplied,
//! and added to the block `64 · VECTORS` bytes after it. The final sums represent all folded bytes.

use std::arch::x86_64::*;

/// The polynomial of section 8, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// A CRC-32 in progress over blocks of 64 bytes, which are added to `VECTORS` sums in turn.
#[derive(Clone, Copy)]
pub(super) struct Folded<const VECTORS: usize> {
    sums: [__m512i; VECTORS],
    multipliers: __m512i,
}

impl<const VECTORS: usize> Folded<VECTORS> {
    /// The factors x^(d+32) for the low half of 128 bits and x^(d-32) for the high half.
    const MULTIPLIERS: [i64; 2] = {
        let distance_bits = 512 * VECTORS as u32;
        [power(distance_bits + 32), power(distance_bits - 32)]
    };

    /// Continues after bytes with this CRC-32.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn behind(crc: u32) -> Self {
        let [low, high] = Self::MULTIPLIERS;
        let mut sums = [_mm512_setzero_si512(); VECTORS];
        // The state equals that after folding blocks of zeros whose last four bytes leave the
        // register in this state.
        let last = before_four_bytes(!crc) as i32;
        sums[VECTORS - 1] = _mm512_maskz_set1_epi32(1 << 15, last);
        Folded {
            sums,
            multipliers: _mm512_set4_epi64(high, low, high, low),
        }
    }

    /// Adds a block to sum number `sum`. Successive blocks use successive sums.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn add(&mut self, sum: usize, block: __m512i) {
        let before = self.sums[sum];
        let low = _mm512_clmulepi64_epi128::<0x00>(before, self.multipliers);
        let high = _mm512_clmulepi64_epi128::<0x11>(before, self.multipliers);
        // 0x96: a ^ b ^ c.
        self.sums[sum] = _mm512_ternarylogic_epi64::<0x96>(low, high, block);
    }

    /// The CRC-32 of all bytes. Every sum must have had the same number of blocks.
    #[target_feature(enable = "avx512f")]
    pub(super) fn finish(self) -> u32 {
        // A finished CRC-32 of all ones corresponds to a register of zeros.
        let mut crc = crc32fast::Hasher::new_with_initial(!0);
        for sum in self.sums {
            let mut block = [0u8; 64];
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), sum) };
            crc.update(&block);
        }
        crc.finalize()
    }
}

/// x^n mod P, reflected. It is shifted left by one bit, because the carry-less product of reflected
/// factors needs that.
const fn power(n: u32) -> i64 {
    let mut register = 1 << 31;
    let mut done = 0;
    while done < n {
        register = (register >> 1) ^ (POLYNOMIAL * (register & 1));
        done += 1;
    }
    (register as i64) << 1
}

/// The register from which 32 zero bits lead to this register.
fn before_four_bytes(mut register: u32) -> u32 {
    for _ in 0..32 {
        // The polynomial has its highest bit set, so that bit tells whether it was added.
        let added = register >> 31;
        register = (register ^ (POLYNOMIAL * added)) << 1 | added;
    }
    register
}

#[cfg(test)]
mod tests {
    use super::*;

    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn fold<const VECTORS: usize>(before: u32, bytes: &[u8]) -> u32 {
        let mut folded = Folded::<VECTORS>::behind(before);
        for (number, block) in bytes.as_chunks::<64>().0.iter().enumerate() {
            // SAFETY: 64 bytes are there.
            let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            folded.add(number % VECTORS, block);
        }
        folded.finish()
    }

    #[test]
    fn folding_gives_the_crc_of_the_bytes_behind_those_before() {
        if super::super::kernels().is_none() {
            return;
        }
        let bytes: Vec<u8> = (0..1024u32)
            .map(|i| (i.wrapping_mul(i) / 8) as u8)
            .collect();
        for before in [&b""[..], b"123456789", &[0; 100], &[0xff; 4]] {
            for blocks in [0, 2, 4, 16] {
                let bytes = &bytes[..64 * blocks];
                let mut expected = crc32fast::Hasher::new();
                expected.update(before);
                let before = expected.clone().finalize();
                expected.update(bytes);
                let expected = expected.finalize();
                // SAFETY: `kernels` has checked that the processor has the required features.
                assert_eq!(unsafe { fold::<1>(before, bytes) }, expected);
                // SAFETY: as above.
                assert_eq!(unsafe { fold::<2>(before, bytes) }, expected);
            }
        }
    }
}
