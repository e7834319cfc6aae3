//! Models to compress: safetensors files, byte by byte, and the weights in them.

use serde_json::json;

/// A tensor of a safetensors file.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn tensor(name: &str, dtype: &'static str, shape: &[u64], data: Vec<u8>) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
        data,
    }
}

/// A vector of BF16 weights.
pub(crate) fn bf16(name: &str, weights: &[u16]) -> Tensor {
    let data = weights.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    tensor(name, "BF16", &[weights.len() as u64], data)
}

/// A safetensors file of these tensors in this order.
pub(crate) fn model(tensors: &[Tensor]) -> Vec<u8> {
    let data: Vec<u8> = tensors.iter().flat_map(|t| t.data.clone()).collect();
    with_header(&header(tensors), &data)
}

/// JSON that describes these tensors, in order. It is not built from a map, because the order
/// matters.
pub(crate) fn header(tensors: &[Tensor]) -> String {
    let mut end = 0;
    let members: Vec<String> = tensors
        .iter()
        .map(|tensor| {
            let begin = end;
            end += tensor.data.len();
            let (dtype, shape) = (tensor.dtype, &tensor.shape);
            let description = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
            format!("{}:{description}", json!(tensor.name))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A safetensors file with this header and this data, whether they fit together or not.
pub(crate) fn with_header(json: &str, data: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), data].concat()
}

/// Generator of numbers that look random and are the same every time (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Weights in which each bit is equally likely, so that there is nothing to compress.
    pub(crate) fn random_weights(&mut self, count: usize) -> Vec<u16> {
        (0..count).map(|_| self.next() as u16).collect()
    }

    /// Weights that are about normally distributed, as trained weights are. Their exponents have
    /// about 2.6 bits of entropy.
    pub(crate) fn trained_weights(&mut self, count: usize) -> Vec<u16> {
        (0..count)
            .map(|_| {
                let bits = self.next();
                let sum: i64 = (0..4)
                    .map(|part| i64::from((bits >> (16 * part)) as i16))
                    .sum();
                ((sum as f32 * 1e-6).to_bits() >> 16) as u16
            })
            .collect()
    }

    /// Weights with exponents out of `exponents`, all equally likely, and with random signs and
    /// mantissas.
    pub(crate) fn weights_of(&mut self, exponents: &[u8], count: usize) -> Vec<u16> {
        (0..count)
            .map(|_| {
                let bits = self.next();
                let exponent = exponents[(bits >> 16) as usize % exponents.len()];
                bits as u16 & 0x807F | (u16::from(exponent) << 7)
            })
            .collect()
    }
}

/// A typical model: coded tensors of several chunks, small tensors, BF16 tensors that stay raw, and
/// other types.
pub(crate) fn mixed() -> Vec<u8> {
    let mut numbers = Numbers(7);
    model(&[
        tensor("steps", "I64", &[], 12_345u64.to_le_bytes().to_vec()),
        bf16("embed", &numbers.trained_weights(70_000)),
        bf16("norm", &numbers.weights_of(&[127], 1_000)),
        bf16("noise", &numbers.random_weights(40_000)),
        tensor("bias", "F32", &[30, 1_000], numbers.bytes(120_000)),
        tensor("none", "BF16", &[0, 5], vec![]),
        tensor("head", "BF16", &[3, 2_000], {
            let weights = numbers.trained_weights(6_000);
            weights.iter().flat_map(|bits| bits.to_le_bytes()).collect()
        }),
    ])
}

/// A model that is small enough to be damaged in every way.
pub(crate) fn small() -> Vec<u8> {
    let mut numbers = Numbers(3);
    let mut weights = numbers.trained_weights(1_500);
    // These exponents are outside the palette and the code, so that there are patches.
    weights[7] = 0x7F80;
    weights[1_499] = 0x0001;
    model(&[bf16("w", &weights), tensor("b", "U8", &[9], vec![5; 9])])
}
