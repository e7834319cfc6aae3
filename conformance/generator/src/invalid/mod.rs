//! Files that break exactly one rule, if that is possible. Each module has the cases of one section
//! of the specification.
//!
//! All checksums are right, unless the case tests a checksum. A decoder that misses the rule
//! therefore decodes the draft's contents and accepts.

mod s3_1_file_header;
mod s3_2_directory;
mod s3_2_names;
pub(crate) mod s3_3_json;
mod s3_3_source;
pub(crate) mod s3_3_text;
mod s3_4_extensions;
mod s3_5_ends;
mod s3_5_padding;
mod s3_5_parts;
mod s3_5_past_64_bits;
mod s3_bits;
mod s3_fitting;
mod s4_1_types;
mod s4_2_forms;
mod s5_2_lanes;
mod s5_5_patches;
mod s5_fields;
mod s5_fitting;
mod s5_records;
mod s5_wrapping;
mod s6_code;
mod s8_checksums;

use unweight_format::Dtype;

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor, whole_palette};
use crate::fields;
use crate::forge::Forge;
use crate::weights::{PALETTE, Weights};

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    s3_1_file_header::add(cases);
    s3_2_directory::add(cases);
    s3_3_source::add(cases);
    s3_3_json::add(cases);
    s3_4_extensions::add(cases);
    s3_5_ends::add(cases);
    s3_5_past_64_bits::add(cases);
    s3_5_padding::add(cases);
    s3_5_parts::add(cases);
    s4_1_types::add(cases);
    s4_2_forms::add(cases);
    s5_records::add(cases);
    s5_2_lanes::add(cases);
    s5_5_patches::add(cases);
    s5_fields::add(cases);
    s6_code::add(cases);
    s8_checksums::add(cases);
    s3_2_names::add(cases);
    s3_3_text::add_differences(cases);
    s3_bits::add(cases);
    s5_fitting::add(cases);
    s3_fitting::add(cases);
    s5_wrapping::add(cases);
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

/// 65,537 raw bytes: two blocks.
fn big() -> Draft {
    let data = (0..65_537).map(|i| (i % 251) as u8).collect();
    Draft::of([Tensor::bytes("r", data)])
}

/// Weights with all fields but the first one constant; no field has records.
fn constants(dtype: Dtype, name: &str, count: usize) -> Tensor {
    let constant = 1..fields::fields(dtype).len();
    // There are few different bytes, because the repository contains these files.
    let weight = |i: u64| {
        let fields = fields::fields(dtype).into_iter().skip(1);
        fields.fold(i % 229 * 0x0101_0101_0101_0101, |weight, field| {
            field.set(weight, 1)
        })
    };
    let weights: Vec<u64> = (0..count as u64).map(weight).collect();
    let tensor = Tensor::flat(name, dtype, fields::data(dtype, &weights));
    constant.fold(tensor, Tensor::constant_field)
}

/// BF16 weights of which the exponent and the 3 bits below it are in the form huffman.
fn two_fields(name: &str, count: usize) -> Tensor {
    let weights = Weights::skewed(name, &PALETTE, count);
    Tensor::huffman(name, 12, PALETTE, &weights, Lengths::skewed()).even_field(1)
}

/// 301 weights of which field `number` has verbatim records.
fn verbatim_field(dtype: Dtype, number: usize) -> Draft {
    let data = fields::random_data(dtype, "verbatim field", 301, &[]);
    let width = fields::fields(dtype)[number].width();
    let tensor = Tensor::flat("w", dtype, data).chunks(12);
    Draft::of([tensor.verbatim_field(number, lowest_palette(width))])
}

/// The palette of a field with the least values: all of them up to 4 bits, 16 above.
fn lowest_palette(width: u32) -> [u8; 16] {
    whole_palette(width.min(4))
}

/// A type with a field of this many bits, and the number of the field.
fn narrow(width: u32) -> (Dtype, usize) {
    let all = Dtype::ALL.iter().flat_map(|&dtype| {
        let fields = fields::fields(dtype).into_iter().enumerate();
        fields.map(move |(number, field)| (dtype, number, field.width()))
    });
    let mut found = all.filter(|&(_, _, of)| of == width);
    let (dtype, number, _) = found.next().expect("a type has such a field");
    (dtype, number)
}

/// A file with these bytes in the first entry.
fn put_entry(forge: Forge, field: u64, bytes: &[u8]) -> Forge {
    let at = forge.entry(0, field);
    forge.put(at, bytes).stamp_directory()
}
