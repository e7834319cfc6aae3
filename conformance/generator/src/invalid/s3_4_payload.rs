//! Section 3.4: offsets of payloads, and the zeros between payloads.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{huffman_tensor, raw};
use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;
use crate::weights::PALETTE;

pub(super) fn add(cases: &mut Cases) {
    raw_ends(cases);
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
    let claim = "a raw tensor ends behind its block checksums";
    wrong(
        "raw-payload-end-one-byte-late",
        claim,
        ends(file.clone(), 0, end + 1),
    );
    wrong(
        "raw-payload-end-four-bytes-late",
        claim,
        ends(file.clone(), 0, end + 4),
    );
    wrong(
        "raw-payload-end-a-plane-late",
        claim,
        ends(file.clone(), 0, end + 256),
    );
    wrong(
        "raw-payload-end-without-checksums",
        claim,
        ends(file.clone(), 0, end - 4),
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
        "empty-tensor-aligned-to-256",
        claim,
        ends(file.clone(), 1, end.next_multiple_of(256)),
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
        "coded-payload-end-before-its-exponent-plane",
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
        &[near.clone(), vec![Vast::Raw(1)]].concat(),
        Some(4),
    );
    add(
        "coded-payload-that-begins-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near, vec![Vast::Coded(1)]].concat(),
        Some(16),
    );
    let near = up_to(u64::MAX - 1000);
    add(
        "raw-data-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near.clone(), vec![Vast::Raw(1 << 20)]].concat(),
        Some(8_000),
    );
    add(
        "raw-checksums-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near.clone(), vec![Vast::Bytes(765)]].concat(),
        Some(4),
    );
    add(
        "raw-padding-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near.clone(), vec![Vast::Bytes(767)]].concat(),
        Some(4),
    );
    add(
        "sign-mantissa-plane-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near.clone(), vec![Vast::Coded(1 << 20)]].concat(),
        Some(16),
    );
    add(
        "exponent-plane-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[near, vec![Vast::Coded(700)]].concat(),
        Some(16),
    );
    // 62 chunks of 4096 weights have 248 bytes of record ends after the last multiple of 256, and
    // then padding.
    let planes = up_to(0u64.wrapping_sub(256 + 62 * 4096));
    add(
        "records-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[planes, vec![Vast::Coded(62 * 4096)]].concat(),
        Some(16),
    );
    let planes = up_to(0u64.wrapping_sub(256 + 100 * 4096));
    add(
        "record-ends-past-2-to-the-64",
        Rule::PayloadEnd,
        claim,
        &[planes, vec![Vast::Coded(100 * 4096)]].concat(),
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
        "coded-tensor-of-2-to-the-35-weights-that-ends-where-it-begins",
        Rule::PayloadEnd,
        "a sign-mantissa plane has a byte for each weight",
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
    /// This many BF16 weights in chunks of 4096, coded in records of 16 bytes.
    Coded(u64),
}

impl Vast {
    /// The end of the tensor, if the previous one ends at `before`.
    fn end(self, before: u128) -> u128 {
        let begin = before.next_multiple_of(256);
        let raw = |length: u128| begin + length.next_multiple_of(4) + 4 * length.div_ceil(65_536);
        match self {
            Vast::Raw(elements) => raw(8 * u128::from(elements)),
            Vast::Bytes(length) => raw(length.into()),
            Vast::Coded(weights) => {
                let plane = begin + u128::from(weights).next_multiple_of(256);
                let chunks = u128::from(weights).div_ceil(4096);
                (plane + 4 * chunks).next_multiple_of(16) + 16 * chunks
            }
        }
    }

    fn tensor(self, number: usize) -> Tensor {
        let name = format!("{number:02}");
        match self {
            Vast::Raw(elements) => Tensor::raw(&name, Dtype::U64, &[elements], vec![]),
            Vast::Bytes(length) => Tensor::raw(&name, Dtype::U8, &[length], vec![]),
            Vast::Coded(weights) => Tensor::raw(&name, Dtype::Bf16, &[weights], vec![]),
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
        let (payload_end, encoding, palette) = (
            at(entry::PAYLOAD_END),
            at(entry::ENCODING),
            at(entry::PALETTE),
        );
        forge = forge.put_u64(payload_end, end as u64);
        if matches!(vast, Vast::Coded(_)) {
            forge = forge.put(encoding, &[1, 12]).put(palette, &PALETTE);
        }
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
    let directory = (tensors.len() + 1) * (48 + 8 + 2);
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
    // P0 is 256 after header and directory. The payload parts are 3 bytes raw, 44 bytes for 300
    // weights, and record ends of 4 bytes padded to 16.
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
        ("behind-raw-data", first.data.end),
        ("between-two-payloads-first-byte", first.end),
        ("between-two-payloads-last-byte", coded.begin - 1),
        ("behind-sign-mantissa-bytes-first-byte", coded.begin + 300),
        (
            "behind-sign-mantissa-bytes-last-byte",
            coded.record_ends - 1,
        ),
        ("behind-record-ends-first-byte", coded.record_ends + 4),
        ("behind-record-ends-last-byte", coded.records[0].start - 1),
        ("behind-a-coded-payload", last.begin - 1),
        ("guard-first-byte", last.end),
        ("guard-last-byte", last.end + 63),
    ];
    let claim = "padding and guard are zero";
    for (place, at) in places {
        let forge = file.clone().flip(at, 0x10);
        cases.reject(&format!("padding-{place}"), Rule::Padding, claim, forge);
        cases.also(&["2"]);
    }
    let source = raw().with_source().forge();
    let behind_source = source.source().end;
    cases.reject(
        "padding-behind-the-source",
        Rule::Padding,
        claim,
        source.flip(behind_source, 1),
    );
    let empty = Draft::of([]).forge();
    cases.reject(
        "padding-of-a-file-without-tensors",
        Rule::Padding,
        claim,
        empty.clone().flip(64, 1),
    );
    cases.reject(
        "guard-of-a-file-without-tensors",
        Rule::Padding,
        claim,
        empty.flip(319, 1),
    );
    let longer = Draft::of([Tensor::bytes("r", b"12345".to_vec())]).forge();
    let end = longer.tensor(0).data.end;
    cases.reject(
        "padding-behind-raw-data-third-byte",
        Rule::Padding,
        claim,
        longer.flip(end + 2, 1),
    );
}
