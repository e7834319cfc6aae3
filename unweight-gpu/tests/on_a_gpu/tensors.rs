//! Tensors to test with, and files of them.

use std::sync::Arc;

use half::bf16;
use unweight::container::Container;
use unweight_format::{Encoding, Payload, Tensor};
use unweight_gpu::{Device, DeviceTensor};
use unweight_testkit::{DISTRIBUTIONS, Form, Random, bf16_tensors, container};

pub(crate) fn file_of(tensors: &[Vec<bf16>], encoding: Encoding, chunk_size_log2: u8) -> Vec<u8> {
    file_with(tensors, encoding, |_| chunk_size_log2)
}

/// As `file_of`, with a chunk size for each tensor.
pub(crate) fn file_with(
    tensors: &[Vec<bf16>],
    encoding: Encoding,
    chunk_size_log2: impl Fn(usize) -> u8,
) -> Vec<u8> {
    let form = |number| Form::canonical(encoding, chunk_size_log2(number));
    container(&bf16_tensors(tensors, form), false)
}

/// The tensors of a container, all of them coded, on the device.
pub(crate) fn on_device(
    container: &Container<'_, [u8]>,
    file: &[u8],
    device: &Device,
) -> Vec<Arc<DeviceTensor>> {
    let upload = |tensor: Tensor<'_>| {
        let Payload::Coded(planes) = tensor.payload() else {
            panic!("raw")
        };
        let payload = DeviceTensor::extent(planes).of(file).unwrap();
        Arc::new(DeviceTensor::upload(device, planes, payload).unwrap())
    };
    container.directory().tensors().map(upload).collect()
}

pub(crate) fn weights(count: usize, seed: u64) -> Vec<bf16> {
    Random::new(seed).trained_weights(count)
}

/// Distributions of [`awkward_weights`]: codes of all lengths, patches, verbatim records, one
/// exponent alone, a palette with a gap.
const AWKWARD: [&str; 7] = [
    "halving",
    "drifting",
    "any bits",
    "constant",
    "seventeen",
    "often zero",
    "fraying",
];

pub(crate) fn awkward_weights(count: usize, kind: usize) -> Vec<bf16> {
    let found = DISTRIBUTIONS
        .iter()
        .find(|found| found.name == AWKWARD[kind]);
    found.unwrap().weights(count, kind as u64)
}

/// Every size around a warp, a step and a chunk, in all kinds of distributions.
pub(crate) fn many_tensors(log2: impl Fn(usize) -> u8) -> Vec<Vec<bf16>> {
    let mut tensors = vec![];
    for kind in 0..8 {
        for around in 0..11 {
            let chunk = 1usize << log2(tensors.len());
            let size = [
                1,
                255,
                257,
                4_095,
                4_097,
                chunk - 1,
                chunk,
                chunk + 1,
                chunk + 257,
                3 * chunk - 31,
                300_000,
            ][around];
            tensors.push(match kind {
                7 => weights(size, size as u64 + 7),
                _ => awkward_weights(size, kind),
            });
        }
    }
    tensors
}
