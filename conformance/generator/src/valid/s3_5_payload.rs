//! Section 3.5: offsets of payloads.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::random::Random;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let lengths = [1, 2, 15, 16, 17, 31, 32, 33, 47, 255, 256, 257, 1];
    let tensors: Vec<Tensor> = lengths
        .into_iter()
        .enumerate()
        .map(|(number, length)| {
            let name = format!("{number} of {length}");
            let data = Random::new(&name).bytes(length);
            Tensor::bytes(&name, data)
        })
        .collect();
    cases.accept(
        "raw-payloads-around-multiples-of-16",
        &["3.5"],
        "the payload of a tensor of less than 65,536 bytes begins on the next multiple of 16",
        &Draft::of(tensors),
    );

    for length in [65_535, 65_536] {
        let data: Vec<u8> = (0..length).map(|i| (i % 241) as u8).collect();
        cases.accept(
            &format!("tensor-of-{length}-bytes-between-small-ones"),
            &["3.5"],
            "the payload of a tensor of 65,536 bytes begins on a multiple of 256, that of a shorter one on a multiple of 16",
            &Draft::of([
                Tensor::bytes("a", vec![1; 17]),
                Tensor::bytes("b", data),
                Tensor::bytes("c", vec![3; 17]),
            ]),
        );
    }

    let data: Vec<u8> = (0..2 * 65_536).map(|i| (i % 241) as u8).collect();
    cases.accept(
        "raw-tensor-of-131072-bytes",
        &["3.5"],
        "a plane of two whole blocks has two block checksums",
        &Draft::of([Tensor::bytes("r", data)]),
    );
    let weights = Weights::new("plane of 65,792 bytes", vec![PALETTE[3]; 65_792]);
    cases.accept(
        "huffman-plane-of-65792-bytes",
        &["3.5"],
        "the plain plane of a tensor with records has no block checksums",
        &Draft::of([Tensor::huffman(
            "w",
            16,
            PALETTE,
            &weights,
            Lengths::single(3),
        )]),
    );

    let weights = |count| Weights::skewed(&format!("payload of {count}"), &PALETTE, count);
    let huffman =
        |name: &str, count| Tensor::huffman(name, 12, PALETTE, &weights(count), Lengths::skewed());
    let palette = |name: &str, count| Tensor::palette(name, 12, PALETTE, &weights(count));
    cases.accept(
        "raw-and-huffman-tensors-in-turn",
        &["3.5"],
        "payloads stand in directory order, whatever the forms",
        &Draft::of([
            huffman("a", 500),
            Tensor::bytes("b", vec![1, 2, 3]),
            huffman("c", 255),
            Tensor::raw("d", Dtype::F32, &[0], vec![]),
            huffman("e", 256),
            Tensor::raw_weights("f", &weights(257)),
        ]),
    );
    cases.accept(
        "raw-huffman-and-palette-tensors-in-turn",
        &["3.5"],
        "a file may hold huffman, palette and raw tensors",
        &Draft::of([
            palette("a", 500),
            huffman("b", 255),
            palette("c", 256),
            Tensor::bytes("d", vec![1, 2, 3]),
            huffman("e", 257),
            palette("f", 129),
        ]),
    );
    // A palette and five record ends have 36 bytes, which are followed by padding. With four record
    // ends there is none.
    for (chunks, padding) in [(4, "no"), (5, "12-bytes-of")] {
        cases.accept(
            &format!("record-ends-with-{padding}-padding"),
            &["3.5", "5"],
            "records begin on a multiple of 16 behind the record ends",
            &Draft::of([huffman("w", 4096 * chunks)]),
        );
    }
    cases.accept(
        "plain-plane-without-padding",
        &["3.5", "5"],
        "a plain plane that ends on a multiple of its alignment is followed by no padding",
        &Draft::of([huffman("w", 512)]),
    );
}
