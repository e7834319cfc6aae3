//! Files with every form, kind of record and part of a payload.

use unweight_format::bits::pack;
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, Extension, Palette, Palettes, SourceKind};

use super::{Body, FOUR_CODES, NO_BITS, write_tensor};

/// A source section; only `source-header` would look into it.
pub(crate) const SOURCE: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

/// An extension item that every decoder may ignore.
pub(crate) const NOTE: Extension<'static> = Extension {
    kind: 7,
    contents: b"note",
};

/// Numbers that look random.
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    core::iter::from_fn(move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        Some(state >> 20)
    })
}

/// Weights of FP8 E4M3: exponents 0 to 3 and a few of 9, the mantissa 5.
fn e4m3(count: usize) -> Vec<u8> {
    let weights = noise(1).take(count).enumerate().map(|(number, noise)| {
        let exponent = if number % 50 == 7 { 9 } else { noise % 4 };
        noise >> 8 & 0x80 | exponent << 3 | 5
    });
    pack(weights, 8).collect()
}

/// Weights of BF16: exponents from 110 to 125 and a few of 0, mantissas that end in 4 random bits.
fn bf16(count: usize) -> Vec<u8> {
    let weights = noise(2).take(count).enumerate().map(|(number, noise)| {
        let exponent = if number % 600 == 5 {
            0
        } else {
            110 + noise % 16
        };
        let mantissa = ((noise >> 8) % 5) << 4 | noise >> 16 & 15;
        noise >> 24 & 0x8000 | exponent << 7 | mantissa
    });
    pack(weights, 16).collect()
}

/// Weights of F32 whose low bits are 0x4321.
fn f32(count: usize) -> Vec<u8> {
    let weights = noise(3)
        .take(count)
        .map(|noise| noise & 0xffff_0000 | 0x4321);
    pack(weights, 32).collect()
}

/// The tensors of an example: name, type, shape and bytes.
pub(crate) struct Tensor {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<u64>,
    pub(crate) palettes: Palettes,
    pub(crate) data: Vec<u8>,
}

/// Tensors of so many weights.
pub(crate) fn tensors(weights: [usize; 4]) -> Vec<Tensor> {
    let exponents: [u8; 16] = core::array::from_fn(|index| 110 + index as u8);
    let e4m3_palettes = Palettes::raw(Dtype::F8E4M3)
        .with_coded(0, Encoding::Huffman, Palette::lowest(4))
        .and_then(|palettes| palettes.with_constant(1, 5));
    let bf16_palettes = Palettes::raw(Dtype::Bf16)
        .with_coded(0, Encoding::Palette, Palette::new(8, exponents).unwrap())
        .and_then(|palettes| palettes.with_coded(1, Encoding::Huffman, Palette::lowest(3)));
    let f32_palettes = Palettes::raw(Dtype::F32)
        .with_constant(3, 0x43 >> 5)
        .and_then(|palettes| palettes.with_constant(4, 0x43 & 0x1f))
        .and_then(|palettes| palettes.with_constant(5, 0x21));
    let tensor = |name, palettes: Palettes, data: Vec<u8>| Tensor {
        name,
        shape: vec![(data.len() / palettes.forms().dtype().weight_bytes()) as u64],
        palettes,
        data,
    };
    vec![
        tensor("f8", e4m3_palettes.unwrap(), e4m3(weights[0])),
        tensor("empty", Palettes::raw(Dtype::Bf16), vec![]),
        tensor("w", bf16_palettes.unwrap(), bf16(weights[1])),
        tensor(
            "bytes",
            Palettes::raw(Dtype::U8),
            pack(noise(4).take(weights[2]), 8).collect(),
        ),
        tensor("upcast", f32_palettes.unwrap(), f32(weights[3])),
    ]
}

/// A file of these tensors.
pub(crate) fn file(tensors: &[Tensor]) -> Vec<u8> {
    let declared = tensors
        .iter()
        .map(|tensor| Declaration::new(tensor.name, tensor.palettes.forms().dtype(), &tensor.shape))
        .collect();
    let kind = SourceKind::Safetensors;
    let mut writer =
        ContainerWriter::with_extensions(Vec::new(), kind, SOURCE, &[NOTE], declared).unwrap();
    for tensor in tensors {
        let body = |chunk, coded_field| match (tensor.name, chunk, coded_field) {
            ("f8", ..) => FOUR_CODES,
            ("w", 0, 0) => Body::Indices,
            ("w", 1, 1) => NO_BITS,
            _ => Body::Verbatim,
        };
        write_tensor(&mut writer, &tensor.palettes, 12, &tensor.data, body);
    }
    writer.finish().unwrap()
}

/// A file with every part: chunks, block checksums, both alignments.
pub(crate) fn whole() -> (Vec<Tensor>, Vec<u8>) {
    let tensors = tensors([2000, 5000, 70_001, 20_001]);
    let file = file(&tensors);
    (tensors, file)
}

/// A file of some 3 KB with everything but block checksums and second chunks.
pub(crate) fn small() -> (Vec<Tensor>, Vec<u8>) {
    let tensors = tensors([1001, 300, 5, 7]);
    let file = file(&tensors);
    (tensors, file)
}
