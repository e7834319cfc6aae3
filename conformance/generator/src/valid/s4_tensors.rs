//! Section 4: types, raw tensors, chunks, palettes.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::random::Random;
use crate::record::Record;
use crate::weights::{PALETTE, Weights, consecutive};

/// Numbers of weights around steps and chunks.
const SIZES: [usize; 17] = [
    1, 7, 9, 48, 49, 64, 128, 255, 256, 257, 511, 513, 4095, 4096, 4097, 8191, 8449,
];

pub(super) fn add(cases: &mut Cases) {
    types(cases);
    blocks(cases);
    chunks(cases);
    palettes(cases);
}

fn types(cases: &mut Cases) {
    let all: Vec<Tensor> = Dtype::ALL
        .iter()
        .map(|&dtype| {
            let bytes = (12 * dtype.bits() / 8) as usize;
            Tensor::raw(
                dtype.name(),
                dtype,
                &[3, 4],
                Random::new(dtype.name()).bytes(bytes),
            )
        })
        .collect();
    cases.accept(
        "raw-tensors-of-every-dtype",
        &["4.1"],
        "every dtype can be stored raw; its length is the element count times its bits",
        &Draft::of(all.clone()),
    );
    cases.accept(
        "raw-tensors-of-every-dtype-with-source",
        &["3.3", "4.1"],
        "the names of types in the source are those of section 4.1",
        &Draft::of(all).with_source(),
    );
    cases.accept(
        "types-of-less-than-a-byte",
        &["4.1"],
        "elements of 4 and 6 bits are whole bytes together: 2 of F4, 4 of F6",
        &Draft::of([
            Tensor::raw("f4", Dtype::F4, &[2], vec![0x21]),
            Tensor::raw("f6 e2m3", Dtype::F6E2M3, &[4], vec![1, 2, 3]),
            Tensor::raw(
                "f6 e3m2",
                Dtype::F6E3M2,
                &[2, 6],
                vec![1, 2, 3, 4, 5, 6, 7, 8, 9],
            ),
            Tensor::raw("f4 again", Dtype::F4, &[3, 2], vec![4, 5, 6]),
        ]),
    );
}

fn blocks(cases: &mut Cases) {
    for length in [65_535, 65_536, 65_537] {
        // The period is not a power of two, so that blocks differ.
        let data: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        cases.accept(
            &format!("raw-tensor-of-{length}-bytes"),
            &["3.5", "8"],
            "a plane of more than 65,536 bytes has a checksum for each 65,536 bytes, and for a shorter rest",
            &Draft::of([Tensor::bytes("r", data)]),
        );
    }
}

fn chunks(cases: &mut Cases) {
    for size in SIZES {
        let weights = Weights::skewed(&format!("{size} weights"), &PALETTE, size);
        let words = match size {
            1 => "1-weight".to_owned(),
            _ => format!("{size}-weights"),
        };
        let huffman = Tensor::huffman("w", 12, PALETTE, &weights, Lengths::skewed());
        cases.accept(
            &format!("huffman-tensor-of-{words}"),
            &["4.2", "5"],
            "the last step is completed and its surplus dropped; the last chunk may be short",
            &Draft::of([huffman]),
        );
        cases.accept(
            &format!("palette-tensor-of-{words}"),
            &["4.2", "5"],
            "the last step is completed and its surplus dropped; the last chunk may be short",
            &Draft::of([Tensor::palette("w", 12, PALETTE, &weights)]),
        );
    }
    for k in 12..=16 {
        let count = (1 << k) + 300;
        let mut weights = Weights::skewed(&format!("chunk size {k}"), &PALETTE, count);
        // There are few different bytes, because the repository contains this file.
        for (i, byte) in weights.sign_mantissa.iter_mut().enumerate() {
            *byte = (i % 241) as u8;
        }
        let claim = "a chunk has 2^k weights, k from 12 to 16";
        let huffman = Tensor::huffman("w", k, PALETTE, &weights, Lengths::skewed());
        cases.accept(
            &format!("huffman-chunks-of-2-to-the-{k}"),
            &["4.2"],
            claim,
            &Draft::of([huffman]),
        );
        cases.accept(
            &format!("palette-chunks-of-2-to-the-{k}"),
            &["4.2"],
            claim,
            &Draft::of([Tensor::palette("w", k, PALETTE, &weights)]),
        );
    }
    let weights = |k| Weights::skewed(&format!("k {k}"), &PALETTE, 300);
    let tensors: Vec<Tensor> = (12..=16)
        .map(|k| {
            Tensor::huffman(
                &format!("k {k}"),
                k,
                PALETTE,
                &weights(k),
                Lengths::skewed(),
            )
        })
        .collect();
    cases.accept(
        "tensors-with-different-chunk-sizes",
        &["4.2"],
        "the chunk size is a tensor's, not the file's, and may be larger than the tensor",
        &Draft::of(tensors),
    );
    let weights = Weights::skewed("rows", &PALETTE, 5 * 7 * 129);
    cases.accept(
        "chunks-cut-through-rows",
        &["2", "4.2"],
        "weights are cut into chunks in row-major order, wherever rows end",
        &Draft::of([
            Tensor::huffman("w", 12, PALETTE, &weights, Lengths::skewed()).shaped(&[5, 7, 129]),
        ]),
    );
    let one = Weights::of_bits([0x3f80]);
    cases.accept(
        "coded-tensor-without-dimensions",
        &["4.1", "4.2"],
        "a single weight without dimensions can be coded",
        &Draft::of([
            Tensor::huffman_with("w", 12, PALETTE, &one, |_, e| Record::verbatim(e)).shaped(&[]),
        ]),
    );
}

fn palettes(cases: &mut Cases) {
    let gaps: [u8; 16] = [
        0, 1, 3, 7, 15, 31, 63, 100, 127, 128, 129, 191, 200, 253, 254, 255,
    ];
    for (name, palette) in [
        ("the-least-exponents", consecutive(0)),
        ("the-greatest-exponents", consecutive(240)),
        ("gaps", gaps),
    ] {
        let weights = Weights::skewed(name, &palette, 600);
        let mut even = weights.clone();
        for (i, exponent) in even.exponents.iter_mut().enumerate() {
            *exponent = palette[i % 16];
        }
        cases.accept(
            &format!("huffman-palette-with-{name}"),
            &["3.5"],
            "any 16 ascending values of 8 bits make a palette",
            &Draft::of([
                Tensor::huffman("skewed", 12, palette, &weights, Lengths::skewed()),
                Tensor::huffman("even", 12, palette, &even, Lengths::flat()),
            ]),
        );
        cases.accept(
            &format!("palette-with-{name}"),
            &["3.5"],
            "any 16 ascending values of 8 bits make a palette",
            &Draft::of([Tensor::palette("w", 12, palette, &even)]),
        );
    }
    let weights = |name: &str, first| Weights::skewed(name, &consecutive(first), 300);
    cases.accept(
        "tensors-with-different-palettes",
        &["3.5"],
        "the palette is a tensor's, not the file's",
        &Draft::of([
            Tensor::huffman("a", 12, PALETTE, &weights("a", 112), Lengths::skewed()),
            Tensor::huffman("b", 12, consecutive(0), &weights("b", 0), Lengths::skewed()),
            Tensor::huffman(
                "c",
                12,
                consecutive(99),
                &weights("c", 99),
                Lengths::skewed(),
            ),
        ]),
    );
    cases.accept(
        "palette-of-exponents-that-do-not-occur",
        &["3.5", "5.4"],
        "no exponent of the palette need occur",
        &Draft::of([Tensor::huffman_with(
            "w",
            12,
            consecutive(0),
            &Weights::new("elsewhere", vec![200; 300]),
            |_, exponents| Record::verbatim(exponents),
        )]),
    );
}
