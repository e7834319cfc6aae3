//! Forms and chunk sizes of the result.

use unweight_format::{Dtype, Encoding};

use super::{BOTH, transcode};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::fields;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    widths(cases);
    kept(cases);
    chunk_sizes(cases);
}

/// Values of which a quarter is 2 and the others 1.
fn skewed(i: usize) -> u8 {
    1 + (i % 4 / 3) as u8
}

/// Weights whose fields of these numbers have few values.
fn tensor(name: &str, dtype: Dtype, count: usize, coded: &[usize]) -> Tensor {
    let value: &dyn Fn(usize) -> u8 = &skewed;
    let chosen: Vec<_> = coded.iter().map(|&field| (field, value)).collect();
    Tensor::flat(
        name,
        dtype,
        fields::random_data(dtype, name, count, &chosen),
    )
    .chunks(12)
}

fn widths(cases: &mut Cases) {
    let low: [u8; 16] = std::array::from_fn(|i| i as u8);
    let narrow = |tensor: Tensor, coded: &[usize]| {
        coded
            .iter()
            .fold(tensor, |tensor, &field| tensor.even_field(field))
    };
    let draft = Draft::of([
        narrow(tensor("4 and 3 bits", Dtype::F8E4M3, 900, &[0, 1]), &[0, 1]),
        narrow(
            tensor("8, 3 and 4 bits", Dtype::Bf16, 900, &[0, 1, 2]),
            &[1, 2],
        )
        .huffman_field(0, low, Lengths::flat()),
        narrow(tensor("5 and 2 bits", Dtype::F8E5M2, 3000, &[0, 1]), &[1]).huffman_field(
            0,
            low,
            Lengths::flat(),
        ),
        narrow(
            tensor("5, 3, 4 and 3 bits", Dtype::F16, 900, &[0, 1, 3]),
            &[1, 3],
        )
        .palette_field(0, low),
        tensor("7 bits", Dtype::F8E8M0, 900, &[0]).huffman_field(0, low, Lengths::flat()),
        narrow(tensor("8 and 3 bits", Dtype::F64, 600, &[1, 2]), &[1]).palette_field(2, low),
        narrow(tensor("4 bits", Dtype::I32, 600, &[3, 6]), &[3, 6]),
    ]);
    let id = "coded-fields-of-2-to-8-bits";
    let claim = "fields of every width are coded beside each other";
    cases.accept(id, &["4.2"], claim, &draft);
    let claim = "coded fields of more than 4 bits get the form of the encoding, all others keep huffman and get new records";
    for encoding in BOTH {
        transcode(cases, id, encoding, &["4.2", "11.5", "11.6"], claim);
    }
}

fn kept(cases: &mut Cases) {
    let constant = |name: &str, count: usize| {
        let data = fields::random_data(Dtype::Bf16, name, count, &[(0, &|_| 126)]);
        Tensor::flat(name, Dtype::Bf16, data)
    };
    let low: [u8; 16] = std::array::from_fn(|i| i as u8);
    let all_one = Weights::new("one value", vec![PALETTE[3]; 900]);
    let beside = fields::random_data(Dtype::Bf16, "beside", 900, &[(0, &skewed), (1, &|_| 5)]);
    let beside = Tensor::flat("constant beside a coded one", Dtype::Bf16, beside).chunks(12);
    let draft = Draft::of([
        Tensor::huffman("one value coded", 12, PALETTE, &all_one, Lengths::flat()),
        constant("constant of 40 bits", 5).constant_field(0),
        constant("constant", 900).constant_field(0),
        beside
            .huffman_field(0, low, Lengths::flat())
            .constant_field(1),
        Tensor::raw_weights("plain", &all_one),
        // The second field has no information to save, but the first one has.
        tensor("nothing saved in a field", Dtype::Bf16, 900, &[0])
            .huffman_field(0, low, Lengths::flat())
            .even_field(2),
        // The second field could be coded.
        tensor("plain beside a coded one", Dtype::Bf16, 900, &[0, 1]).palette_field(0, low),
    ]);
    let id = "forms-that-no-canonical-encoder-chooses";
    let claim = "an encoder may give a field any form that it can have";
    cases.accept(id, &["4.2"], claim, &draft);
    let claim = "11.2 is not applied again: plain fields stay plain, constant ones constant, and coded ones coded";
    for encoding in BOTH {
        transcode(cases, id, encoding, &["4.2", "11.2"], claim);
    }
    // 11.8 does not concern a tensor without a coded field.
    let id = "constants-that-save-nothing";
    let claim = "a constant field may take more bytes than its plain bits";
    let draft = Draft::of([
        constant("5 weights", 5).constant_field(0),
        constant("1 weight", 1).constant_field(0),
        constant("16 weights", 16).constant_field(0),
    ]);
    cases.accept(id, &["4.2"], claim, &draft);
    let claim = "a tensor without a coded field stays as it is, even if raw it would be shorter";
    transcode(cases, id, Encoding::Huffman, &["11.8"], claim);
}

fn chunk_sizes(cases: &mut Cases) {
    let of = |k: u8, count: usize| {
        let name = format!("chunks of 2 to the {k}");
        let weights = Weights::skewed(&name, &PALETTE, count);
        Tensor::huffman(&name, k, PALETTE, &weights, Lengths::skewed())
    };
    let palette = Weights::skewed("palette", &PALETTE, 4200);
    let draft = Draft::of([
        of(12, 4200),
        of(13, 4200),
        of(14, 700),
        of(15, 700),
        of(16, 700),
        Tensor::palette("palette", 12, PALETTE, &palette),
    ]);
    let id = "tensors-of-all-chunk-sizes";
    let claim = "each tensor has a chunk size of its own";
    cases.accept(id, &["4.2"], claim, &draft);
    let claim = "each tensor keeps its chunk size";
    for encoding in BOTH {
        transcode(cases, id, encoding, &["11.5", "11.6"], claim);
    }
}
