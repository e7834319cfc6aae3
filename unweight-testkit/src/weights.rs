//! Weights of several distributions, and their bytes.

use half::bf16;
use unweight_format::{Dtype, Field};

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

/// The BF16 weight with this sign and mantissa (`S MMMMMMM`) and this exponent.
pub fn weight(sign_mantissa: u8, exponent: u8) -> bf16 {
    let sign_mantissa = u16::from(sign_mantissa);
    let sign = (sign_mantissa & 0x80) << 8;
    bf16::from_bits(sign | u16::from(exponent) << 7 | sign_mantissa & 0x7f)
}

/// Little-endian weights of any type. The values of each field have a distribution of their own:
/// all equally likely, all equal, lower ones rarer, some rare exceptions, or a few that drift. All
/// other bits are random.
pub fn any_weights(dtype: Dtype, count: usize, random: &mut Random) -> Vec<u8> {
    let size = dtype.weight_bytes();
    let fields: Vec<FieldValues> = dtype
        .fields()
        .iter()
        .map(|&field| FieldValues::any(field, random))
        .collect();
    let mut bytes = Vec::with_capacity(size * count);
    for place in 0..count {
        let mut weight = random.bits();
        for values in &fields {
            weight = values.field.put(weight, values.at(place, random.bits()));
        }
        bytes.extend_from_slice(&weight.to_le_bytes()[..size]);
    }
    bytes
}

/// A distribution of the values of a field.
struct FieldValues {
    field: Field,
    kind: u64,
    greatest: u8,
    spread: u64,
}

impl FieldValues {
    fn any(field: Field, random: &mut Random) -> FieldValues {
        FieldValues {
            field,
            kind: random.below(8),
            greatest: random.bits() as u8,
            spread: 1 + random.below(20),
        }
    }

    /// A value; bits above the field's width do not matter.
    fn at(&self, place: usize, random: u64) -> u8 {
        let lower = |by: u64| self.greatest.wrapping_sub(by as u8);
        match self.kind {
            0 => random as u8,
            1 | 2 => self.greatest,
            3 | 4 => lower(random.trailing_zeros().into()),
            5 if random.is_multiple_of(700) => (random >> 40) as u8,
            5 => lower(random >> 32 & 1),
            6 => lower(random % self.spread),
            _ => lower((place as u64 >> 12) + random % 3),
        }
    }
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
    const fn new(name: &'static str, weight: fn(usize, u64) -> u16) -> Distribution {
        Distribution { name, weight }
    }

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
    Distribution::new("halving", |_, random| halving(126, 40, random)),
    Distribution::new("drifting", |place, random| {
        halving(126 - place as u32 / 3_000 % 80, 9, random)
    }),
    Distribution::new("any bits", |_, random| random as u16),
    Distribution::new("one exponent", |_, random| with_exponent(127, random)),
    Distribution::new("zero", |_, _| 0),
    Distribution::new("two", |_, random| {
        [0x3f80, 0xc100, 0xc100][random as usize % 3]
    }),
    Distribution::new("two, one rare", |_, random| match random % 3_000 {
        0 => 0x3f80,
        _ => 0xc100,
    }),
    Distribution::new("sixteen", |_, random| {
        with_exponent((random >> 40) as u32 % 16 * 17, random)
    }),
    Distribution::new("seventeen", |_, random| one_of(17, 100, random)),
    // The first weights do not represent the others.
    Distribution::new("zeros, then halving", |place, random| match place % 4_096 {
        0..400 => 0,
        _ => halving(126, 40, random),
    }),
    // The palette has two runs, 0 and consecutive exponents. Some weights are outside of both.
    Distribution::new("often zero", |_, random| match (random >> 50) % 100 {
        0..4 => 0,
        4 => one_of(130, 0, random),
        _ => halving(126, 14, random),
    }),
    // The greatest distance of two runs at which four exponents are looked up at once.
    Distribution::new("two runs", |_, random| two_runs(146, random)),
    Distribution::new("two runs, too far apart", |_, random| two_runs(147, random)),
    // More and more patches, until a record is verbatim.
    Distribution::new("fraying", |place, random| {
        match (random >> 50) % 100 < place as u64 / 4_096 % 20 * 8 {
            true => one_of(90, 0, random),
            false => one_of(16, 100, random),
        }
    }),
];

/// Each exponent below `greatest` half as often as the one above it, down to `range` below.
fn halving(greatest: u32, range: u32, random: u64) -> u16 {
    with_exponent(greatest - random.trailing_zeros().min(range), random)
}

/// One of `count` exponents from `first` on.
fn one_of(count: u32, first: u32, random: u64) -> u16 {
    with_exponent((random >> 40) as u32 % count + first, random)
}

/// Exponents from 20 on and from `second` on, and a few others.
fn two_runs(second: u32, random: u64) -> u16 {
    match (random >> 50) % 500 {
        0 => one_of(256, 0, random),
        1..200 => one_of(7, 20, random),
        _ => one_of(9, second, random),
    }
}

fn with_exponent(exponent: u32, random: u64) -> u16 {
    (exponent << 7) as u16 | (random >> 32) as u16 & 0x807f
}
