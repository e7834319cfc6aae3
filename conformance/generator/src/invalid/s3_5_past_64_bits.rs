//! Section 3.5: payloads whose offsets would pass 2^64.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use crate::case::Cases;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;

/// Entries whose payloads would fill 2^64 bytes, in a file without these payloads.
pub(super) fn add(cases: &mut Cases) {
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
