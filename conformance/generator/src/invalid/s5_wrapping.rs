//! Section 5: lengths and positions that fit if a decoder computes them in fewer bits, with another
//! width, or not at all.

use unweight_format::Rule;

use super::{huffman, palette, two_fields};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor, whole_palette};
use crate::fields;
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    too_long(cases);
    lengths(cases);
    patches(cases);
    checksums(cases);
}

/// Records that are too long, beside one that makes up for it.
fn too_long(cases: &mut Cases) {
    // 1178 patches of 3 bytes: 80 + 512 + 3534 bytes, completed to 4128.
    let exponents = (0..4096 + 256).map(|i| if i < 1178 { 3 } else { PALETTE[i % 2] });
    let weights = Weights::new("16 bytes longer", exponents.collect());
    let lengths = Lengths::of(&[1, 1]);
    let record = Record::huffman(lengths, &PALETTE, &weights.exponents[..4096]);
    assert_eq!(record.to_bytes(&[]).len(), 4112 + 16);
    cases.reject(
        "huffman-record-16-bytes-longer-than-verbatim",
        Rule::RecordTooLong,
        "no record is longer than the verbatim record of its own chunk",
        Draft::of([Tensor::huffman("w", 12, PALETTE, &weights, lengths)])
            .edit_record(|verbatim| *verbatim = record)
            .forge(),
    );
    cases.also(&["5.1"]);

    let mut draft = Draft::of([two_fields("w", 4096)]);
    let values = fields::values(draft.tensors[0].dtype, &draft.tensors[0].data, 1);
    let record = Record::huffman(Lengths::of(&[3; 8]), &whole_palette(3), &values);
    assert_eq!(record.to_bytes(&[]).len(), 80 + 1536);
    draft.tensors[0].stored[1].records[0] = record;
    cases.reject(
        "huffman-record-of-3-bits-longer-than-verbatim",
        Rule::RecordTooLong,
        "the greatest length of a record is that of its field's width",
        draft.forge(),
    );
    cases.also(&["5.1"]);
}

fn lengths(cases: &mut Cases) {
    let claim = "a record has the length of its contents, completed to a multiple of 16";
    // A code of no bits: the lanes are empty, and their ends zero.
    let weights = Weights::new("no bits", vec![PALETTE[2]; 300]);
    let draft = Draft::of([Tensor::huffman(
        "w",
        12,
        PALETTE,
        &weights,
        Lengths::single(2),
    )]);
    for ends in [0, 24] {
        cases.reject(
            &format!("huffman-record-with-{ends}-lane-ends-of-empty-lanes"),
            Rule::RecordLength,
            "a huffman record has 32 lane ends",
            draft
                .clone()
                .edit_record(|record| record.lane_ends.truncate(ends))
                .forge(),
        );
    }
    // 3 * 21,845 = 2^16 - 1, and 3 * 21,846 = 2^16 + 2.
    for (count, in_16_bits) in [
        (21_845, "almost-2-to-the-16"),
        (21_846, "above-2-to-the-16"),
    ] {
        cases.reject(
            &format!(
                "patch-count-of-{count}-in-a-small-record-whose-patches-have-{in_16_bits}-bytes"
            ),
            Rule::RecordLength,
            claim,
            draft
                .clone()
                .edit_record(|record| {
                    record.patch_count = count;
                    // The length that the contents have modulo 2^16.
                    record.padding = Some(vec![0; if count == 21_845 { 0 } else { 16 }]);
                })
                .forge(),
        );
    }
}

fn patches(cases: &mut Cases) {
    // The weights 3, 4, 100 and 256 of 300 have patches.
    let claim = "a patch lies in its chunk: positions do not wrap";
    let wrapped = |draft: Draft| {
        let last = |record: &mut Record| record.patches[3].0 += 300;
        draft.edit_record(last).forge()
    };
    let id = |form| format!("{form}-patch-300-behind-its-place-in-300");
    cases.reject(
        &id("huffman"),
        Rule::PatchPosition,
        claim,
        wrapped(huffman()),
    );
    cases.reject_full(
        &id("palette"),
        Rule::PatchPosition,
        claim,
        wrapped(palette()),
    );
}

/// Record checksums of the kinds that are not huffman.
fn checksums(cases: &mut Cases) {
    let claim = "the record checksum is checked, whatever the kind";
    let wrong = |draft: Draft| {
        let file = draft.forge();
        let at = file.tensor(0).records[0].start;
        file.flip(at + 1, 4)
    };
    cases.reject_full(
        "palette-record-checksum-wrong-by-a-bit",
        Rule::RecordCrc,
        claim,
        wrong(palette()),
    );
    let weights = Weights::new("verbatim", (0..300).map(|i| (i % 251) as u8).collect());
    let tensor = Tensor::raw_weights("w", &weights).chunks(12);
    cases.reject(
        "verbatim-record-checksum-wrong-by-a-bit",
        Rule::RecordCrc,
        claim,
        wrong(Draft::of([tensor.verbatim_field(0, PALETTE)])),
    );
}
