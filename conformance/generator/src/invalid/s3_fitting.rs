//! Sections 3 and 4: files that break one rule, and whose checksums fit what a decoder without that
//! rule restores.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule, crc32};

use super::put_entry;
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor, whole_palette};
use crate::fields;
use crate::forge::Forge;
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    payload_at_0(cases);
    coded_padding(cases);
    palettes(cases);
    types(cases);
    sources(cases);
}

/// An empty tensor ends at 0, and the next one, from 0 on, has header, directory and 16 more bytes.
fn payload_at_0(cases: &mut Cases) {
    let length = 272;
    let tensors = [
        Tensor::raw("e", Dtype::U8, &[0], vec![]),
        Tensor::bytes("r", vec![0; length]),
    ];
    let file = Draft::of(tensors).forge();
    let (first, second) = (
        file.entry(0, entry::PAYLOAD_END),
        file.entry(1, entry::PAYLOAD_END),
    );
    let checksum = file.entry(1, entry::TENSOR_CHECKSUM);
    let file = file
        .put_u64(first, 0)
        .put_u64(second, length as u64)
        .put_u32(checksum, 0)
        .cut(length)
        .append(&[0; 64])
        .state_length()
        .stamp_directory();
    let last = with_checksum_0(&file.bytes()[..length - 4]);
    cases.reject(
        "empty-tensor-with-a-payload-end-of-0-before-a-tensor-from-0-on",
        Rule::PayloadEnd,
        "a tensor with no bytes ends where the one before it ends, the first one where the payload begins",
        file.put(length - 4, &last),
    );
}

/// Four bytes behind `bytes` that make the checksum of all 0.
fn with_checksum_0(bytes: &[u8]) -> [u8; 4] {
    // A CRC-32 of 0 is a register of ones, from which the four bytes are shifted out backwards.
    let mut register = u32::MAX;
    for _ in 0..32 {
        register = match register >> 31 {
            1 => (register ^ 0xedb8_8320) << 1 | 1,
            _ => register << 1,
        };
    }
    let last = (register ^ !crc32(bytes)).to_le_bytes();
    assert_eq!(crc32(&[bytes, &last].concat()), 0);
    last
}

/// The padding where the block checksums of a tensor without records would be.
fn coded_padding(cases: &mut Cases) {
    let weights = Weights::new("plane of 65,793 bytes", vec![PALETTE[3]; 65_793]);
    let tensor = Tensor::huffman("w", 16, PALETTE, &weights, Lengths::single(3));
    let file = Draft::of([tensor]).forge();
    let at = file.tensor(0).plain.end.next_multiple_of(4) + 2;
    cases.reject(
        "padding-behind-a-coded-plane-of-65793-bytes",
        Rule::Padding,
        "padding and guard are zero",
        file.flip(at, 1),
    );
}

fn palettes(cases: &mut Cases) {
    // No weight has one of the last entries.
    let two = |form: fn(Tensor) -> Tensor| {
        let weights = Weights::new("two exponents", (0..512).map(|i| PALETTE[i % 2]).collect());
        let file = Draft::of([form(Tensor::raw_weights("w", &weights).chunks(12))]).forge();
        let at = file.tensor(0).palettes.start;
        move |entry: usize, value| file.clone().put(at + entry, &[value]).stamp()
    };
    let huffman = two(|tensor| tensor.huffman_field(0, PALETTE, Lengths::of(&[1, 1])));
    let palette = two(|tensor| tensor.palette_field(0, PALETTE));
    let claim = "the palette is strictly ascending, the entries that no weight has too";
    for (id, entry, value) in [
        ("last-two-equal", 15, PALETTE[14]),
        ("the-last-below-the-one-before", 15, PALETTE[13]),
        ("the-second-and-the-third-equal", 2, PALETTE[1]),
        ("a-great-value-in-the-middle", 8, 200),
        ("a-last-entry-of-0", 15, 0),
    ] {
        cases.reject(
            &format!("palette-with-{id}-unused"),
            Rule::PaletteValues,
            claim,
            huffman(entry, value),
        );
        cases.reject_full(
            &format!("palette-of-a-palette-tensor-with-{id}-unused"),
            Rule::PaletteValues,
            claim,
            palette(entry, value),
        );
    }

    let constant = Draft::of([super::constants(Dtype::Bf16, "w", 300)]).forge();
    let at = constant.tensor(0).palettes.start;
    cases.reject(
        "constant-with-a-middle-byte-behind-its-value",
        Rule::PaletteValues,
        "the value of a constant field is followed by 15 zeros",
        constant.put(at + 8, &[1]).stamp(),
    );
    for width in [2, 3] {
        let (dtype, number) = super::narrow(width);
        let data = fields::random_data(dtype, "narrow", 300, &[]);
        let tensor = Tensor::flat("w", dtype, data).chunks(12).even_field(number);
        let file = Draft::of([tensor]).forge();
        let at = file.tensor(0).palettes.start + (1 << width) + 1;
        cases.reject(
            &format!("palette-of-{width}-bits-with-a-byte-in-the-middle-of-its-zeros"),
            Rule::PaletteValues,
            "a palette of fewer than 16 entries is filled with zeros",
            file.put(at, &[9]).stamp(),
        );
    }
    too_great_for_the_field(cases);
}

/// Values with bit 3, in a field of 3 bits. The bit above the field is set in these weights, so that a
/// decoder which takes these values restores the same weights.
fn too_great_for_the_field(cases: &mut Cases) {
    let weights = |values: &dyn Fn(usize) -> u8| {
        let chosen: [(usize, &dyn Fn(usize) -> u8); 2] = [(0, &|_| 0x79), (1, values)];
        let data = fields::random_data(Dtype::Bf16, "bit above", 2048, &chosen);
        Tensor::flat("w", Dtype::Bf16, data)
    };
    let mut constant = weights(&|_| 3).constant_field(1);
    constant.stored[0].palette[0] = 3 | 8;
    cases.reject(
        "constant-of-11-in-3-bits-below-a-bit-that-is-set",
        Rule::PaletteValues,
        "a constant fits into the bits of its field",
        Draft::of([constant]).forge(),
    );
    let values = |i| if i == 7 { 3 } else { (i % 2) as u8 };
    let coded = weights(&values).chunks(12);
    let coded = coded.huffman_field(1, whole_palette(3), Lengths::of(&[1, 1]));
    cases.reject(
        "patch-of-11-in-3-bits-below-a-bit-that-is-set",
        Rule::PatchValue,
        "the value of a patch fits into the bits of its field",
        Draft::of([coded])
            .edit_record(|record: &mut Record| record.patches = vec![(7, 3 | 8)])
            .forge(),
    );
}

fn types(cases: &mut Cases) {
    let of = |dtype, code| {
        let file = Draft::of([Tensor::flat("t", dtype, vec![1; 16])]).forge();
        put_entry(file, entry::DTYPE, &[code])
    };
    let mut unknown = |id: &str, file: Forge| {
        cases.reject(id, Rule::DtypeUnknown, "dtype codes are 1 to 22", file);
        cases.also(&["12"]);
    };
    for high in [32, 64, 128] {
        let code = Dtype::Bf16.code() | high;
        unknown(&format!("dtype-code-{code}-of-bf16"), of(Dtype::Bf16, code));
    }
    unknown("dtype-code-23-of-c64", of(Dtype::C64, 23));

    // Bytes as F6, with the fields that U8 has.
    for (name, dtype) in [("f6-e2m3", Dtype::F6E2M3), ("f6-e3m2", Dtype::F6E3M2)] {
        let tensor = Tensor::bytes("t", vec![0x35; 300]).constant_field(0);
        let file = Draft::of([tensor]).forge();
        let dimension = file.directory().start + 40;
        let file = file.put_u64(dimension, 400);
        cases.reject(
            &format!("{name}-with-the-first-field-of-u8"),
            Rule::FormField,
            "a field that the type does not have is plain",
            put_entry(file, entry::DTYPE, &[dtype.code()]),
        );
    }
}

fn sources(cases: &mut Cases) {
    for (name, dtype) in [("bf16", Dtype::Bf16), ("f32", Dtype::F32)] {
        let bytes = fields::weight_bytes(dtype);
        let tensor = Tensor::raw("w", dtype, &[1], vec![1; bytes]);
        let json = format!(r#"{{"w":{{"shape":[1],"data_offsets":[0,{bytes}]}}}}"#);
        cases.reject(
            &format!("json-without-the-dtype-of-a-tensor-of-{name}"),
            Rule::SourceHeader,
            "each tensor has exactly dtype, shape and data_offsets",
            Draft::of([tensor]).with_json(json).forge(),
        );
    }
    let tensor = Tensor::raw("e", Dtype::U8, &[0], vec![]);
    let end = "18446744073709551616";
    let json = format!(r#"{{"e":{{"dtype":"U8","shape":[0],"data_offsets":[{end},{end}]}}}}"#);
    cases.reject(
        "json-with-offsets-of-2-to-the-64-for-0",
        Rule::SourceHeader,
        "integers are below 2^64",
        Draft::of([tensor]).with_json(json).forge(),
    );
}
