//! Models to compress.

use half::bf16;
use unweight_format::Dtype;
use unweight_testkit::{Random, Tensor, any_weights, bf16, bytes_of, safetensors_file, tensor};

/// A typical model: coded tensors of several chunks, small tensors, BF16 tensors that stay raw, and
/// other types.
pub(crate) fn mixed() -> Vec<u8> {
    let mut numbers = Random::new(7);
    safetensors_file(&[
        tensor("steps", "I64", &[], 12_345u64.to_le_bytes().to_vec()),
        bf16("embed", &numbers.trained_weights(70_000)),
        bf16("norm", &numbers.weights_of(&[127], 1_000)),
        bf16("noise", &numbers.random_weights(40_000)),
        tensor("bias", "F32", &[30, 1_000], numbers.bytes(120_000)),
        tensor("none", "BF16", &[0, 5], vec![]),
        tensor(
            "head",
            "BF16",
            &[3, 2_000],
            bytes_of(&numbers.trained_weights(6_000)),
        ),
    ])
}

/// A model that is small enough to be damaged in every way.
pub(crate) fn small() -> Vec<u8> {
    let mut weights = Random::new(3).trained_weights(1_500);
    // These exponents are outside the palette and the code, so that there are patches.
    weights[7] = bf16::INFINITY;
    weights[1_499] = bf16::from_bits(0x0001);
    safetensors_file(&[bf16("w", &weights), tensor("b", "U8", &[9], vec![5; 9])])
}

/// A tensor of every type with about so many weights, whose fields have values of all
/// distributions.
pub(crate) fn every_dtype(weights: usize) -> Vec<u8> {
    let mut random = Random::new(8);
    let tensors: Vec<Tensor> = Dtype::ALL
        .iter()
        .map(|&dtype| {
            // The elements of any type fill whole bytes.
            let data = any_weights(dtype, weights.next_multiple_of(24), &mut random);
            let elements = 8 * data.len() as u64 / dtype.bits();
            tensor(dtype.name(), dtype.name(), &[elements], data)
        })
        .collect();
    safetensors_file(&tensors)
}
