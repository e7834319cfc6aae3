//! Sections 5, 6 and 8: records of fields of less than 8 bits, and of several fields.

use unweight_format::{Dtype, Rule, crc32};

use super::{lowest_palette, narrow, two_fields, verbatim_field};
use crate::case::Cases;
use crate::code::{Lengths, NONE};
use crate::draft::{Draft, Tensor};
use crate::fields;
use crate::forge::Forge;
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    checksums(cases);
    forms_and_lengths(cases);
    padding_bits(cases);
    patch_values(cases);
    missing_entries(cases);
    exchanged(cases);
}

/// Two chunks of weights with two coded fields.
fn two_chunks() -> Draft {
    Draft::of([two_fields("w", 4096 + 300)])
}

fn checksums(cases: &mut Cases) {
    let file = two_chunks().forge();
    let placed = file.tensor(0).clone();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::RecordCrc, claim, forge);
        cases.also(&["8"]);
    };
    let claim = "the checksum of a chunk's first record covers the chunk's plain bytes, and no other checksum does";
    let checked = |number: usize, plain: &[u8]| {
        let record = &file.bytes()[placed.records[number].clone()];
        let checksum = crc32(&[&record[4..], plain].concat());
        file.clone().put_u32(placed.records[number].start, checksum)
    };
    let plain = |chunk: usize| file.bytes()[placed.covered[2 * chunk].clone()].to_vec();
    wrong(
        "checksum-of-a-second-field-with-the-plain-bytes",
        claim,
        checked(1, &plain(0)),
    );
    wrong(
        "checksum-of-a-first-field-without-the-plain-bytes",
        claim,
        checked(0, &[]),
    );
    wrong(
        "checksum-of-a-second-chunk-with-the-plain-bytes-of-the-first",
        "the plain bytes of chunk j begin at j * 2^k * W / 8",
        checked(2, &plain(0)),
    );
    wrong(
        "second-field-changed-without-its-checksum",
        "every record has a checksum",
        file.clone().flip(placed.records[1].start + 16, 1),
    );
    wrong(
        "second-field-of-a-second-chunk-changed-without-its-checksum",
        "every record has a checksum",
        file.clone().flip(placed.records[3].end - 1, 1),
    );
    wrong(
        "last-plain-byte-of-two-fields-changed-without-the-checksum",
        claim,
        file.clone().flip(placed.plain.end - 1, 1),
    );
}

fn forms_and_lengths(cases: &mut Cases) {
    let record = |draft: &Draft, field: usize| draft.tensors[0].stored[field].records[0].clone();
    let mut draft = Draft::of([two_fields("w", 4096)]);
    let values = fields::values(Dtype::Bf16, &draft.tensors[0].data, 1);
    let mut palette = Record::palette(&lowest_palette(3), &values);
    // A palette record of 3 bits is always longer than the verbatim one. This one is cut.
    palette
        .body
        .truncate(record(&draft, 1).to_bytes(&[]).len() - 16);
    draft.tensors[0].stored[1].records[0] = palette;
    cases.reject(
        "palette-record-in-a-field-of-3-bits",
        Rule::RecordForm,
        "a huffman field has huffman and verbatim records",
        draft.forge(),
    );
    let mut draft = Draft::of([two_fields("w", 4096)]);
    let mut short = record(&draft, 1);
    assert_eq!(short.kind, 0);
    short.body.truncate(1536 - 16);
    draft.tensors[0].stored[1].records[0] = short;
    cases.reject(
        "verbatim-record-of-3-bits-16-bytes-too-short",
        Rule::RecordLength,
        "a verbatim record has the bits of its field for each weight",
        draft.forge(),
    );
}

fn padding_bits(cases: &mut Cases) {
    // 301 weights of an odd number of bits leave bits of the last byte.
    for width in [3, 5, 7] {
        let (dtype, number) = narrow(width);
        let used = 301 * width % 8;
        for (id, bit) in [("first", used), ("last", 7)] {
            let draft = verbatim_field(dtype, number).edit_record(|record| {
                *record.body.last_mut().expect("there are values") |= 1 << bit;
            });
            cases.reject(
                &format!("verbatim-record-of-{width}-bits-{id}-padding-bit"),
                Rule::RecordPadding,
                "the padding bits of a verbatim body are zero",
                draft.forge(),
            );
            cases.also(&["2"]);
        }
    }
}

fn patch_values(cases: &mut Cases) {
    for width in [2, 3, 4, 5, 7] {
        let (dtype, number) = narrow(width);
        let palette = lowest_palette(width);
        // All weights have the value 0 but the one at 300, which has a patch.
        let greatest = ((1u32 << width) - 1) as u8;
        let value = |i: usize| if i == 300 { greatest } else { 0 };
        let data = fields::random_data(dtype, "patch value", 1000, &[(number, &value)]);
        let tensor = || Tensor::flat("w", dtype, data.clone()).chunks(12);
        let huffman = tensor().huffman_field(number, palette, Lengths::single(0));
        for value in [greatest + 1, 255] {
            let edit = |record: &mut Record| record.patches[0].1 = value;
            let claim = "the value of a patch fits into the bits of its field";
            cases.reject(
                &format!("patch-with-{value}-in-{width}-bits"),
                Rule::PatchValue,
                claim,
                Draft::of([huffman.clone()]).edit_record(edit).forge(),
            );
            if width > 4 {
                let tensor = tensor().palette_field(number, palette);
                cases.reject_full(
                    &format!("palette-patch-with-{value}-in-{width}-bits"),
                    Rule::PatchValue,
                    claim,
                    Draft::of([tensor]).edit_record(edit).forge(),
                );
            }
        }
    }
}

/// Code lengths of entries that a palette of fewer than 16 does not have.
fn missing_entries(cases: &mut Cases) {
    for width in [2, 3] {
        let (dtype, number) = narrow(width);
        let entries = 1usize << width;
        let value = |i: usize| (i % 2) as u8;
        let data = fields::random_data(dtype, "missing", 2000, &[(number, &value)]);
        let tensor = Tensor::flat("w", dtype, data).chunks(12);
        // Values 0 and 1 have the codes 0 and 10; a further entry has 11, and no weight has it.
        let with = |entry: usize| {
            let mut lengths = Lengths([NONE; 16]);
            (lengths.0[0], lengths.0[1], lengths.0[entry]) = (1, 2, 2);
            Draft::of([tensor
                .clone()
                .huffman_field(number, lowest_palette(width), lengths)])
        };
        let kinds = with(2).tensors[0].stored[0].records[0].kind;
        assert_eq!((kinds, entries > 2), (1, true));
        for entry in [entries, 15] {
            cases.reject(
                &format!("code-of-entry-{entry}-of-{width}-bits"),
                Rule::CodeLength,
                "an entry that the palette does not have has no code",
                with(entry).forge(),
            );
        }
        cases.reject(
            &format!("code-lengths-of-0-behind-those-of-{width}-bits"),
            Rule::CodeLength,
            "the nibble of an entry that the palette does not have is 15, not 0",
            with(2)
                .edit_record(|record| {
                    record.code_lengths[entries / 2..].fill(0);
                })
                .forge(),
        );
    }
}

/// Records of another chunk, whose checksums are right.
fn exchanged(cases: &mut Cases) {
    let weights = Weights::skewed("exchanged fields", &PALETTE, 2 * 4096);
    let tensor = Tensor::huffman("w", 12, PALETTE, &weights, Lengths::skewed()).even_field(1);
    let mut draft = Draft::of([tensor]);
    draft.tensors[0].stored[1].records.swap(0, 1);
    cases.reject(
        "records-of-a-second-field-exchanged",
        Rule::TensorCrc,
        "records of another chunk in place of those of a second field are found by the tensor checksum",
        draft.forge(),
    );
    let file = Draft::of([super::constants(Dtype::Bf16, "w", 300)]).forge();
    let at = file.tensor(0).palettes.start;
    cases.reject(
        "constant-changed-with-its-checksum",
        Rule::TensorCrc,
        "the tensor checksum covers what the palette checksum covers",
        file.put(at, &[2]).stamp(),
    );
    let file = verbatim_field(Dtype::F8E4M3, 0).forge();
    let at = file.tensor(0).records[0].start + 16;
    cases.reject(
        "verbatim-value-of-4-bits-changed-with-its-checksum",
        Rule::TensorCrc,
        "the tensor checksum covers what the record checksums cover",
        file.flip(at, 0x10).stamp(),
    );
}
