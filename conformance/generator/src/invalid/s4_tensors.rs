//! Section 4: types, raw tensors, coded tensors and their record ends.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule};

use super::{huffman, huffman_tensor, palette, raw};
use crate::case::Cases;
use crate::code::Lengths;
use crate::draft::{Draft, Tensor};
use crate::forge::Forge;
use crate::record::Record;
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    types(cases);
    raw_tensors(cases);
    coded_tensors(cases);
    record_ends(cases);
}

fn put_entry(forge: Forge, field: u64, bytes: &[u8]) -> Forge {
    let at = forge.entry(0, field);
    forge.put(at, bytes).stamp_directory()
}

fn types(cases: &mut Cases) {
    for code in [0, 23, 255] {
        cases.reject(
            &format!("dtype-code-{code}"),
            Rule::DtypeUnknown,
            "dtype codes are 1 to 22",
            put_entry(raw().forge(), entry::DTYPE, &[code]),
        );
        cases.also(&["12"]);
    }
    let byte = |shape: &[u64]| Draft::of([Tensor::raw("t", Dtype::U8, shape, vec![1])]).forge();
    let shapes: [(&str, &str, &[u64]); 7] = [
        (
            "2-to-the-56-plus-1-elements",
            "a tensor has at most 2^56 elements",
            &[(1 << 56) + 1],
        ),
        (
            "2-to-the-57-elements",
            "a tensor has at most 2^56 elements",
            &[1 << 28, 2, 1 << 28],
        ),
        (
            "2-to-the-64-minus-1-elements",
            "a tensor has at most 2^56 elements",
            &[u64::MAX],
        ),
        (
            "dimensions-whose-product-wraps-to-0",
            "the product of the dimensions is exact",
            &[1 << 32, 1 << 32],
        ),
        (
            "dimensions-whose-product-wraps-to-1",
            "the product of the dimensions is exact",
            &[3, 0xaaaa_aaaa_aaaa_aaab],
        ),
        (
            "dimensions-whose-product-wraps-to-1-in-32-bits",
            "dimensions are numbers of 64 bits",
            &[(1 << 32) + 1, (1 << 32) + 1],
        ),
        (
            "sixty-four-greatest-dimensions",
            "the product of the dimensions is exact",
            &[u64::MAX; 64],
        ),
    ];
    for (id, claim, shape) in shapes {
        cases.reject(id, Rule::LimitElements, claim, byte(shape));
        cases.also(&["2"]);
    }
    // The number of bytes is that of a decoder that rounds up, or one that rounds down.
    for (id, dtype, elements, bytes) in [
        ("one-element-of-f4-in-a-byte", Dtype::F4, 1, 1),
        ("one-element-of-f4-in-no-byte", Dtype::F4, 1, 0),
        ("three-elements-of-f4-in-2-bytes", Dtype::F4, 3, 2),
        ("three-elements-of-f4-in-a-byte", Dtype::F4, 3, 1),
        ("one-element-of-f6-in-a-byte", Dtype::F6E2M3, 1, 1),
        ("two-elements-of-f6-in-a-byte", Dtype::F6E3M2, 2, 1),
        ("seven-elements-of-f6-in-6-bytes", Dtype::F6E2M3, 7, 6),
        (
            "2-to-the-56-minus-1-elements-of-f4",
            Dtype::F4,
            (1 << 56) - 1,
            4,
        ),
    ] {
        let tensor = Tensor::raw("t", dtype, &[elements], vec![1; bytes]);
        cases.reject(
            id,
            Rule::TensorBits,
            "elements of 4 and 6 bits are whole bytes together",
            Draft::of([tensor]).forge(),
        );
    }
    cases.reject(
        "f6-without-dimensions",
        Rule::TensorBits,
        "elements of 4 and 6 bits are whole bytes together",
        Draft::of([Tensor::raw("t", Dtype::F6E3M2, &[], vec![1])]).forge(),
    );
}

fn raw_tensors(cases: &mut Cases) {
    let claim = "the encoding is 0, 1 or 2";
    let file = put_entry(raw().forge(), entry::ENCODING, &[255]);
    cases.reject(
        "raw-tensor-of-encoding-255",
        Rule::EncodingUnknown,
        claim,
        file,
    );
    cases.also(&["12"]);
    // The record is verbatim, which every coded tensor allows.
    let weights = Weights::new("verbatim", vec![1; 300]);
    let verbatim = |_, exponents: &[u8]| Record::verbatim(exponents);
    let mut coded = Tensor::huffman_with("w", 12, PALETTE, &weights, verbatim);
    coded.coded_mut().encoding = 3;
    let file = Draft::of([coded]).forge();
    cases.reject(
        "coded-tensor-of-encoding-3",
        Rule::EncodingUnknown,
        claim,
        file,
    );
    cases.also(&["12"]);
    let claim = "a raw tensor has no chunk size and no palette";
    for (id, field, byte) in [
        ("raw-tensor-with-a-chunk-size", entry::CHUNK_SIZE, 12),
        ("raw-tensor-with-a-chunk-size-of-1", entry::CHUNK_SIZE, 1),
        ("raw-tensor-with-a-first-palette-byte", entry::PALETTE, 1),
        (
            "raw-tensor-with-a-last-palette-byte",
            entry::PALETTE + 15,
            255,
        ),
    ] {
        let file = put_entry(raw().forge(), field, &[byte]);
        cases.reject(id, Rule::RawFields, claim, file);
    }
    let empty = Draft::of([Tensor::raw("e", Dtype::Bf16, &[0], vec![])]).forge();
    let file = put_entry(empty, entry::PALETTE + 7, &[9]);
    cases.reject(
        "empty-raw-tensor-with-a-palette-byte",
        Rule::RawFields,
        claim,
        file,
    );

    let data: Vec<u8> = (0..65_537).map(|i| (i % 251) as u8).collect();
    let two_blocks = Draft::of([Tensor::bytes("r", data)]).forge();
    let placed = two_blocks.tensor(0).clone();
    let mut wrong = |id: &str, claim: &str, forge: Forge| {
        cases.reject(id, Rule::RawCrc, claim, forge);
        cases.also(&["8"]);
    };
    let claim = "every block of raw data is covered by its checksum";
    let file = raw().forge();
    let (data, checksum) = (file.tensor(0).data.start, file.tensor(0).checksums);
    wrong(
        "raw-byte-changed-without-its-checksum",
        claim,
        file.clone().flip(data, 1),
    );
    wrong(
        "raw-checksum-wrong-by-a-bit",
        claim,
        file.clone().flip(checksum + 3, 0x80),
    );
    wrong(
        "raw-checksum-zero",
        "a checksum of zero is no way to leave it out",
        file.put_u32(checksum, 0),
    );
    let claim = "a shorter last block has its own checksum";
    wrong(
        "raw-last-block-changed-without-its-checksum",
        claim,
        two_blocks.flip(placed.data.end - 1, 1),
    );
}

fn coded_tensors(cases: &mut Cases) {
    for (id, dtype) in [
        ("f16", Dtype::F16),
        ("u16", Dtype::U16),
        ("f32", Dtype::F32),
    ] {
        let file = put_entry(huffman().forge(), entry::DTYPE, &[dtype.code()]);
        cases.reject(
            &format!("huffman-tensor-of-{id}"),
            Rule::EncodingDtype,
            "only BF16 is coded",
            file,
        );
    }
    let file = put_entry(palette().forge(), entry::DTYPE, &[Dtype::I16.code()]);
    cases.reject_full(
        "palette-tensor-of-i16",
        Rule::EncodingDtype,
        "only BF16 is coded",
        file,
    );

    let coded = |shape: &[u64]| {
        let file = Draft::of([Tensor::raw("w", Dtype::Bf16, shape, vec![])]).forge();
        let at = file.entry(0, entry::PALETTE);
        let file = file.put(at, &PALETTE);
        put_entry(file, entry::ENCODING, &[1, 12])
    };
    let claim = "a tensor with no weights is raw";
    cases.reject(
        "coded-tensor-without-weights",
        Rule::EncodingEmpty,
        claim,
        coded(&[0]),
    );
    let claim = "a coded tensor has at most 2^35 weights";
    cases.reject(
        "coded-tensor-of-2-to-the-35-plus-1-weights",
        Rule::LimitCoded,
        claim,
        coded(&[(1 << 35) + 1]),
    );
    cases.reject(
        "coded-tensor-of-2-to-the-56-weights",
        Rule::LimitCoded,
        claim,
        coded(&[1 << 28, 1 << 28]),
    );

    for k in [0, 1, 11, 17, 32, 64, 255] {
        cases.reject(
            &format!("chunk-size-{k}"),
            Rule::ChunkSize,
            "the chunk size is 12 to 16",
            put_entry(huffman().forge(), entry::CHUNK_SIZE, &[k]),
        );
    }
    let file = put_entry(palette().forge(), entry::CHUNK_SIZE, &[11]);
    cases.reject_full(
        "palette-tensor-with-chunk-size-11",
        Rule::ChunkSize,
        "the chunk size is 12 to 16",
        file,
    );

    let claim = "the palette is strictly ascending";
    let first = PALETTE[0];
    for (id, field, bytes) in [
        ("first-two-equal", entry::PALETTE, vec![first + 1]),
        ("last-two-equal", entry::PALETTE + 15, vec![first + 14]),
        (
            "two-exchanged",
            entry::PALETTE + 5,
            vec![first + 6, first + 5],
        ),
        ("of-zeros", entry::PALETTE, vec![0; 16]),
        (
            "that-wraps-to-0",
            entry::PALETTE,
            (248..=255).chain(0..8).collect(),
        ),
        ("completed-with-zeros", entry::PALETTE + 12, vec![0; 4]),
    ] {
        let file = put_entry(huffman().forge(), field, &bytes);
        cases.reject(&format!("palette-{id}"), Rule::PaletteOrder, claim, file);
    }
    let file = put_entry(palette().forge(), entry::PALETTE, &[first + 1]);
    cases.reject_full(
        "palette-of-a-palette-tensor-not-ascending",
        Rule::PaletteOrder,
        claim,
        file,
    );
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
    let claim = "the last record ends with the plane";
    wrong(
        "last-record-end-before-the-plane-ends",
        claim,
        put(2, end(2) - 1),
    );
    wrong(
        "last-record-end-behind-the-plane",
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
        "first-record-end-behind-the-plane",
        "a record end behind the plane is found before it is used",
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
        "the last record ends with the plane: nothing stands behind it",
        hidden
            .put_u64(at, end as u64 + 16)
            .state_length()
            .stamp_directory(),
    );

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
    draft.tensors[0].coded_mut().records[1] = last;
    cases.reject(
        "last-record-longer-than-verbatim",
        Rule::RecordTooLong,
        claim,
        draft.forge(),
    );
    cases.also(&["5.1"]);
}

/// 4097 weights.
fn short_last() -> Weights {
    Weights::new("short last", vec![PALETTE[15]; 4097])
}
