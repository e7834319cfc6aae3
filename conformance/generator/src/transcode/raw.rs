//! Tensors that become raw (section 11.8).

use unweight_format::{Dtype, Encoding};

use super::{BOTH, transcode};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::fields;
use crate::random::Random;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let stays = |name: &str| {
        let weights = Weights::skewed(name, &PALETTE, 600);
        Tensor::huffman(name, 12, PALETTE, &weights, Lengths::skewed())
    };
    let verbatim = |name: &str, exponents: Vec<u8>| {
        Tensor::raw_weights(name, &Weights::new(name, exponents))
            .chunks(12)
            .verbatim_field(0, PALETTE)
    };
    let noise = |count: usize| Random::new("exponents").repeated_bytes(count);
    let beside = fields::random_data(Dtype::Bf16, "beside", 20, &[(1, &|_| 5)]);
    let draft = Draft::of([
        stays("first"),
        verbatim("noise", noise(300)),
        stays("second"),
        verbatim("one weight", vec![120]),
        Tensor::flat("a constant beside it", Dtype::Bf16, beside)
            .chunks(12)
            .verbatim_field(0, PALETTE)
            .constant_field(1),
        Tensor::flat("noise of 4 bits", Dtype::F8E4M3, noise(500))
            .chunks(13)
            .even_field(0),
        stays("last"),
    ]);
    let id = "coded-tensors-that-save-nothing";
    let claim = "a coded tensor may be longer than a raw one";
    cases.accept(id, &["4.2"], claim, &draft);
    let claim =
        "a coded tensor that saves nothing becomes raw, with chunk size 0 and palette checksum 0";
    for encoding in BOTH {
        transcode(cases, id, encoding, &["3.2", "11.8"], claim);
    }

    // All weights have one exponent. With n of them, huffman takes align(n, 16) + 112 bytes.
    let one = |count: usize| {
        let weights = Weights::new("one exponent", vec![120; count]);
        let name = format!("{count} weights");
        Tensor::huffman(&name, 12, PALETTE, &weights, Lengths::single(8))
    };
    let id = "coded-tensors-around-112-weights";
    let claim = "tensors around the length where a huffman record saves a unit of 16 bytes";
    let sizes = [111, 112, 113, 120, 121, 128, 129, 130];
    cases.accept(id, &["4.2"], claim, &Draft::of(sizes.map(one)));
    let claim =
        "a tensor is raw unless its forms save a unit of 16 bytes: 121 weights do in huffman";
    for encoding in BOTH {
        transcode(cases, id, encoding, &["11.8"], claim);
    }

    // The last chunk saves less than 256 bytes more than palette and record ends take.
    let mut exponents = noise(32_768);
    for (i, exponent) in exponents[7 * 4096..].iter_mut().enumerate() {
        if i % 10 < 7 {
            *exponent = 120;
        }
    }
    let gain = Tensor::huffman(
        "w",
        12,
        PALETTE,
        &Weights::new("a small gain", exponents),
        Lengths::single(8),
    );
    let id = "large-coded-tensor-that-saves-less-than-256-bytes";
    let claim = "a coded tensor of 65,536 bytes may be shorter than a raw one";
    cases.accept(id, &["3.5"], claim, &Draft::of([gain]));
    let claim =
        "a tensor of at least 65,536 bytes is raw unless its forms save a unit of 256 bytes";
    transcode(cases, id, Encoding::Huffman, &["11.8"], claim);

    let id = "large-coded-tensor-that-saves-nothing";
    let claim = "a coded tensor of more than 65,536 bytes has no block checksums";
    let draft = Draft::of([
        stays("before"),
        verbatim("large", noise(32_769)),
        stays("behind"),
    ]);
    cases.accept(id, &["3.5"], claim, &draft);
    let claim = "a tensor of more than 65,536 bytes that becomes raw gets block checksums";
    transcode(cases, id, Encoding::Huffman, &["3.5", "11.8"], claim);
}
