//! Files that no canonical encoder writes: the records of the result depend on the weights alone.

use unweight_format::{Dtype, Encoding};

use super::{BOTH, transcode, transcode_to};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, HUFFMAN, Tensor};
use crate::record::{Record, symbols};
use crate::weights::{PALETTE, Weights};

const SECTIONS: [&str; 5] = ["11.3", "11.4", "11.5", "11.6", "11.7"];

pub(super) fn add(cases: &mut Cases) {
    let weights = weights();
    let huffman = |lengths| Tensor::huffman("w", 12, PALETTE, &weights, lengths);
    let with = |palette, record: &dyn Fn(&[u8]) -> Record| {
        Tensor::raw_weights("w", &weights)
            .chunks(12)
            .field(0, HUFFMAN, palette, |_, values| record(values))
    };
    // 5 does not occur; 120 does, and gets patches.
    let mut other = PALETTE;
    other[1..=8].copy_from_slice(&PALETTE[..8]);
    other[0] = 5;
    let writers = [
        (
            "exponents-with-another-code",
            "codes that are not optimal",
            huffman(Lengths::flat()),
        ),
        (
            "exponents-with-another-palette",
            "a palette with a value that does not occur",
            Tensor::huffman("w", 12, other, &weights, Lengths::skewed()),
        ),
        (
            "exponents-verbatim",
            "verbatim records where others are shorter",
            Tensor::raw_weights("w", &weights)
                .chunks(12)
                .verbatim_field(0, PALETTE),
        ),
        (
            "exponents-with-lone-patches",
            "patches with the value that is coded there, and with other values of the palette",
            with(PALETTE, &|values| patched(values, &[0, 7, 255])),
        ),
        (
            "exponents-with-a-lone-patch-at-the-end",
            "a patch at the last weight of a chunk, whose value is in the palette",
            with(PALETTE, &|values| {
                patched(values, &[values.len() as u16 - 1])
            }),
        ),
        (
            "exponents-with-any-surplus",
            "any values in the surplus of a short last step",
            with(PALETTE, &|values| {
                let lengths = Lengths::flat();
                let (mut entries, patches) = coded(values);
                for (i, entry) in entries.iter_mut().enumerate().skip(values.len()) {
                    *entry = (i % 16) as u8;
                }
                Record::huffman_of(lengths, &entries, patches)
            }),
        ),
        (
            "exponents-in-palette-records",
            "palette records",
            Tensor::palette("w", 12, other, &weights),
        ),
    ];
    let mut files = BOTH.map(|_| String::new());
    for (id, what, tensor) in writers {
        let claim = format!("a file of another encoder decodes: {what}");
        cases.accept(id, &["5"], &claim, &Draft::of([tensor]));
        let claim = format!(
            "the result depends on forms and weights alone, not on who wrote the file: {what}"
        );
        for (encoding, file) in BOTH.into_iter().zip(&mut files) {
            if file.is_empty() {
                *file = transcode(cases, id, encoding, &SECTIONS, &claim);
            } else {
                transcode_to(cases, id, encoding, &SECTIONS, &claim, file);
            }
        }
    }
    canonical(cases);
    longest(cases);
}

/// Files of a canonical encoder, there and back.
fn canonical(cases: &mut Cases) {
    let from = |encoding: Encoding, name: &str| format!("{name}-{encoding}-12-decodes");
    let (huffman, palette) = (Encoding::Huffman, Encoding::Palette);
    for name in ["types-of-64-bits", "types-of-16-and-32-bits"] {
        let first = cases.case(&from(huffman, name)).file.clone();
        let id = from(huffman, name);
        let claim = "every coded field of more than 4 bits gets the other encoding";
        transcode(cases, &id, palette, &SECTIONS, claim);
        let back = format!("{name}-huffman-12-to-palette-decodes");
        let claim = "transcoding back gives the first file, which was canonical";
        transcode_to(cases, &back, huffman, &SECTIONS, claim, &first);
        let claim = "a canonical file stays what it is in its own encoding";
        transcode_to(cases, &id, huffman, &SECTIONS, claim, &first);
    }
    // The forms are the same in both encodings.
    let files = BOTH.map(|encoding| cases.case(&from(encoding, "mixed-tensors")).file.clone());
    for (encoding, other, file) in [(huffman, palette, &files[1]), (palette, huffman, &files[0])] {
        let claim = "where the forms agree, the result is what encoding the source gives";
        let id = from(encoding, "mixed-tensors");
        transcode_to(cases, &id, other, &SECTIONS, claim, file);
    }
    for name in ["patches", "two-chunks-of-2-to-the-12"] {
        let claim = "weights outside the palette get patches, and a short last step a surplus";
        let files = BOTH.map(|encoding| cases.case(&from(encoding, name)).file.clone());
        transcode_to(
            cases,
            &from(huffman, name),
            palette,
            &SECTIONS,
            claim,
            &files[1],
        );
        transcode_to(
            cases,
            &from(palette, name),
            huffman,
            &SECTIONS,
            claim,
            &files[0],
        );
    }
    let claim = "a chunk is verbatim where its record would be longer";
    let id = from(palette, "verbatim-last-chunks");
    transcode(cases, &id, huffman, &SECTIONS, claim);
}

/// A verbatim record of 65,552 bytes, which is the longest of any. Other records of the chunk would
/// have more than 200,000 bytes. The other fields are constant, so that the tensor stays coded.
fn longest(cases: &mut Cases) {
    let weights: Vec<u64> = (0..65_536).map(|i| (i * 7 % 256) << 7).collect();
    let data = crate::fields::data(Dtype::Bf16, &weights);
    let tensor = Tensor::flat("w", Dtype::Bf16, data)
        .chunks(16)
        .verbatim_field(0, PALETTE)
        .constant_field(1)
        .constant_field(2);
    let id = "verbatim-record-of-65552-bytes";
    let claim = "the longest record has 65,552 bytes";
    cases.accept(id, &["5.1", "5.4"], claim, &Draft::of([tensor]));
    let claim = "a chunk is verbatim where its record would be longer, in more than 16 bits too";
    for encoding in BOTH {
        transcode(cases, id, encoding, &["11.7"], claim);
    }
}

/// Weights of two chunks. Each has a few exponents outside of the palettes.
fn weights() -> Weights {
    let mut weights = Weights::skewed("transcoded", &PALETTE, 4096 + 700);
    for (i, position) in [3, 100, 2000, 4100, 4500].into_iter().enumerate() {
        weights.exponents[position] = 30 + i as u8;
    }
    weights
}

fn coded(values: &[u8]) -> (Vec<u8>, Vec<(u16, u8)>) {
    let entry = |value: u8| PALETTE.iter().position(|&of_palette| of_palette == value);
    symbols(values, 0, entry)
}

/// A huffman record with patches at these positions that are not needed. At even ones another value
/// is coded.
fn patched(values: &[u8], positions: &[u16]) -> Record {
    let (mut entries, mut patches) = coded(values);
    for &position in positions {
        let at = usize::from(position);
        patches.push((position, values[at]));
        if at.is_multiple_of(2) {
            entries[at] = (entries[at] + 5) % 16;
        }
    }
    patches.sort_unstable();
    patches.dedup();
    Record::huffman_of(Lengths::flat(), &entries, patches)
}
