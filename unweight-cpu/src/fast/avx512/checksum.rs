//! CRC-32 by folding, for loops that have the bytes in registers already: there the multiplications fill ports that the
//! loop leaves idle. Everywhere else it is `crc32fast`'s.
//!
//! A polynomial's remainder does not change when 128 bits of it are replaced by their product with x^d mod P, d bits further on. So each
//! 128-bit lane of a sum is multiplied and added to the block that stands `64 · VECTORS` bytes behind it; in the end the
//! sums stand for all that was folded.

use std::arch::x86_64::*;

/// The polynomial of section 8, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// A CRC-32 under way over blocks of 64 bytes, which go to `VECTORS` sums in turn.
#[derive(Clone, Copy)]
pub(super) struct Folded<const VECTORS: usize> {
    sums: [__m512i; VECTORS],
    multipliers: __m512i,
}

impl<const VECTORS: usize> Folded<VECTORS> {
    /// x^(d+32) for the low and x^(d-32) for the high half of 128 bits.
    const MULTIPLIERS: [i64; 2] = {
        let distance_bits = 512 * VECTORS as u32;
        [power(distance_bits + 32), power(distance_bits - 32)]
    };

    /// Goes on behind bytes of this CRC-32.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn behind(crc: u32) -> Self {
        let [low, high] = Self::MULTIPLIERS;
        let mut sums = [_mm512_setzero_si512(); VECTORS];
        // As if blocks of zeros had been folded, with four bytes at their end that leave the register in this state.
        let last = before_four_bytes(!crc) as i32;
        sums[VECTORS - 1] = _mm512_maskz_set1_epi32(1 << 15, last);
        Folded {
            sums,
            multipliers: _mm512_set4_epi64(high, low, high, low),
        }
    }

    /// Adds a block to sum number `sum`: they take turns.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn add(&mut self, sum: usize, block: __m512i) {
        let before = self.sums[sum];
        let low = _mm512_clmulepi64_epi128::<0x00>(before, self.multipliers);
        let high = _mm512_clmulepi64_epi128::<0x11>(before, self.multipliers);
        // 0x96: a ^ b ^ c.
        self.sums[sum] = _mm512_ternarylogic_epi64::<0x96>(low, high, block);
    }

    /// The CRC-32 of all bytes, once every sum has had as many blocks.
    #[target_feature(enable = "avx512f")]
    pub(super) fn finish(self) -> u32 {
        // A finished CRC-32 of all ones is a register of zeros.
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

/// x^n mod P, reflected, as a carry-less multiplication of reflected factors wants it: one bit higher.
const fn power(n: u32) -> i64 {
    let mut register = 1 << 31;
    let mut done = 0;
    while done < n {
        register = (register >> 1) ^ (POLYNOMIAL * (register & 1));
        done += 1;
    }
    (register as i64) << 1
}

/// The register 32 bits before it was this one, if they were zeros.
fn before_four_bytes(mut register: u32) -> u32 {
    for _ in 0..32 {
        // The polynomial's highest bit says whether it was added.
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
                // SAFETY: `kernels` has seen that the processor has what it needs.
                assert_eq!(unsafe { fold::<1>(before, bytes) }, expected);
                // SAFETY: as above.
                assert_eq!(unsafe { fold::<2>(before, bytes) }, expected);
            }
        }
    }
}
