//! Section 3.5: zeros in and between payloads.

use unweight_format::{Dtype, Rule};

use super::{big, constants, huffman_tensor, raw};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::fields;
use crate::forge::Forge;

pub(super) fn add(cases: &mut Cases) {
    // P0 is 256 after header and directory. The payload parts are 3 bytes raw, the plane of 300
    // weights, and a palette with record ends, 20 bytes padded to 32.
    let file = Draft::of([
        Tensor::bytes("r", b"raw".to_vec()),
        huffman_tensor("w", 300),
        Tensor::bytes("s", b"raw!".to_vec()),
    ])
    .forge();
    let (first, coded, last) = (file.tensor(0), file.tensor(1), file.tensor(2));
    let places = [
        ("before-the-payload-first-byte", file.directory().end),
        ("before-the-payload-last-byte", first.begin - 1),
        ("between-two-payloads-first-byte", first.end),
        ("between-two-payloads-last-byte", coded.begin - 1),
        ("behind-the-plain-plane-first-byte", coded.plain.end),
        ("behind-the-plain-plane-last-byte", coded.palettes.start - 1),
        ("behind-record-ends-first-byte", coded.record_ends + 4),
        ("behind-record-ends-last-byte", coded.records[0].start - 1),
        ("guard-first-byte", last.end),
        ("guard-last-byte", last.end + 63),
    ];
    let claim = "padding and guard are zero";
    let mut wrong = |id: &str, forge: Forge| {
        cases.reject(&format!("padding-{id}"), Rule::Padding, claim, forge);
        cases.also(&["2"]);
    };
    for (place, at) in places {
        wrong(place, file.clone().flip(at, 0x10));
    }
    let source = raw().with_source().forge();
    let behind_source = source.source().end;
    wrong("behind-the-source", source.flip(behind_source, 1));
    let extended = raw().with_items(&[(7, b"seven")]).forge();
    let behind_extensions = extended.extensions().end;
    wrong("behind-the-extensions", extended.flip(behind_extensions, 1));
    let empty = Draft::of([]).forge();
    wrong("of-a-file-without-tensors", empty.clone().flip(64, 1));
    wrong("of-the-guard-of-a-file-without-tensors", empty.flip(319, 1));
    let file = big().forge();
    let (plain_end, checksums) = (file.tensor(0).plain.end, file.tensor(0).checksums);
    assert_eq!(checksums - plain_end, 3);
    wrong(
        "before-block-checksums-first-byte",
        file.clone().flip(plain_end, 1),
    );
    wrong(
        "before-block-checksums-last-byte",
        file.flip(checksums - 1, 1),
    );
    let file = Draft::of([constants(Dtype::Bf16, "w", 300)]).forge();
    let (plain, palettes) = (
        file.tensor(0).plain.clone(),
        file.tensor(0).palettes.clone(),
    );
    wrong(
        "before-constants-first-byte",
        file.clone().flip(plain.end, 1),
    );
    wrong(
        "before-constants-last-byte",
        file.flip(palettes.start - 1, 1),
    );
    // Two tensors of at least 65,536 bytes, the first one with constants and block checksums.
    let file = Draft::of([
        constants(Dtype::Bf16, "a", 70_000),
        constants(Dtype::Bf16, "b", 40_000),
    ])
    .forge();
    let (first, second) = (file.tensor(0), file.tensor(1));
    let checksums_end = first.checksums + 4 * first.blocks;
    let places = [
        ("behind-block-checksums-first-byte", checksums_end),
        ("behind-block-checksums-last-byte", first.palettes.start - 1),
        ("before-a-large-tensor-first-byte", first.end),
        ("before-a-large-tensor-last-byte", second.begin - 1),
    ];
    for (place, at) in places {
        wrong(place, file.clone().flip(at, 0x80));
    }
    let data = (0..65_536).map(|i| (i % 251) as u8).collect();
    let file = Draft::of([huffman_tensor("w", 300), Tensor::bytes("r", data)]).forge();
    let end = file.tensor(0).end;
    wrong("behind-a-coded-payload", file.flip(end, 1));
    plain_bits(&mut wrong);
}

/// The unused bits of the last byte of a plain plane.
fn plain_bits(wrong: &mut impl FnMut(&str, Forge)) {
    // 301 weights of 9 plain bits have 2709 bits: 5 bits of the last byte are used.
    let constant = Draft::of([constants(Dtype::Bf16, "w", 301)]).forge();
    // 301 weights of 13 plain bits have 3913 bits: one bit of the last byte is used.
    let data = fields::random_data(Dtype::Bf16, "plain bits", 301, &[]);
    let coded = Tensor::flat("w", Dtype::Bf16, data)
        .chunks(12)
        .even_field(1);
    let coded = Draft::of([coded]).forge();
    for (id, file, first) in [("constants", constant, 5), ("huffman", coded, 1)] {
        let last = file.tensor(0).plain.end - 1;
        for (which, bit) in [("first", first), ("last", 7)] {
            wrong(
                &format!("{which}-bit-of-a-plane-beside-{id}"),
                file.clone().flip(last, 1 << bit).stamp(),
            );
        }
    }
}
