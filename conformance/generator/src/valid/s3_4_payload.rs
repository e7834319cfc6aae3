//! Section 3.4: offsets of payloads.

use unweight_format::Dtype;

use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::random::Random;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    let lengths = [1, 2, 3, 4, 5, 251, 252, 253, 255, 256, 257, 508, 512];
    let tensors: Vec<Tensor> = lengths
        .into_iter()
        .map(|length| {
            let name = format!("of {length}");
            let data = Random::new(&name).bytes(length);
            Tensor::bytes(&name, data)
        })
        .collect();
    cases.accept(
        "raw-payloads-around-multiples-of-256",
        &["3.4", "4.2"],
        "a payload begins on the next multiple of 256, wherever the one before it ends",
        &Draft::of(tensors),
    );

    let weights = |count| Weights::skewed(&format!("payload of {count}"), &PALETTE, count);
    let huffman =
        |name: &str, count| Tensor::huffman(name, 12, PALETTE, &weights(count), Lengths::skewed());
    let palette = |name: &str, count| Tensor::palette(name, 12, PALETTE, &weights(count));
    cases.accept(
        "raw-and-huffman-tensors-in-turn",
        &["3.4"],
        "planes stand in directory order, whatever their encoding",
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
        &["3.4"],
        "a file may hold all three encodings",
        &Draft::of([
            palette("a", 500),
            huffman("b", 255),
            palette("c", 256),
            Tensor::bytes("d", vec![1, 2, 3]),
            huffman("e", 257),
            palette("f", 129),
        ]),
    );
    // Five chunks have 20 bytes of record ends, which are followed by padding. Four chunks have no
    // padding.
    for (chunks, padding) in [(4, "no"), (5, "12-bytes-of")] {
        cases.accept(
            &format!("record-ends-with-{padding}-padding"),
            &["3.4", "4.3"],
            "records begin on a multiple of 16 behind the record ends",
            &Draft::of([huffman("w", 4096 * chunks)]),
        );
    }
    cases.accept(
        "sign-mantissa-plane-without-padding",
        &["3.4", "4.3"],
        "a sign-mantissa plane that ends on a multiple of 256 is followed by no padding",
        &Draft::of([huffman("w", 512)]),
    );
}
