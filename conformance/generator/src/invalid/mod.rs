//! Files that break exactly one rule, if that is possible. Each module has the cases of one section
//! of the specification.
//!
//! All checksums are right, unless the case tests a checksum. A decoder that misses the rule
//! therefore decodes the draft's contents and accepts.

mod s3_1_file_header;
mod s3_2_directory;
mod s3_3_json;
mod s3_3_source;
mod s3_4_payload;
mod s4_tensors;
mod s5_2_lanes;
mod s5_5_patches;
mod s5_records;
mod s6_code;
mod s8_checksums;

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::weights::{PALETTE, Weights};

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    s3_1_file_header::add(cases);
    s3_2_directory::add(cases);
    s3_3_source::add(cases);
    s3_3_json::add(cases);
    s3_4_payload::add(cases);
    s4_tensors::add(cases);
    s5_records::add(cases);
    s5_2_lanes::add(cases);
    s5_5_patches::add(cases);
    s6_code::add(cases);
    s8_checksums::add(cases);
}

/// Three raw bytes without a source.
fn raw() -> Draft {
    Draft::of([Tensor::bytes("r", b"raw".to_vec())])
}

/// 300 weights in one chunk, with patches.
fn huffman() -> Draft {
    Draft::of([huffman_tensor("w", 300)])
}

fn huffman_tensor(name: &str, count: usize) -> Tensor {
    Tensor::huffman(name, 12, PALETTE, &patched(count), Lengths::skewed())
}

/// 300 weights in one chunk, with patches.
fn palette() -> Draft {
    Draft::of([Tensor::palette("w", 12, PALETTE, &patched(300))])
}

/// Weights with exponents outside the palette at 3, 4, 100 and 256.
fn patched(count: usize) -> Weights {
    let mut weights = Weights::skewed("invalid", &PALETTE, count);
    for exponent in &mut weights.exponents {
        // All other exponents have a code.
        *exponent = (*exponent).max(PALETTE[7]);
    }
    for position in [3, 4, 100, 256] {
        weights.exponents[position] = 20;
    }
    weights
}

/// 512 weights of 1 bit each, in 32 lanes of 2 bytes. The record has 144 bytes and no padding.
fn exact() -> Draft {
    let exponents = (0..512).map(|i| PALETTE[i % 3 % 2]).collect();
    let weights = Weights::new("exact", exponents);
    Draft::of([Tensor::huffman(
        "w",
        12,
        PALETTE,
        &weights,
        Lengths::of(&[1, 1]),
    )])
}
