//! Section 3.5: block checksums, palettes and record ends.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{big, constants, huffman, huffman_tensor, palette, put_entry, two_fields};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::fields;
use crate::forge::Forge;
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    blocks(cases);
    palette_checksums(cases);
    palette_values(cases);
    narrow_palettes(cases);
    record_ends(cases);
}

fn blocks(cases: &mut Cases) {
    let file = big().forge();
    let placed = file.tensor(0).clone();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::BlockCrc, claim, forge);
        cases.also(&["8"]);
    };
    let claim = "every block of a plane of more than 65,536 bytes is covered by its checksum";
    wrong(
        "block-changed-without-its-checksum",
        claim,
        file.clone().flip(placed.plain.start, 1),
    );
    wrong(
        "block-checksum-wrong-by-a-bit",
        claim,
        file.clone().flip(placed.checksums + 3, 0x80),
    );
    wrong(
        "block-checksum-zero",
        "a checksum of zero is no way to leave it out",
        file.clone().put_u32(placed.checksums, 0),
    );
    wrong(
        "last-block-changed-without-its-checksum",
        "a shorter last block has its own checksum",
        file.clone().flip(placed.plain.end - 1, 1),
    );
    wrong(
        "last-block-checksum-wrong-by-a-bit",
        "a shorter last block has its own checksum",
        file.clone().flip(placed.checksums + 4, 1),
    );
    wrong(
        "block-checksums-exchanged",
        "block checksums stand in the order of the blocks",
        {
            let (first, second) = (
                file.u32_at(placed.checksums),
                file.u32_at(placed.checksums + 4),
            );
            file.clone()
                .put_u32(placed.checksums, second)
                .put_u32(placed.checksums + 4, first)
        },
    );
    let file = Draft::of([constants(Dtype::Bf16, "w", 70_000)]).forge();
    let at = file.tensor(0).plain.end - 1;
    wrong(
        "block-beside-a-constant-changed-without-its-checksum",
        "a plane of more than 65,536 bytes has block checksums if there are no records",
        file.flip(at, 1),
    );
}

fn palette_checksums(cases: &mut Cases) {
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::PaletteCrc, claim, forge);
        cases.also(&["8"]);
    };
    let claim = "all palettes of a tensor are covered by its palette checksum";
    let file = huffman().forge();
    let at = file.tensor(0).palettes.clone();
    // No weight has this exponent.
    wrong(
        "palette-changed-without-its-checksum",
        claim,
        file.clone().put(at.start, &[PALETTE[0] - 1]),
    );
    let checksum = file.entry(0, entry::PALETTE_CHECKSUM);
    wrong(
        "palette-checksum-wrong-by-a-bit",
        claim,
        file.clone().flip(checksum + 2, 2).stamp_directory(),
    );
    wrong(
        "palette-checksum-zero",
        "a checksum of zero is no way to leave it out",
        put_entry(file, entry::PALETTE_CHECKSUM, &[0; 4]),
    );
    let file = Draft::of([constants(Dtype::Bf16, "w", 300)]).forge();
    let at = file.tensor(0).palettes.clone();
    wrong(
        "constant-changed-without-its-checksum",
        "the value of a constant field is covered by the palette checksum",
        file.clone().flip(at.start, 1),
    );
    let of_first = unweight_format::crc32(&file.bytes()[at.start..at.start + 16]);
    wrong(
        "palette-checksum-of-the-first-palette-alone",
        claim,
        put_entry(file, entry::PALETTE_CHECKSUM, &of_first.to_le_bytes()),
    );
}

fn palette_values(cases: &mut Cases) {
    let claim = "the palette is strictly ascending";
    let first = PALETTE[0];
    let with = |draft: Draft, offset: usize, bytes: &[u8]| {
        let file = draft.forge();
        let at = file.tensor(0).palettes.start + offset;
        file.put(at, bytes).stamp()
    };
    for (id, offset, bytes) in [
        ("first-two-equal", 0, vec![first + 1]),
        ("last-two-equal", 15, vec![first + 14]),
        ("two-exchanged", 5, vec![first + 6, first + 5]),
        ("of-zeros", 0, vec![0; 16]),
        ("that-wraps-to-0", 0, (248..=255).chain(0..8).collect()),
        ("completed-with-zeros", 12, vec![0; 4]),
    ] {
        let file = with(huffman(), offset, &bytes);
        cases.reject(&format!("palette-{id}"), Rule::PaletteValues, claim, file);
    }
    cases.reject_full(
        "palette-of-a-palette-tensor-not-ascending",
        Rule::PaletteValues,
        claim,
        with(palette(), 0, &[first + 1]),
    );
    let constant = || Draft::of([constants(Dtype::Bf16, "w", 300)]);
    for (id, offset) in [("first", 1), ("last", 15)] {
        cases.reject(
            &format!("constant-with-a-{id}-byte-behind-its-value"),
            Rule::PaletteValues,
            "the value of a constant field is followed by 15 zeros",
            with(constant(), offset, &[1]),
        );
        cases.also(&["2"]);
    }
    // The second palette is that of a field of 4 bits.
    for value in [16, 255] {
        cases.reject(
            &format!("constant-of-{value}-in-4-bits"),
            Rule::PaletteValues,
            "a constant fits into the bits of its field",
            with(constant(), 16, &[value]),
        );
    }
}

/// Palettes of fields of less than 8 bits.
fn narrow_palettes(cases: &mut Cases) {
    // The exponent of F16 has 5 bits; the palette may have any 16 of its 32 values.
    let palette: [u8; 16] = std::array::from_fn(|i| 16 + i as u8);
    let data = fields::random_data(
        Dtype::F16,
        "five bits",
        300,
        &[(0, &|i| 24 + (i % 2) as u8)],
    );
    let mut lengths = Lengths([crate::code::NONE; 16]);
    lengths.0[8..10].copy_from_slice(&[1, 1]);
    let tensor = Tensor::flat("w", Dtype::F16, data).chunks(12);
    let file = Draft::of([tensor.huffman_field(0, palette, lengths)]).forge();
    let last = file.tensor(0).palettes.start + 15;
    for value in [32, 255] {
        cases.reject(
            &format!("palette-with-{value}-in-5-bits"),
            Rule::PaletteValues,
            "the values of a palette fit into the bits of their field",
            file.clone().put(last, &[value]).stamp(),
        );
    }
    for width in [2, 3, 4] {
        // Each field has all its values, in codes of the same length.
        let (dtype, number) = super::narrow(width);
        let data = fields::random_data(dtype, "narrow", 4096, &[]);
        let draft = Draft::of([Tensor::flat("w", dtype, data).chunks(12).even_field(number)]);
        let file = draft.forge();
        let at = file.tensor(0).palettes.start;
        let entries = 1 << width;
        let mut wrong = |id: &str, claim: &str, at: usize, bytes: &[u8]| {
            let file = file.clone().put(at, bytes).stamp();
            cases.reject(id, Rule::PaletteValues, claim, file);
        };
        let claim = "a field of at most 4 bits has all its values in its palette";
        wrong(
            &format!("palette-of-{width}-bits-with-a-value-too-great"),
            claim,
            at + entries - 1,
            &[entries as u8],
        );
        if entries < 16 {
            wrong(
                &format!("palette-of-{width}-bits-that-goes-on"),
                "a palette of fewer than 16 entries is filled with zeros",
                at + entries,
                &[entries as u8],
            );
            wrong(
                &format!("palette-of-{width}-bits-with-a-last-byte"),
                "a palette of fewer than 16 entries is filled with zeros",
                at + 15,
                &[1],
            );
        }
    }
}

fn record_ends(cases: &mut Cases) {
    // The three chunks have 4096, 4096 and 300 weights.
    let draft = Draft::of([huffman_tensor("w", 2 * 4096 + 300)]);
    let file = draft.forge();
    let at = file.tensor(0).record_ends;
    let end = |number: usize| file.u32_at(at + 4 * number);
    let put = |number: usize, value: u32| file.clone().put_u32(at + 4 * number, value);
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::RecordEnds, claim, forge);
    };
    let claim = "record ends are strictly ascending";
    wrong("first-record-end-0", claim, put(0, 0));
    wrong("record-end-equal-to-the-one-before", claim, put(1, end(0)));
    wrong("record-end-below-the-one-before", claim, put(1, end(0) - 1));
    wrong(
        "last-record-end-equal-to-the-one-before",
        claim,
        put(2, end(1)),
    );
    let claim = "the last record ends with the payload";
    wrong(
        "last-record-end-before-the-payload-ends",
        claim,
        put(2, end(2) - 1),
    );
    wrong(
        "last-record-end-behind-the-payload",
        claim,
        put(2, end(2) + 1),
    );
    wrong(
        "last-record-end-of-2-to-the-32-minus-1",
        claim,
        put(2, u32::MAX),
    );
    wrong(
        "last-record-end-that-wraps-2-to-the-32-in-bytes",
        "record ends count units of 16 bytes, in more than 32 bits",
        put(2, end(2) + (1 << 28)),
    );
    wrong("only-record-end-0", "record ends are strictly ascending", {
        let file = huffman().forge();
        let at = file.tensor(0).record_ends;
        file.put_u32(at, 0)
    });
    wrong(
        "first-record-end-behind-the-payload",
        "a record end behind the payload is found before it is used",
        put(0, end(2) + 1),
    );

    let file = huffman().forge();
    let end = file.tensor(0).end;
    let at = file.entry(0, entry::PAYLOAD_END);
    let hidden = file
        .clone()
        .cut(end)
        .append(b"hidden from view")
        .append(&[0; 64]);
    cases.reject(
        "bytes-hidden-behind-the-last-record",
        Rule::RecordEnds,
        "the last record ends with the payload: nothing stands behind it",
        hidden
            .put_u64(at, end as u64 + 16)
            .state_length()
            .stamp_directory(),
    );

    // The two chunks of two fields have four records.
    let draft = Draft::of([two_fields("w", 4096 + 300)]);
    let file = draft.forge();
    let at = file.tensor(0).record_ends;
    let second = file.u32_at(at + 4);
    cases.reject(
        "record-end-of-a-second-field-equal-to-the-first",
        Rule::RecordEnds,
        "the records of all fields of a chunk ascend",
        file.clone().put_u32(at + 4, file.u32_at(at)),
    );
    cases.reject(
        "record-end-of-a-second-chunk-equal-to-the-one-before",
        Rule::RecordEnds,
        "the records of all fields and chunks ascend",
        file.clone().put_u32(at + 8, second),
    );

    too_long(cases);
}

fn too_long(cases: &mut Cases) {
    // The contents need more than 4096 verbatim exponents. The second record makes up for it.
    let mut weights = Weights::skewed("too long", &PALETTE, 2 * 4096);
    for (i, exponent) in weights.exponents.iter_mut().enumerate() {
        *exponent = match i {
            0..4096 => PALETTE[7 + i % 2],
            _ => PALETTE[15],
        };
    }
    let claim = "no record is longer than the verbatim record of its own chunk";
    let mut draft = Draft::of([Tensor::huffman(
        "w",
        12,
        PALETTE,
        &weights,
        Lengths::skewed(),
    )]);
    let record = Record::huffman(Lengths::skewed(), &PALETTE, &weights.exponents[..4096]);
    assert_eq!(record.to_bytes(&[]).len(), 80 + 4096);
    draft = draft.edit_record(|verbatim| *verbatim = record);
    cases.reject(
        "huffman-record-longer-than-verbatim",
        Rule::RecordTooLong,
        claim,
        draft.forge(),
    );
    cases.also(&["5.1"]);
    for exponent in &mut weights.exponents[..700] {
        *exponent = 3;
    }
    let mut draft = Draft::of([Tensor::palette("w", 12, PALETTE, &weights)]);
    let record = Record::palette(&PALETTE, &weights.exponents[..4096]);
    assert_eq!(record.to_bytes(&[]).len(), 4176);
    draft = draft.edit_record(|verbatim| *verbatim = record);
    cases.reject_full(
        "palette-record-longer-than-verbatim",
        Rule::RecordTooLong,
        claim,
        draft.forge(),
    );
    cases.also(&["5.1"]);
    // The last chunk is short and its record is too long. The first record is shorter than allowed,
    // so the sum of lengths is within limits.
    let mut draft = Draft::of([Tensor::huffman(
        "w",
        12,
        PALETTE,
        &short_last(),
        Lengths::skewed(),
    )]);
    let last = Record::huffman(Lengths::skewed(), &PALETTE, &short_last().exponents[4096..]);
    assert!(last.to_bytes(&[]).len() > 32);
    draft.tensors[0].stored[0].records[1] = last;
    cases.reject(
        "last-record-longer-than-verbatim",
        Rule::RecordTooLong,
        claim,
        draft.forge(),
    );
    cases.also(&["5.1"]);
    too_long_for_its_field(cases);
}

/// The second field, of 3 bits, has records that are too long for it and not for the first one.
fn too_long_for_its_field(cases: &mut Cases) {
    let values = |draft: &Draft| {
        let tensor = &draft.tensors[0];
        fields::values(tensor.dtype, &tensor.data, 1)
    };
    let mut draft = Draft::of([two_fields("w", 4096)]);
    let values = values(&draft);
    let mut record = Record::verbatim_of(&values, 3);
    record.body = values;
    draft.tensors[0].stored[1].records[0] = record;
    cases.reject(
        "verbatim-record-of-3-bits-with-a-byte-for-each-value",
        Rule::RecordTooLong,
        "the greatest length of a record is that of its field's width",
        draft.forge(),
    );
    cases.also(&["5.1"]);
}

/// 4097 weights.
fn short_last() -> Weights {
    Weights::new("short last", vec![PALETTE[15]; 4097])
}
