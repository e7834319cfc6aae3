//! Synthetic tensors of `bench`. They have the shape of a projection of Llama 3 and the distribution
//! of a trained one.

use clap::ValueEnum;
use half::{bf16, f16};
use unweight_format::Dtype;

/// Number of rows of the whole tensor.
pub(crate) const ROWS: usize = 14336;
/// Number of columns.
pub(crate) const COLUMNS: usize = 4096;

/// Standard deviation of a row's weights, before the row's own factor.
const SIGMA: f64 = 0.02;
/// Standard deviation of the logarithm of a row's factor. The factor is exp(`ROW_SPREAD` · z), with
/// z normal.
const ROW_SPREAD: f64 = 0.15;
/// Rows and columns of a block of FP8 weights that have a scale in common.
const BLOCK: usize = 128;

/// Kinds of synthetic tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// BF16
    Bf16,
    /// BF16 that was F8_E4M3 with a scale, a power of two, for each block of 128 x 128
    Bf16FromE4m3,
    /// F8_E4M3 with such scales, without the scales
    E4m3,
    /// F8_E5M2 with such scales, without the scales
    E5m2,
    /// F16
    F16,
    /// F32
    F32,
    /// F32 that was BF16
    F32FromBf16,
}

impl Kind {
    /// The type of the weights.
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Kind::Bf16 | Kind::Bf16FromE4m3 => Dtype::Bf16,
            Kind::E4m3 => Dtype::F8E4M3,
            Kind::E5m2 => Dtype::F8E5M2,
            Kind::F16 => Dtype::F16,
            Kind::F32 | Kind::F32FromBf16 => Dtype::F32,
        }
    }

    /// What the weights are.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Kind::Bf16 => "BF16",
            Kind::Bf16FromE4m3 => "BF16 that was F8_E4M3",
            Kind::E4m3 => "F8_E4M3",
            Kind::E5m2 => "F8_E5M2",
            Kind::F16 => "F16",
            Kind::F32 => "F32",
            Kind::F32FromBf16 => "F32 that was BF16",
        }
    }
}

/// Little-endian bytes of the first `rows` rows of the tensor of this kind, the same on every
/// machine. The weights are normal, with a standard deviation of 0.02 times a factor for each row.
pub(crate) fn weights(kind: Kind, rows: usize) -> Vec<u8> {
    let mut numbers = Normal::new(0x5eed);
    let mut bytes = Vec::with_capacity(rows * COLUMNS * kind.dtype().weight_bytes());
    let mut block = vec![0.0; BLOCK.min(rows) * COLUMNS];
    let mut left = rows;
    while left > 0 {
        let block = &mut block[..BLOCK.min(left) * COLUMNS];
        for row in block.chunks_mut(COLUMNS) {
            let sigma = SIGMA * (ROW_SPREAD * numbers.next()).exp();
            row.fill_with(|| sigma * numbers.next());
        }
        add(kind, block, &mut bytes);
        left -= block.len() / COLUMNS;
    }
    bytes
}

/// Adds the weights of these rows, whose values are `numbers`, to `bytes`.
fn add(kind: Kind, numbers: &[f64], bytes: &mut Vec<u8>) {
    let in_blocks = |float: SmallFloat| {
        let scales = scales(numbers, float);
        let scaled = numbers.iter().enumerate();
        scaled.map(move |(number, &value)| {
            let scale = scales[number % COLUMNS / BLOCK];
            (float.nearest(value / scale), scale)
        })
    };
    match kind {
        Kind::Bf16 => {
            let weights = numbers.iter().map(|&number| bf16::from_f64(number));
            bytes.extend(weights.flat_map(bf16::to_le_bytes));
        }
        Kind::Bf16FromE4m3 => {
            let weights = in_blocks(SmallFloat::E4M3);
            let weights =
                weights.map(|(code, scale)| bf16::from_f64(scale * SmallFloat::E4M3.value(code)));
            bytes.extend(weights.flat_map(bf16::to_le_bytes));
        }
        Kind::E4m3 => bytes.extend(in_blocks(SmallFloat::E4M3).map(|(code, _)| code)),
        Kind::E5m2 => bytes.extend(in_blocks(SmallFloat::E5M2).map(|(code, _)| code)),
        Kind::F16 => {
            let weights = numbers.iter().map(|&number| f16::from_f64(number));
            bytes.extend(weights.flat_map(f16::to_le_bytes));
        }
        Kind::F32 => {
            let weights = numbers.iter().map(|&number| number as f32);
            bytes.extend(weights.flat_map(f32::to_le_bytes));
        }
        Kind::F32FromBf16 => {
            let weights = numbers
                .iter()
                .map(|&number| bf16::from_f64(number).to_f32());
            bytes.extend(weights.flat_map(f32::to_le_bytes));
        }
    }
}

/// The scale of each block of these rows: the least power of two with which all values are in the
/// range of the type.
fn scales(numbers: &[f64], float: SmallFloat) -> Vec<f64> {
    let mut greatest = vec![0f64; COLUMNS / BLOCK];
    for row in numbers.chunks(COLUMNS) {
        for (greatest, block) in greatest.iter_mut().zip(row.chunks(BLOCK)) {
            *greatest = block
                .iter()
                .fold(*greatest, |most, value| most.max(value.abs()));
        }
    }
    let most = float.value(float.greatest);
    let scale = |greatest: f64| (greatest / most).log2().ceil().exp2();
    greatest.into_iter().map(scale).collect()
}

/// A floating-point type of 8 bits with subnormal numbers.
#[derive(Clone, Copy)]
struct SmallFloat {
    exponent_bits: i32,
    mantissa_bits: i32,
    /// The code of the greatest number.
    greatest: u8,
}

impl SmallFloat {
    const E4M3: SmallFloat = SmallFloat {
        exponent_bits: 4,
        mantissa_bits: 3,
        greatest: 0x7e,
    };
    const E5M2: SmallFloat = SmallFloat {
        exponent_bits: 5,
        mantissa_bits: 2,
        greatest: 0x7b,
    };

    /// The exponent of the least normal number.
    fn least_exponent(self) -> i32 {
        2 - (1 << (self.exponent_bits - 1))
    }

    /// The code of the number nearest to `value`; ties to even.
    fn nearest(self, value: f64) -> u8 {
        let magnitude = value.abs();
        // The exponent of zero is below all others.
        let exponent = (magnitude.log2().floor() as i32).max(self.least_exponent());
        let unit = f64::from(exponent - self.mantissa_bits).exp2();
        let steps = (magnitude / unit).round_ties_even() as i32;
        let code = ((exponent - self.least_exponent()) << self.mantissa_bits) + steps;
        let sign = if value.is_sign_negative() { 0x80 } else { 0 };
        sign | code.min(self.greatest.into()) as u8
    }

    /// The number with this code.
    fn value(self, code: u8) -> f64 {
        let magnitude = i32::from(code & 0x7f);
        let one = 1 << self.mantissa_bits;
        let (exponent, mantissa) = (magnitude / one, magnitude % one);
        let (exponent, mantissa) = match exponent {
            0 => (self.least_exponent(), mantissa),
            _ => (self.least_exponent() + exponent - 1, one + mantissa),
        };
        let value = f64::from(mantissa) * f64::from(exponent - self.mantissa_bits).exp2();
        if code & 0x80 == 0 { value } else { -value }
    }
}

/// Generator of normal numbers: xorshift64, then Marsaglia's polar method, which gives two numbers
/// at a time.
struct Normal {
    state: u64,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: u64) -> Normal {
        Normal {
            state: seed | 1,
            spare: None,
        }
    }

    /// Uniform number between -1 and 1.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (a, b) = (self.uniform(), self.uniform());
            let square = a * a + b * b;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(b * factor);
                return a * factor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_normal_with_the_stated_deviation() {
        let bytes = weights(Kind::F32, 64);
        let weights = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes));
        let squares: f64 = weights.map(|weight| f64::from(weight).powi(2)).sum();
        let sigma = (squares / (64 * COLUMNS) as f64).sqrt();
        assert!((0.018..0.023).contains(&sigma), "{sigma}");
    }

    #[test]
    fn every_kind_has_the_weights_of_so_many_rows() {
        for &kind in Kind::value_variants() {
            for rows in [1, 130] {
                let bytes = weights(kind, rows);
                assert_eq!(bytes.len(), rows * COLUMNS * kind.dtype().weight_bytes());
            }
        }
    }

    #[test]
    fn codes_of_small_floats_lead_to_their_values_and_back() {
        for float in [SmallFloat::E4M3, SmallFloat::E5M2] {
            for code in (0..=float.greatest).flat_map(|code| [code, code | 0x80]) {
                assert_eq!(float.nearest(float.value(code)), code);
            }
        }
        let e4m3 = SmallFloat::E4M3;
        assert_eq!((e4m3.value(0x7e), e4m3.value(1)), (448.0, 1.0 / 512.0));
        assert_eq!((e4m3.nearest(1e9), e4m3.nearest(-1e9)), (0x7e, 0xfe));
        assert_eq!((e4m3.nearest(1.0625), e4m3.nearest(1.0626)), (0x38, 0x39));
        assert_eq!(SmallFloat::E5M2.value(0x7b), 57_344.0);
    }

    #[test]
    fn what_was_e4m3_has_scales_that_are_powers_of_two() {
        let codes = weights(Kind::E4m3, 128);
        let upcast = weights(Kind::Bf16FromE4m3, 128);
        let weights = upcast
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| bf16::from_le_bytes(bytes));
        for (code, weight) in codes.iter().zip(weights) {
            let value = SmallFloat::E4M3.value(*code);
            let scale = weight.to_f64() / value;
            assert!(value == 0.0 || scale.log2().fract() == 0.0, "{scale}");
        }
    }
}
