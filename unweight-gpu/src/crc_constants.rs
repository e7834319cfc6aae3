//! Tables and powers for `kernels/checksum.cu`: arithmetic of polynomials over GF(2) modulo CRC-32's, bit 31 being x^0.

const POLYNOMIAL: u32 = 0xedb8_8320;
const ONE: u32 = 1 << 31;
/// x^(2^32 - 1) = 1: the polynomial is primitive, so this power of x is its inverse.
const ORDER: u64 = u32::MAX as u64;

/// The words of `CrcConstants` in `kernels/checksum.cu`, in their order.
pub fn words() -> Vec<u32> {
    let mut words = Vec::with_capacity(2 * 4 * 256 + 32 * (1 + 20 + 4));
    for bytes in [512, 4] {
        let factor = power(8 * bytes);
        for byte in 0..4 {
            words.extend((0..256).map(|value| multiply(factor, value << (8 * byte))));
        }
    }
    words.extend((0..32).map(|lane| power(8 * (4 + 16 * (31 - lane)))));
    for k in 0..20 {
        words.extend((0..32).map(|lane| power((8 << k) + lane)));
    }
    for k in 0..4 {
        words.extend((0..32).map(|lane| power(ORDER - (8 << k) + lane)));
    }
    words
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
    fn powers_advance_a_checksum_and_inverses_take_it_back() {
        // The remainder of the message 1 (a set bit behind three zero bytes and seven bits) by the crc crate, one byte further each time.
        assert_eq!(multiply(power(8), power(ORDER - 8)), ONE);
        assert_eq!(multiply(power(8 << 8), power(ORDER - (8 << 8))), ONE);
        let zeros = |count: usize| !unweight_format::crc32(&vec![0; count]);
        assert_eq!(zeros(0), u32::MAX);
        assert_eq!(multiply(power(8 * 100), u32::MAX), zeros(100));
    }
}
