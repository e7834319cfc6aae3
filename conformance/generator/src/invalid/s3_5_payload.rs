//! Section 3.5: offsets of payloads, and the zeros in and between payloads.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{big, constants, huffman_tensor, raw, two_fields};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::fields;
use crate::forge::Forge;

pub(super) fn add(cases: &mut Cases) {
    raw_ends(cases);
    aligned_ends(cases);
    constant_ends(cases);
    coded_ends(cases);
    past_64_bits(cases);
    padding(cases);
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

/// Entries whose payloads would fill 2^64 bytes, in a file without these payloads.
fn past_64_bits(cases: &mut Cases) {
    let mut add = |id: &str, rule, claim: &str, tensors: &[Vast], last_end: Option<u64>| {
        cases.reject(id, rule, claim, vast(tensors, last_end));
    };
    let exabytes = |count| vec![Vast::Raw(1 << 56); count];
    let claim = "nothing is allocated for payloads that the file is too short for";
    add(
        "raw-payload-of-2-to-the-59-bytes-in-a-tiny-file",
        Rule::FileLength,
        claim,
        &exabytes(1),
        None,
    );
    cases_of_coded(&mut add);

    let claim = "payload ends are exact: past 64 bits none fits";
    // There are 31 tensors, and one whose end wraps around to the bytes of this file.
    let around = around(&exabytes(31));
    add(
        "raw-payload-end-that-wraps-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[exabytes(31), vec![around]].concat(),
        None,
    );
    let up_to = |end: u64| {
        let mut tensors = exabytes(31);
        tensors.push(reaching(&tensors, end));
        tensors
    };
    let near = up_to(u64::MAX - 100);
    add(
        "raw-payload-that-begins-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near.clone(), vec![Vast::Bytes(65_536)]].concat(),
        Some(4),
    );
    add(
        "coded-payload-that-begins-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near, vec![Vast::Coded(32_768)]].concat(),
        Some(16),
    );
    // At offset 0 the last tensor would be header, directory and zeros, with the checksums of two
    // blocks at its end.
    add(
        "raw-payload-that-begins-past-2-to-the-64-and-fits-from-0",
        Rule::PayloadEnd,
        claim,
        &[up_to(u64::MAX - 100), vec![Vast::Bytes(65_537)]].concat(),
        Some(65_548),
    );
    // The last tensor begins on a multiple of 256, and its plane ends `left` bytes before 2^64.
    let near = up_to(u64::MAX - 200_000);
    let left = |left: u64| {
        let begin = end_of(&near).next_multiple_of(256);
        ((1u128 << 64) - begin) as u64 - left
    };
    let mut past = |id: &str, tensor: Vast, last_end: u64| {
        let tensors = [near.clone(), vec![tensor]].concat();
        add(id, Rule::PayloadEnd, claim, &tensors, Some(last_end));
    };
    past("raw-data-past-2-to-the-64", Vast::Bytes(left(0) + 8), 8_000);
    past("raw-padding-past-2-to-the-64", Vast::Bytes(left(3)), 4);
    past("raw-checksums-past-2-to-the-64", Vast::Bytes(left(8)), 4);
    past("plain-plane-past-2-to-the-64", Vast::Coded(left(0) + 8), 16);
    past("palettes-past-2-to-the-64", Vast::Coded(left(8)), 16);
    past("record-ends-past-2-to-the-64", Vast::Coded(left(256)), 16);
    // 59 chunks of 4096 weights have 236 bytes of record ends after a palette, and then padding.
    let near = up_to(0u64.wrapping_sub(256 + 59 * 4096));
    add(
        "records-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near, vec![Vast::Coded(59 * 4096)]].concat(),
        Some(16),
    );
    add(
        "guard-past-2-to-the-64",
        Rule::FileLength,
        "the file length is exact: past 64 bits none fits",
        &up_to(u64::MAX - 15),
        None,
    );
}

fn cases_of_coded(add: &mut impl FnMut(&str, Rule, &str, &[Vast], Option<u64>)) {
    let claim = "nothing is allocated for payloads that the file is too short for";
    add(
        "coded-payload-of-2-to-the-35-weights-in-a-tiny-file",
        Rule::FileLength,
        claim,
        &[Vast::Coded(1 << 35)],
        None,
    );
    add(
        "constant-payload-of-2-to-the-57-bytes-in-a-tiny-file",
        Rule::FileLength,
        claim,
        &[Vast::Constant(1 << 56)],
        None,
    );
    add(
        "coded-tensor-of-2-to-the-35-weights-that-ends-where-it-begins",
        Rule::PayloadEnd,
        "a plain plane has the plain bits of all weights",
        &[Vast::Coded(1 << 35)],
        Some(256),
    );
}

/// A tensor with a huge stated size and no bytes in the file.
#[derive(Clone, Copy)]
enum Vast {
    /// This many elements of 8 bytes.
    Raw(u64),
    /// This many bytes.
    Bytes(u64),
    /// This many BF16 weights in chunks of 4096, the exponents coded in records of 16 bytes.
    Coded(u64),
    /// This many BF16 weights with constant exponents.
    Constant(u64),
}

impl Vast {
    /// The end of the tensor, if the previous one ends at `before`.
    fn end(self, before: u128) -> u128 {
        let (bytes, plane) = match self {
            Vast::Raw(elements) => (8 * u128::from(elements), 8 * u128::from(elements)),
            Vast::Bytes(length) => (length.into(), length.into()),
            Vast::Coded(weights) | Vast::Constant(weights) => {
                (2 * u128::from(weights), weights.into())
            }
        };
        let alignment = if bytes < 65_536 { 16 } else { 256 };
        let plane_end = before.next_multiple_of(alignment) + plane;
        let checked_end = match plane {
            0..=65_536 => plane_end,
            _ => plane_end.next_multiple_of(4) + 4 * plane.div_ceil(65_536),
        };
        match self {
            Vast::Raw(_) | Vast::Bytes(_) => checked_end,
            Vast::Constant(_) => checked_end.next_multiple_of(alignment) + 16,
            Vast::Coded(weights) => {
                let chunks = u128::from(weights).div_ceil(4096);
                let record_ends = plane_end.next_multiple_of(alignment) + 16;
                (record_ends + 4 * chunks).next_multiple_of(16) + 16 * chunks
            }
        }
    }

    fn tensor(self, number: usize) -> Tensor {
        let name = format!("{number:02}");
        match self {
            Vast::Raw(elements) => Tensor::raw(&name, Dtype::U64, &[elements], vec![]),
            Vast::Bytes(length) => Tensor::raw(&name, Dtype::U8, &[length], vec![]),
            Vast::Coded(weights) | Vast::Constant(weights) => {
                Tensor::raw(&name, Dtype::Bf16, &[weights], vec![])
            }
        }
    }
}

/// A file with these tensors' entries. The last one ends at `last_end` if given, otherwise at its
/// computed end in 64 bits.
fn vast(tensors: &[Vast], last_end: Option<u64>) -> Forge {
    let draft: Vec<Tensor> = (0..)
        .zip(tensors)
        .map(|(number, vast)| vast.tensor(number))
        .collect();
    let mut forge = Draft::of(draft).forge();
    let mut end = forge.tensor(0).begin as u128;
    for (number, vast) in tensors.iter().enumerate() {
        end = vast.end(end);
        let at = |field| forge.entry(number, field);
        let (payload_end, chunk_size, forms) = (
            at(entry::PAYLOAD_END),
            at(entry::CHUNK_SIZE),
            at(entry::FORMS),
        );
        forge = forge.put_u64(payload_end, end as u64);
        forge = match vast {
            Vast::Coded(_) => forge.put(chunk_size, &[12]).put(forms, &[1]),
            Vast::Constant(_) => forge.put(forms, &[3]),
            Vast::Raw(_) | Vast::Bytes(_) => forge,
        };
    }
    let last = forge.entry(tensors.len() - 1, entry::PAYLOAD_END);
    if let Some(end) = last_end {
        forge = forge.put_u64(last, end);
    }
    // If the end wraps in 64 bits to just after this file, the file gets that length.
    let wrapped = forge.u64_at(last).wrapping_add(64);
    if let Some(zeros) = wrapped
        .checked_sub(forge.len() as u64)
        .filter(|&zeros| zeros < 1 << 16)
    {
        forge = forge.append(&vec![0; zeros as usize]).state_length();
    }
    forge.stamp_directory()
}

/// The end of the last of these tensors, for a directory with one more entry.
fn end_of(tensors: &[Vast]) -> u128 {
    let directory = (tensors.len() + 1) * (40 + 8 + 2);
    let begin = (64 + directory.next_multiple_of(8) as u128).next_multiple_of(256);
    tensors.iter().fold(begin, |end, vast| vast.end(end))
}

/// A raw tensor that ends at `end` or less than 16 bytes before it.
fn reaching(tensors: &[Vast], end: u64) -> Vast {
    let before = end_of(tensors);
    let (mut least, mut most) = (0u64, 1 << 56);
    while least < most {
        let middle = least + (most - least).div_ceil(2);
        match Vast::Raw(middle).end(before) <= u128::from(end) {
            true => least = middle,
            false => most = middle - 1,
        }
    }
    Vast::Raw(least)
}

/// A raw tensor whose end is 2^64 plus a position a few bytes after P0.
fn around(tensors: &[Vast]) -> Vast {
    let before = end_of(tensors);
    let target = (1 << 64) + end_of(&tensors[..0]).max(4096);
    let mut elements = (1u64 << 56) - (1 << 50);
    let mut step = 1 << 50;
    while step > 0 {
        if Vast::Raw(elements + step).end(before) <= target {
            elements += step;
        } else {
            step /= 2;
        }
    }
    Vast::Raw(elements)
}

fn padding(cases: &mut Cases) {
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
