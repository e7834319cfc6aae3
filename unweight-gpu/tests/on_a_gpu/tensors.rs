//! Tensors to test with, and files of them.

use std::sync::Arc;

use half::bf16;
use unweight::container::Container;
use unweight_format::{Encoding, Tensor};
use unweight_gpu::{Device, DeviceTensor};
use unweight_testkit::{Form, bf16_tensors, container};

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

/// The tensors of a container on the device.
pub(crate) fn on_device(
    container: &Container<'_, [u8]>,
    file: &[u8],
    device: &Device,
) -> Vec<Arc<DeviceTensor>> {
    let upload = |tensor: Tensor<'_>| {
        let payload = tensor.payload().extent().of(file).unwrap();
        Arc::new(DeviceTensor::upload(device, &tensor, payload).unwrap())
    };
    container.directory().tensors().map(upload).collect()
}

pub(crate) fn weights(count: usize, seed: u64) -> Vec<bf16> {
    let mut state = seed;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count)
        .map(|_| {
            // A normal variable, near enough.
            let sum: f32 = (0..12).map(|_| random()).sum();
            bf16::from_f32((sum - 6.0) * 0.02)
        })
        .collect()
}

/// Weights whose exponents fall into `kind`s of patterns: codes of all lengths, patches, verbatim records, one exponent alone.
pub(crate) fn awkward_weights(count: usize, kind: usize) -> Vec<bf16> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ kind as u64;
    let random = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    });
    let exponent = |place: usize, random: u64| match kind {
        0 => 126 - random.trailing_zeros().min(40),
        1 => 126 - random.trailing_zeros().min(9) - place as u32 / 30_000 % 80,
        2 => (random >> 40) as u32 % 256,
        3 => 127,
        4 => (random >> 40) as u32 % 17 + 100,
        // A palette with a gap.
        5 if random >> 54 == 0 => 0,
        5 => 126 - random.trailing_zeros().min(14),
        // Ever more patches, up to where a record turns verbatim.
        _ if (random >> 50) % 100 < place as u64 / 4_096 % 20 * 8 => (random >> 40) as u32 % 90,
        _ => (random >> 40) as u32 % 16 + 100,
    };
    let weight = |(place, random): (usize, u64)| {
        bf16::from_bits((exponent(place, random) << 7) as u16 | (random >> 32) as u16 & 0x807f)
    };
    random.take(count).enumerate().map(weight).collect()
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
