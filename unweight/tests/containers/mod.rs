//! Helpers for the tests: containers of one tensor in memory.

// Each test binary uses only some of these functions.
#![allow(dead_code)]

use half::bf16;
use unweight::{
    ReadError, Serial,
    container::{Encoder, OpenFile, restore, transcode},
};
use unweight_cpu::fast::Codec;
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Encoding, SourceKind};

pub(crate) const ENCODINGS: [Encoding; 2] = [Encoding::Huffman, Encoding::Palette];

pub(crate) fn container_of(weights: &[bf16], encoding: Encoding, chunk_size_log2: u8) -> Vec<u8> {
    container_by(Codec::current(), weights, encoding, chunk_size_log2)
}

pub(crate) fn container_by(
    codec: Codec,
    weights: &[bf16],
    encoding: Encoding,
    chunk: u8,
) -> Vec<u8> {
    let shape = [weights.len() as u64];
    let declared = vec![Declaration::new("w", Dtype::Bf16, &shape)];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    Encoder::new(codec)
        .encode_tensor(&mut writer, weights, encoding, chunk, &Serial)
        .unwrap();
    writer.finish().unwrap()
}

/// Restores the bytes of a container with every rule checked.
pub(crate) fn restored(file: &[u8]) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container();
    let mut bytes = Vec::new();
    restore(&container, &Serial, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    })?;
    Ok(bytes)
}

pub(crate) fn decoded(file: &[u8]) -> Vec<bf16> {
    let bytes = restored(file).unwrap();
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| bf16::from_le_bytes(bytes))
        .collect()
}

pub(crate) fn transcoded(file: &[u8], encoding: Encoding) -> Vec<u8> {
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    transcode(&container, encoding, Vec::new(), &Serial).unwrap()
}

/// Weights that resemble trained ones: lower exponents are rarer, and a few weights need patches.
pub(crate) fn trained_like(count: u32) -> Vec<bf16> {
    (0..count)
        .map(|i| {
            let exponent = match i % 1500 {
                1499 => 20 + (i / 1500 % 40) as u8,
                _ => 126 - (i.wrapping_mul(2654435761) | 1 << 20).trailing_zeros() as u8,
            };
            unweight_format::weight((i * 31) as u8, exponent)
        })
        .collect()
}
