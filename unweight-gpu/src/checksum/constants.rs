//! Constants of `kernels/checksum/crc32.cuh`, from the arithmetic of polynomials over GF(2) modulo
//! that of CRC-32, with bit 31 as x^0.

use std::sync::LazyLock;

const POLYNOMIAL: u32 = 0xedb8_8320;
const ONE: u32 = 1 << 31;
/// x^(2^32 - 1) = 1: the polynomial is primitive, so this power of x is its inverse.
const ORDER: u64 = u32::MAX as u64;

const LANES: u64 = 32;
const ROW_BYTES: u64 = 512;

/// The words of `CrcConstants` in `kernels/abi/crc_constants.cuh`, in their order.
/// They are computed once.
pub fn words() -> &'static [u32] {
    static WORDS: LazyLock<Vec<u32>> = LazyLock::new(|| {
        let mut words = BY_SIXTEEN.words();
        words.extend(BY_EIGHT.words());
        for k in 0..20 {
            words.extend((0..LANES).map(|lane| power((8 << k) + lane)));
        }
        for k in 0..9 {
            words.extend((0..LANES).map(|lane| power(ORDER - (8 << k) + lane)));
        }
        words
    });
    &WORDS
}

/// The layout of a row's words over lanes. Four lanes hold one row of a binary MMA, two words each.
/// They hold a second row with the following words.
struct Layout {
    /// Distance from a lane's words to the next lane's.
    lane_bytes: u64,
    /// Distance from a lane's first words to its second words.
    word_bytes: u64,
    /// Distance from the first four bits that receive counts to the next four.
    second_shift: u64,
}

/// Layout with 16 consecutive bytes for each lane.
const BY_SIXTEEN: Layout = Layout {
    lane_bytes: 16,
    word_bytes: 8,
    second_shift: 2,
};

/// Layout with 8 bytes for each lane, and 8 more half a row later.
const BY_EIGHT: Layout = Layout {
    lane_bytes: 8,
    word_bytes: ROW_BYTES / 2,
    second_shift: 4,
};

impl Layout {
    /// The bit position in a word of count `product` of 4, for a lane's first or second column.
    fn place(&self, product: u64, second: u64) -> u64 {
        9 * product + self.second_shift * second
    }

    /// The power of x of bit `bit` of word `word` of lane `lane` of 4 in its row of the binary MMA.
    fn exponent(&self, lane: u64, word: u64, bit: u64) -> u64 {
        let behind = self.lane_bytes * (3 - lane) + self.word_bytes * (1 - word);
        8 * behind + 31 - bit
    }

    /// The words of `CrcLayout`.
    fn words(&self) -> Vec<u32> {
        let places = || (0..4).flat_map(|product| [0, 1].map(|second| (product, second)));
        // The powers that remainders are sums of, in order of lane, then of bit position.
        let powers: Vec<_> = (0..4)
            .flat_map(|lane| {
                places().map(move |(product, second)| {
                    power(self.exponent(lane, 0, self.place(product, second)))
                })
            })
            .collect();
        let coordinates = coordinates(powers.try_into().expect("four lanes have eight bits"));
        let mut words = vec![];
        for products in [[0, 1], [2, 3]] {
            for lane in 0..LANES {
                for product in products {
                    // The lane among the four that gets the column's counts, and which of its two
                    // columns it is.
                    let (getting, second) = (lane / 4 / 2, lane / 4 % 2);
                    let coordinate = coordinates[(getting * 8 + product * 2 + second) as usize];
                    words.extend([0, 1].map(|word| {
                        (0..32).fold(0, |bits, bit| {
                            let exponent = self.exponent(lane % 4, word, bit);
                            let advanced = power(exponent + 8 * ROW_BYTES);
                            bits | ((advanced & coordinate).count_ones() & 1) << bit
                        })
                    }));
                }
            }
        }
        for lane in 0..LANES {
            for (other, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                words.extend((0..4).map(|product| {
                    let before = 8 * (self.lane_bytes * lane + 4 * other);
                    power(ORDER + 31 - self.place(product, second) - before)
                }));
            }
        }
        words
    }
}

/// For each of these powers a mask. The parity of a polynomial's bits under the mask tells whether
/// the power is in the sum that equals the polynomial.
///
/// # Panics
/// If the powers are not independent.
fn coordinates(mut powers: [u32; 32]) -> [u32; 32] {
    // Gauss-Jordan elimination: the operations that turn `powers` into the identity turn the
    // identity into the inverse.
    let mut of: [u32; 32] = std::array::from_fn(|number| 1u32 << number);
    for bit in 0..32 {
        let pivot = (bit..32).find(|&row| powers[row] >> bit & 1 != 0);
        let pivot = pivot.expect("the powers are independent");
        powers.swap(bit, pivot);
        of.swap(bit, pivot);
        for row in 0..32 {
            if row != bit && powers[row] >> bit & 1 != 0 {
                powers[row] ^= powers[bit];
                of[row] ^= of[bit];
            }
        }
    }
    // Bit `b` alone is the sum of the powers in of[b].
    std::array::from_fn(|number| (0..32).fold(0, |bits, bit| bits | (of[bit] >> number & 1) << bit))
}

/// What the CRC-32 of bytes contributes to that of the same bytes with others behind them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advance(u32);

impl Advance {
    /// For this many bytes behind.
    pub(crate) fn of_bytes(bytes: u64) -> Advance {
        Advance(power(8 * bytes))
    }

    /// The contribution of this CRC-32.
    pub(crate) fn advance(self, checksum: u32) -> u32 {
        multiply(self.0, checksum)
    }
}

fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        if a & ONE != 0 {
            product ^= b;
        }
        a <<= 1;
        b = if b & 1 == 0 {
            b >> 1
        } else {
            b >> 1 ^ POLYNOMIAL
        };
    }
    product
}

/// x^`exponent`.
fn power(mut exponent: u64) -> u32 {
    let mut square = ONE >> 1;
    let mut product = ONE;
    while exponent != 0 {
        if exponent & 1 != 0 {
            product = multiply(product, square);
        }
        square = multiply(square, square);
        exponent >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_those_of_a_sum() {
        let powers: [u32; 32] = std::array::from_fn(|number| power(77 * number as u64));
        let coordinates = coordinates(powers);
        for value in [ONE, 1, 0x1234_5678, u32::MAX] {
            let sum = powers
                .iter()
                .zip(coordinates)
                .filter(|(_, coordinate)| (coordinate & value).count_ones() % 2 == 1)
                .fold(0, |sum, (power, _)| sum ^ power);
            assert_eq!(sum, value);
        }
    }

    #[test]
    fn powers_advance_a_checksum_and_inverses_take_it_back() {
        // The expected values are remainders by the crc crate of the message 1 (a set bit after
        // three zero bytes and seven bits), one byte longer each time.
        assert_eq!(multiply(power(8), power(ORDER - 8)), ONE);
        assert_eq!(multiply(power(8 << 8), power(ORDER - (8 << 8))), ONE);
        let zeros = |count: usize| !unweight_format::crc32(&vec![0; count]);
        assert_eq!(zeros(0), u32::MAX);
        assert_eq!(multiply(power(8 * 100), u32::MAX), zeros(100));
    }
}
