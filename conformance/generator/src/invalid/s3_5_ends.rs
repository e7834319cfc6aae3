//! Section 3.5: ends of payloads.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{big, constants, huffman_tensor, raw, two_fields};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

pub(super) fn add(cases: &mut Cases) {
    raw_ends(cases);
    aligned_ends(cases);
    constant_ends(cases);
    coded_ends(cases);
}

/// Writes another payload end of tensor `number`. If it is the last tensor, the file ends 64 zeros
/// after that end.
fn ends(forge: Forge, number: usize, end: u64) -> Forge {
    let at = forge.entry(number, entry::PAYLOAD_END);
    let is_last = forge.u64_at(at) as usize + 64 == forge.len();
    let forge = forge.put_u64(at, end);
    let length = end.saturating_add(64);
    if !is_last || !(256..=1 << 20).contains(&length) {
        return forge.stamp_directory();
    }
    let longer = length as usize;
    let zeros = vec![0; longer.saturating_sub(forge.len())];
    forge
        .append(&zeros)
        .cut(longer)
        .state_length()
        .stamp_directory()
}

fn raw_ends(cases: &mut Cases) {
    let file = raw().forge();
    let end = file.tensor(0).end as u64;
    let begin = file.tensor(0).begin as u64;
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::PayloadEnd, claim, forge);
    };
    let claim = "a raw tensor of at most 65,536 bytes ends with its data";
    wrong(
        "raw-payload-end-one-byte-late",
        claim,
        ends(file.clone(), 0, end + 1),
    );
    wrong(
        "raw-payload-end-one-byte-early",
        claim,
        ends(file.clone(), 0, end - 1),
    );
    wrong(
        "raw-payload-end-on-a-multiple-of-16",
        claim,
        ends(file.clone(), 0, end + 13),
    );
    wrong(
        "raw-payload-end-with-a-block-checksum",
        claim,
        ends(file.clone(), 0, end + 5),
    );
    wrong(
        "raw-payload-end-where-it-begins",
        claim,
        ends(file.clone(), 0, begin),
    );
    wrong(
        "raw-payload-end-of-0",
        claim,
        file.clone()
            .put_u64(file.entry(0, entry::PAYLOAD_END), 0)
            .stamp_directory(),
    );
    wrong(
        "raw-payload-end-of-2-to-the-64-minus-1",
        claim,
        file.clone()
            .put_u64(file.entry(0, entry::PAYLOAD_END), u64::MAX)
            .stamp_directory(),
    );
    wrong(
        "raw-payload-end-above-2-to-the-32",
        "a payload end is a number of 64 bits",
        file.clone()
            .put_u64(file.entry(0, entry::PAYLOAD_END), end + (1 << 32))
            .stamp_directory(),
    );
    let zeros_last = Draft::of([Tensor::bytes("r", vec![1, 2, 3, 4, 0, 0, 0, 0])]).forge();
    let early = zeros_last.tensor(0).end as u64 - 4;
    wrong(
        "raw-payload-end-four-bytes-early-in-zeros",
        "the guard is no part of the data, whose last bytes are zeros too",
        ends(zeros_last, 0, early),
    );
    let two = Draft::of([
        Tensor::bytes("a", vec![1; 8]),
        Tensor::bytes("b", vec![2; 8]),
    ])
    .forge();
    let (first, second) = (two.tensor(0).end as u64, two.tensor(1).end as u64);
    wrong(
        "payloads-that-overlap",
        "each payload begins where the one before it ended",
        ends(two.clone(), 1, first),
    );
    wrong(
        "first-payload-end-behind-the-second",
        "each payload begins where the one before it ended",
        ends(two.clone(), 0, second),
    );
    let empty = |dtype| {
        Draft::of([
            Tensor::bytes("a", vec![1; 8]),
            Tensor::raw("e", dtype, &[0], vec![]),
        ])
        .forge()
    };
    let claim = "a tensor with no bytes ends where the one before it ends";
    let file = empty(Dtype::U8);
    let end = file.tensor(1).end as u64;
    wrong(
        "empty-tensor-aligned-to-16",
        claim,
        ends(file.clone(), 1, end.next_multiple_of(16)),
    );
    wrong(
        "empty-tensor-with-a-payload-end-of-0",
        claim,
        file.clone()
            .put_u64(file.entry(1, entry::PAYLOAD_END), 0)
            .stamp_directory(),
    );
    wrong(
        "empty-tensor-with-four-bytes",
        claim,
        ends(file.clone(), 1, end + 4),
    );
}

/// The alignment of small and large tensors, and their block checksums.
fn aligned_ends(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::PayloadEnd, claim, forge);
    };
    let file = Draft::of([
        Tensor::bytes("a", vec![1; 8]),
        Tensor::bytes("b", vec![2; 8]),
    ])
    .forge();
    let first = file.tensor(0).end as u64;
    let claim = "the payload of a tensor of less than 65,536 bytes begins on a multiple of 16";
    wrong(
        "small-tensor-aligned-to-256",
        claim,
        ends(file.clone(), 1, first.next_multiple_of(256) + 8),
    );
    wrong("small-tensor-not-aligned", claim, ends(file, 1, first + 8));
    let large = |length: usize| {
        let data = (0..length).map(|i| (i % 251) as u8).collect();
        Draft::of([Tensor::bytes("a", vec![1; 8]), Tensor::bytes("b", data)]).forge()
    };
    let file = large(65_536);
    let first = file.tensor(0).end as u64;
    wrong(
        "tensor-of-65536-bytes-aligned-to-16",
        "the payload of a tensor of 65,536 bytes begins on a multiple of 256",
        ends(file, 1, first.next_multiple_of(16) + 65_536),
    );
    let file = large(65_535);
    let first = file.tensor(0).end as u64;
    wrong(
        "tensor-of-65535-bytes-aligned-to-256",
        claim,
        ends(file, 1, first.next_multiple_of(256) + 65_535),
    );

    let file = big().forge();
    let end = file.tensor(0).end as u64;
    let claim = "a plane of more than 65,536 bytes is followed by its block checksums";
    wrong(
        "raw-payload-end-without-block-checksums",
        claim,
        ends(file.clone(), 0, file.tensor(0).plain.end as u64),
    );
    wrong(
        "raw-payload-end-with-one-block-checksum-of-two",
        claim,
        ends(file.clone(), 0, end - 4),
    );
    wrong(
        "raw-payload-end-with-three-block-checksums-of-two",
        claim,
        ends(file, 0, end + 4),
    );
}

fn constant_ends(cases: &mut Cases) {
    let file = Draft::of([constants(Dtype::Bf16, "w", 300)]).forge();
    let (plain, palettes) = (
        file.tensor(0).plain.clone(),
        file.tensor(0).palettes.clone(),
    );
    let mut wrong = |id: &str, claim: &str, end: usize| {
        let file = ends(file.clone(), 0, end as u64);
        cases.reject(id, Rule::PayloadEnd, claim, file);
    };
    let claim = "a tensor with constants and no records ends with its palettes";
    wrong("constant-payload-end-without-palettes", claim, plain.end);
    wrong(
        "constant-payload-end-with-one-palette-of-two",
        claim,
        palettes.end - 16,
    );
    wrong(
        "constant-payload-end-one-byte-behind-each-constant",
        claim,
        palettes.start + 2,
    );
    wrong(
        "constant-payload-end-16-bytes-late",
        claim,
        palettes.end + 16,
    );
    wrong(
        "constant-payload-end-with-the-constant-field-in-the-plane",
        "the plain plane has the plain bits alone",
        palettes.end - plain.len().next_multiple_of(16) + 608,
    );
}

fn coded_ends(cases: &mut Cases) {
    let file = Draft::of([huffman_tensor("w", 300)]).forge();
    let placed = file.tensor(0).clone();
    let records = placed.records[0].start as u64;
    let end = placed.end as u64;
    let mut wrong = |id: &str, claim: &str, end: u64| {
        cases.reject(id, Rule::PayloadEnd, claim, ends(file.clone(), 0, end));
    };
    wrong(
        "coded-payload-end-one-byte-late",
        "records are multiples of 16 bytes",
        end + 1,
    );
    wrong(
        "coded-payload-end-eight-bytes-late",
        "records are multiples of 16 bytes",
        end + 8,
    );
    wrong(
        "coded-payload-end-eight-bytes-early",
        "records are multiples of 16 bytes",
        end - 8,
    );
    let claim = "a record has at least 16 bytes";
    wrong("coded-payload-without-records", claim, records);
    wrong("coded-payload-end-before-its-records", claim, records - 16);
    wrong(
        "coded-payload-end-before-its-palettes",
        claim,
        placed.begin as u64 + 16,
    );
    // The longest record of 300 weights has 320 bytes.
    let claim = "all records together are at most as long as verbatim ones";
    wrong(
        "coded-payload-longer-than-verbatim-records",
        claim,
        records + 336,
    );
    wrong(
        "coded-payload-end-of-2-to-the-64-minus-16",
        claim,
        0u64.wrapping_sub(16),
    );
    let fields = Draft::of([two_fields("w", 300)]).forge();
    let records = fields.tensor(0).records[0].start as u64;
    cases.reject(
        "two-coded-fields-with-room-for-one-record",
        Rule::PayloadEnd,
        "every chunk has a record of at least 16 bytes for each coded field",
        ends(fields.clone(), 0, records + 16),
    );
    // The longest records have 320 and 16 + 113 bytes, completed to 144.
    cases.reject(
        "two-coded-fields-longer-than-their-verbatim-records",
        Rule::PayloadEnd,
        "the greatest length of a record is that of its field's width",
        ends(fields, 0, records + 320 + 144 + 16),
    );
    let two = Draft::of([huffman_tensor("w", 4096 + 300)]).forge();
    let records = two.tensor(0).records[0].start as u64;
    cases.reject(
        "two-chunks-with-room-for-one-record",
        Rule::PayloadEnd,
        "every chunk has a record of at least 16 bytes",
        ends(two.clone(), 0, records + 16),
    );
    cases.reject(
        "short-last-chunk-with-the-length-of-a-full-one",
        Rule::PayloadEnd,
        "the greatest length of the last record is that of its own number of weights",
        ends(two.clone(), 0, records + 4112 + 336),
    );
}
