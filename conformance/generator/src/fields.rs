//! Fields of weights (sections 4.1 and 4.2). This is a second implementation of the specification,
//! so that the corpus does not depend on the crate under test.

use unweight_format::Dtype;

use crate::random::Random;

/// A run of bits of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The most significant bit.
    pub high: u32,
    /// The least significant bit.
    pub low: u32,
}

impl Field {
    /// Number of bits.
    pub fn width(self) -> u32 {
        self.high - self.low + 1
    }

    /// The bits of the field in a weight.
    pub fn mask(self) -> u64 {
        ((1 << self.width()) - 1) << self.low
    }

    /// The value of the field.
    pub fn of(self, weight: u64) -> u8 {
        ((weight & self.mask()) >> self.low) as u8
    }

    /// The weight with another value of the field.
    pub fn set(self, weight: u64, value: u8) -> u64 {
        assert!(u32::from(value) < 1 << self.width(), "the value fits");
        weight & !self.mask() | u64::from(value) << self.low
    }
}

/// Bytes of one weight.
pub fn weight_bytes(dtype: Dtype) -> usize {
    match dtype.bits() {
        4 | 6 | 8 => 1,
        16 => 2,
        32 => 4,
        _ => 8,
    }
}

/// The fields of a type, as pairs of bits, most significant one first.
fn bits(dtype: Dtype) -> &'static [(u32, u32)] {
    const NIBBLES: [(u32, u32); 8] = [
        (31, 28),
        (27, 24),
        (23, 20),
        (19, 16),
        (15, 12),
        (11, 8),
        (7, 4),
        (3, 1),
    ];
    match dtype.name() {
        "BOOL" | "U8" | "I8" | "F4" => &NIBBLES[6..],
        "F8_E5M2" | "F8_E5M2FNUZ" => &[(6, 2), (1, 0)],
        "F8_E4M3" | "F8_E4M3FNUZ" => &[(6, 3), (2, 0)],
        "F8_E8M0" => &[(7, 1)],
        "F6_E2M3" | "F6_E3M2" => &[],
        "I16" | "U16" => &NIBBLES[4..],
        "F16" => &[(14, 10), (9, 7), (6, 3), (2, 0)],
        "BF16" => &[(14, 7), (6, 4), (3, 0)],
        "I32" | "U32" => &NIBBLES,
        "F32" => &[(30, 23), (22, 20), (19, 16), (15, 13), (12, 8), (7, 0)],
        "I64" | "U64" => &[
            (63, 56),
            (55, 48),
            (47, 40),
            (39, 32),
            (31, 24),
            (23, 16),
            (15, 8),
            (7, 1),
        ],
        "F64" => &[
            (59, 52),
            (62, 60),
            (47, 40),
            (39, 32),
            (31, 24),
            (23, 16),
            (15, 8),
            (7, 0),
        ],
        "C64" => &[
            (30, 23),
            (22, 16),
            (15, 8),
            (7, 0),
            (62, 55),
            (54, 48),
            (47, 40),
            (39, 32),
        ],
        name => panic!("section 4.1 has no type {name}"),
    }
}

/// The fields of a type, in the order of section 4.1.
pub fn fields(dtype: Dtype) -> Vec<Field> {
    let field = |&(high, low)| Field { high, low };
    bits(dtype).iter().map(field).collect()
}

/// The weights of a tensor's data.
pub fn weights(dtype: Dtype, data: &[u8]) -> Vec<u64> {
    let weight = |bytes: &[u8]| {
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(all)
    };
    data.chunks(weight_bytes(dtype)).map(weight).collect()
}

/// The data of these weights.
pub fn data(dtype: Dtype, weights: &[u64]) -> Vec<u8> {
    let bytes = weight_bytes(dtype);
    let data = weights
        .iter()
        .flat_map(|weight| weight.to_le_bytes()[..bytes].to_vec());
    data.collect()
}

/// The values of field number `field` in all weights.
pub fn values(dtype: Dtype, data: &[u8], field: usize) -> Vec<u8> {
    let field = fields(dtype)[field];
    weights(dtype, data)
        .into_iter()
        .map(|weight| field.of(weight))
        .collect()
}

/// Pseudo-random data in which some fields have given values: the field's number, and its value in
/// the weight of each number.
pub fn random_data(
    dtype: Dtype,
    seed: &str,
    count: usize,
    chosen: &[(usize, &dyn Fn(usize) -> u8)],
) -> Vec<u8> {
    let bytes = Random::new(seed).repeated_bytes(count * weight_bytes(dtype));
    let mut weights = weights(dtype, &bytes);
    let fields = fields(dtype);
    for (i, weight) in weights.iter_mut().enumerate() {
        for &(field, value) in chosen {
            *weight = fields[field].set(*weight, value(i));
        }
    }
    data(dtype, &weights)
}

/// Packs numbers of `width` bits from bit 0 of the first byte up (section 2).
pub fn pack(numbers: impl IntoIterator<Item = u64>, width: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut used = 0;
    for number in numbers {
        for bit in 0..width {
            if used % 8 == 0 {
                bytes.push(0);
            }
            let last = bytes.last_mut().expect("a byte was pushed");
            *last |= ((number >> bit & 1) as u8) << (used % 8);
            used += 1;
        }
    }
    bytes
}

/// Number of plain bits of a weight whose fields of these numbers are not plain.
pub fn plain_bits(dtype: Dtype, not_plain: &[usize]) -> u32 {
    let fields = fields(dtype);
    let taken: u32 = not_plain.iter().map(|&number| fields[number].width()).sum();
    8 * weight_bytes(dtype) as u32 - taken
}

/// The plain plane: the bits of each weight that belong to none of these fields.
pub fn plain_plane(dtype: Dtype, data: &[u8], not_plain: &[usize]) -> Vec<u8> {
    let fields = fields(dtype);
    let taken = not_plain
        .iter()
        .fold(0, |mask, &number| mask | fields[number].mask());
    let plain: Vec<u32> = (0..8 * weight_bytes(dtype) as u32)
        .filter(|bit| taken >> bit & 1 == 0)
        .collect();
    let value = |weight: u64| {
        let bits = plain.iter().enumerate();
        bits.fold(0, |value, (to, from)| value | (weight >> from & 1) << to)
    };
    pack(
        weights(dtype, data).into_iter().map(value),
        plain.len() as u32,
    )
}
