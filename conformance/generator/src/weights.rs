//! Weights as sign-mantissa bytes and exponents, before any coding (section 2).

use crate::random::Random;

/// The 16 exponents of most drafts: 112..=127, typical of trained weights.
pub const PALETTE: [u8; 16] = consecutive(112);

/// 16 consecutive exponents, beginning with `first`.
pub const fn consecutive(first: u8) -> [u8; 16] {
    let mut palette = [0; 16];
    let mut i = 0;
    while i < 16 {
        palette[i] = first + i as u8;
        i += 1;
    }
    palette
}

/// Weights as two planes.
#[derive(Clone)]
pub struct Weights {
    /// The sign-mantissa byte `S MMMMMMM` of each weight.
    pub sign_mantissa: Vec<u8>,
    /// The exponent `EEEEEEEE` of each weight.
    pub exponents: Vec<u8>,
}

impl Weights {
    /// Weights of these exponents, with sign-mantissa bytes generated from `seed`.
    pub fn new(seed: &str, exponents: Vec<u8>) -> Weights {
        Weights {
            sign_mantissa: Random::new(seed).repeated_bytes(exponents.len()),
            exponents,
        }
    }

    /// `count` weights whose exponents are entries of `palette`: about half of them entry 15, a
    /// quarter entry 14, and so on.
    pub fn skewed(seed: &str, palette: &[u8; 16], count: usize) -> Weights {
        let mut random = Random::new(&format!("{seed}: exponents"));
        let entry = |random: &mut Random| 15 - random.number().trailing_zeros().min(15) as usize;
        let exponents = (0..count).map(|_| palette[entry(&mut random)]).collect();
        Weights::new(seed, exponents)
    }

    /// The weights with these bits.
    pub fn of_bits(bits: impl IntoIterator<Item = u16>) -> Weights {
        let (sign_mantissa, exponents) = bits
            .into_iter()
            .map(|bits| {
                let sign_mantissa = (bits >> 8 & 0x80 | bits & 0x7f) as u8;
                (sign_mantissa, (bits >> 7) as u8)
            })
            .unzip();
        Weights {
            sign_mantissa,
            exponents,
        }
    }

    /// The tensor's original bytes (section 7, step 7).
    pub fn bytes(&self) -> Vec<u8> {
        let parts = self.sign_mantissa.iter().zip(&self.exponents);
        parts
            .flat_map(|(&a, &e)| {
                let (a, e) = (u16::from(a), u16::from(e));
                ((a & 0x80) << 8 | e << 7 | a & 0x7f).to_le_bytes()
            })
            .collect()
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.exponents.len()
    }

    /// Whether there are no weights.
    pub fn is_empty(&self) -> bool {
        self.exponents.is_empty()
    }
}
