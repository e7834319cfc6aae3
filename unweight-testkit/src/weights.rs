//! Weights of several distributions, and their bytes.

use half::bf16;
use unweight_format::weight;

use crate::Random;

/// Weights that resemble trained ones: lower exponents are rarer, and one in 1,500 needs a patch.
pub fn trained_like(count: usize) -> Vec<bf16> {
    (0..count)
        .map(|i| {
            let exponent = match i % 1500 {
                1499 => 20 + (i / 1500 % 40) as u8,
                _ => {
                    let hash = (i as u32).wrapping_mul(2654435761);
                    126 - (hash | 1 << 20).trailing_zeros() as u8
                }
            };
            weight((i * 31) as u8, exponent)
        })
        .collect()
}

/// The little-endian bytes of weights.
pub fn bytes_of(weights: &[bf16]) -> Vec<u8> {
    let bytes = weights.iter().flat_map(|weight| weight.to_le_bytes());
    bytes.collect()
}

/// The weights with these little-endian bytes.
pub fn weights_in(bytes: &[u8]) -> Vec<bf16> {
    let (pairs, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "an odd number of bytes");
    pairs
        .iter()
        .map(|&pair| bf16::from_le_bytes(pair))
        .collect()
}

/// A distribution of weights, with a name.
#[derive(Clone, Copy, Debug)]
pub struct Distribution {
    /// What is special about it.
    pub name: &'static str,
    /// The bits of the weight at a place, from random bits.
    weight: fn(usize, u64) -> u16,
}

impl Distribution {
    /// The first `count` weights of the sequence with this seed.
    pub fn weights(&self, count: usize, seed: u64) -> Vec<bf16> {
        let mut random = Random::new(seed);
        let weight = |place| bf16::from_bits((self.weight)(place, random.bits()));
        (0..count).map(weight).collect()
    }
}

/// Distributions that lead to codes of all lengths, patches, verbatim records, palettes with gaps
/// and tensors of one exponent.
pub const DISTRIBUTIONS: [Distribution; 14] = [
    Distribution {
        name: "halving",
        weight: |_, random| with_exponent(126 - random.trailing_zeros().min(40), random),
    },
    Distribution {
        name: "drifting",
        weight: |place, random| {
            let drift = place as u32 / 3_000 % 80;
            with_exponent(126 - random.trailing_zeros().min(9) - drift, random)
        },
    },
    Distribution {
        name: "any bits",
        weight: |_, random| random as u16,
    },
    Distribution {
        name: "constant",
        weight: |_, _| 0x3f80,
    },
    Distribution {
        name: "zero",
        weight: |_, _| 0,
    },
    Distribution {
        name: "two",
        weight: |_, random| if random % 3 == 0 { 0x3f80 } else { 0xc100 },
    },
    Distribution {
        name: "two, one rare",
        weight: |_, random| match random % 3_000 {
            0 => 0x3f80,
            _ => 0xc100,
        },
    },
    Distribution {
        name: "sixteen",
        weight: |_, random| with_exponent((random >> 40) as u32 % 16 * 17, random),
    },
    Distribution {
        name: "seventeen",
        weight: |_, random| with_exponent((random >> 40) as u32 % 17 + 100, random),
    },
    Distribution {
        // The first weights do not represent the others.
        name: "zeros, then halving",
        weight: |place, random| match place % 4_096 {
            0..400 => 0,
            _ => with_exponent(126 - random.trailing_zeros().min(40), random),
        },
    },
    Distribution {
        // The palette has two runs, 0 and consecutive exponents. Some weights are between or
        // outside of them.
        name: "often zero",
        weight: |_, random| match (random >> 50) % 100 {
            0..4 => 0,
            4 => with_exponent((random >> 40) as u32 % 130, random),
            _ => with_exponent(126 - random.trailing_zeros().min(14), random),
        },
    },
    Distribution {
        // The greatest distance of two runs at which four exponents are looked up at once.
        name: "two runs",
        weight: |_, random| two_runs(146, random),
    },
    Distribution {
        name: "two runs, too far apart",
        weight: |_, random| two_runs(147, random),
    },
    Distribution {
        // More and more patches, until a record is verbatim.
        name: "fraying",
        weight: |place, random| {
            let frayed = place as u64 / 4_096 % 20 * 8;
            match (random >> 50) % 100 < frayed {
                true => with_exponent((random >> 40) as u32 % 90, random),
                false => with_exponent((random >> 40) as u32 % 16 + 100, random),
            }
        },
    },
];

/// Exponents from 20 on and from `second` on, and a few others.
fn two_runs(second: u32, random: u64) -> u16 {
    match (random >> 50) % 500 {
        0 => with_exponent((random >> 40) as u32 % 256, random),
        1..200 => with_exponent(20 + (random >> 40) as u32 % 7, random),
        _ => with_exponent(second + (random >> 40) as u32 % 9, random),
    }
}

fn with_exponent(exponent: u32, random: u64) -> u16 {
    (exponent << 7) as u16 | (random >> 32) as u16 & 0x807f
}
