//! Section 4.2: forms, chunk sizes, and checksums of palettes that are not there.

use unweight_format::layout::entry;
use unweight_format::{Dtype, Rule, crc32};

use super::{constants, huffman, palette, put_entry, raw};
use crate::case::Cases;
use crate::draft::{CONSTANT, Draft, HUFFMAN, Tensor};
use crate::weights::{PALETTE, Weights};

pub(super) fn add(cases: &mut Cases) {
    unknown(cases);
    fields(cases);
    one_field_more(cases);
    empty(cases);
    limits(cases);
    chunk_sizes(cases);
    palette_checksums(cases);
}

/// 300 BF16 weights whose exponents have verbatim records, which every coded field may have.
fn verbatim() -> Draft {
    let weights = Weights::new("verbatim", vec![1; 300]);
    Draft::of([Tensor::raw_weights("w", &weights)
        .chunks(12)
        .verbatim_field(0, PALETTE)])
}

fn unknown(cases: &mut Cases) {
    let mut wrong = |id: &str, file| {
        cases.reject(id, Rule::FormUnknown, "a form is 0 to 3", file);
        cases.also(&["12"]);
    };
    for form in [4, 8, 15] {
        let raw = put_entry(raw().forge(), entry::FORMS, &[form]);
        wrong(&format!("raw-tensor-with-form-{form}"), raw);
        // The payload is that of the form huffman.
        let file = verbatim().forge();
        let file = put_entry(file, entry::FORMS, &[form]);
        wrong(&format!("coded-tensor-with-form-{form}"), file);
    }
    // The field has a palette and no records, as a constant one has, and the value 0 in all weights.
    let weights = Weights::new("no records", vec![0; 300]);
    let mut tensor = Tensor::raw_weights("w", &weights).constant_field(0);
    tensor.stored[0].palette = crate::weights::consecutive(0);
    let file = Draft::of([tensor]).forge();
    let file = put_entry(file, entry::FORMS, &[4]);
    wrong("form-4-with-a-palette-and-no-records", file);
    let file = put_entry(huffman().forge(), entry::FORMS, &[HUFFMAN | 4 << 4]);
    wrong("second-field-with-form-4", file);
    let file = Draft::of([Tensor::flat("i", Dtype::I64, vec![0; 24])]).forge();
    let file = put_entry(file, entry::FORMS + 3, &[4 << 4]);
    wrong("eighth-field-with-form-4", file);
}

fn fields(cases: &mut Cases) {
    let claim = "a field that the type does not have is plain";
    let bf16 = || huffman().forge();
    for (id, file, field, form) in [
        ("fourth-field-of-bf16-constant", bf16(), 3, CONSTANT),
        ("fourth-field-of-bf16-huffman", bf16(), 3, HUFFMAN),
        ("eighth-field-of-bf16-constant", bf16(), 7, CONSTANT),
        ("third-field-of-u8-constant", raw().forge(), 2, CONSTANT),
        (
            "first-field-of-f6-constant",
            Draft::of([Tensor::raw("t", Dtype::F6E2M3, &[4], vec![1, 2, 3])]).forge(),
            0,
            CONSTANT,
        ),
        (
            "second-field-of-f8-e8m0-huffman",
            Draft::of([Tensor::flat("t", Dtype::F8E8M0, vec![1; 300])]).forge(),
            1,
            HUFFMAN,
        ),
        (
            "seventh-field-of-f32-constant",
            Draft::of([Tensor::flat("t", Dtype::F32, vec![0; 12])]).forge(),
            6,
            CONSTANT,
        ),
    ] {
        let at = file.entry(0, entry::FORMS) + field / 2;
        let file = file.flip(at, form << (4 * (field % 2))).stamp_directory();
        cases.reject(id, Rule::FormField, claim, file);
    }
    // The payload is that of a huffman field with verbatim records.
    for (id, dtype, number) in [
        ("3-bits", Dtype::Bf16, 1),
        ("4-bits", Dtype::Bf16, 2),
        ("4-bits-of-f8-e4m3", Dtype::F8E4M3, 0),
        ("2-bits", Dtype::F8E5M2, 1),
    ] {
        let data = crate::fields::random_data(dtype, "narrow", 300, &[]);
        let width = crate::fields::fields(dtype)[number].width();
        let tensor = Tensor::flat("w", dtype, data).chunks(12);
        let mut tensor = tensor.verbatim_field(number, crate::draft::whole_palette(width));
        tensor.stored[0].form = crate::draft::PALETTE;
        cases.reject_full(
            &format!("form-palette-of-{id}"),
            Rule::FormField,
            "a field of at most 4 bits has not the form palette",
            Draft::of([tensor]).forge(),
        );
    }
}

/// 24 weights of zeros of each type, as if there were a further field, of 1 bit and constant: a plain
/// plane without that bit, and a palette.
fn one_field_more(cases: &mut Cases) {
    for &dtype in Dtype::ALL {
        let number = crate::fields::fields(dtype).len();
        if number == 8 {
            continue;
        }
        let original = [0; 24 * 8];
        let original = &original[..24 * crate::fields::weight_bytes(dtype)];
        let plane = original.len() - 24 / 8;
        let payload = vec![0; plane.next_multiple_of(16) + 16];
        let elements = 8 * original.len() as u64 / dtype.bits();
        let file = Draft::of([Tensor::bytes("w", payload)]).forge();
        let at = |field| file.entry(0, field);
        let (dtype_at, forms, checksum) = (
            at(entry::DTYPE),
            at(entry::FORMS),
            at(entry::TENSOR_CHECKSUM),
        );
        let palette_checksum = at(entry::PALETTE_CHECKSUM);
        let dimension = file.directory().start + 40;
        let file = file
            .put(dtype_at, &[dtype.code()])
            .put_u32(forms, u32::from(CONSTANT) << (4 * number))
            .put_u32(checksum, crc32(original))
            .put_u32(palette_checksum, crc32(&[0; 16]))
            .put_u64(dimension, elements)
            .stamp_directory();
        cases.reject(
            &format!(
                "constant-field-behind-the-last-of-{}",
                dtype.name().to_lowercase().replace('_', "-")
            ),
            Rule::FormField,
            "a field that the type does not have is plain",
            file,
        );
    }
}

fn empty(cases: &mut Cases) {
    let claim = "all fields of a tensor with no weights are plain";
    let file = |shape: &[u64]| Draft::of([Tensor::raw("w", Dtype::Bf16, shape, vec![])]).forge();
    let coded = |forge| put_entry(forge, entry::CHUNK_SIZE, &[12]);
    cases.reject(
        "coded-tensor-without-weights",
        Rule::FormEmpty,
        claim,
        put_entry(coded(file(&[0])), entry::FORMS, &[HUFFMAN]),
    );
    cases.reject(
        "constant-tensor-without-weights",
        Rule::FormEmpty,
        claim,
        put_entry(file(&[3, 0]), entry::FORMS + 1, &[CONSTANT]),
    );
    // A payload of no bytes before the guard: a decoder that misses the rule takes the first 16 bytes
    // of the guard for the palette.
    let forms = put_entry(file(&[0]), entry::FORMS, &[CONSTANT]);
    cases.reject(
        "constant-tensor-without-weights-whose-palette-is-the-guard",
        Rule::FormEmpty,
        claim,
        put_entry(
            forms,
            entry::PALETTE_CHECKSUM,
            &crc32(&[0; 16]).to_le_bytes(),
        ),
    );
}

fn limits(cases: &mut Cases) {
    let coded = |dtype: Dtype, shape: &[u64], form: u8| {
        let file = Draft::of([Tensor::raw("w", dtype, shape, vec![])]).forge();
        let file = put_entry(file, entry::FORMS, &[form]);
        match form {
            CONSTANT => file,
            _ => put_entry(file, entry::CHUNK_SIZE, &[12]),
        }
    };
    let claim = "a tensor with a coded field has at most 2^36 original bytes";
    for (id, dtype, shape) in [
        (
            "2-to-the-35-plus-1-weights-of-bf16",
            Dtype::Bf16,
            &[(1 << 35) + 1][..],
        ),
        (
            "2-to-the-36-plus-1-weights-of-u8",
            Dtype::U8,
            &[(1 << 36) + 1],
        ),
        (
            "2-to-the-33-plus-1-weights-of-f64",
            Dtype::F64,
            &[(1 << 33) + 1],
        ),
        (
            "2-to-the-37-plus-2-elements-of-f4",
            Dtype::F4,
            &[(1 << 37) + 2],
        ),
        ("2-to-the-56-weights", Dtype::Bf16, &[1 << 28, 1 << 28]),
    ] {
        cases.reject(
            &format!("coded-tensor-of-{id}"),
            Rule::LimitCoded,
            claim,
            coded(dtype, shape, HUFFMAN),
        );
    }
    cases.reject_full(
        "palette-tensor-of-2-to-the-35-plus-1-weights",
        Rule::LimitCoded,
        claim,
        coded(Dtype::Bf16, &[(1 << 35) + 1], crate::draft::PALETTE),
    );
}

fn chunk_sizes(cases: &mut Cases) {
    let claim = "the chunk size of a coded tensor is 12 to 16";
    for k in [0, 1, 11, 17, 32, 44, 64, 255] {
        cases.reject(
            &format!("chunk-size-{k}"),
            Rule::ChunkSize,
            claim,
            put_entry(huffman().forge(), entry::CHUNK_SIZE, &[k]),
        );
    }
    // Three weights, each a chunk with a verbatim record.
    let weights = Weights::new("chunks of one weight", vec![3, 1, 2]);
    let tensor = Tensor::raw_weights("w", &weights).verbatim_field(0, PALETTE);
    cases.reject(
        "chunk-size-0-with-a-record-for-each-weight",
        Rule::ChunkSize,
        claim,
        Draft::of([tensor]).forge(),
    );
    cases.reject_full(
        "palette-tensor-with-chunk-size-11",
        Rule::ChunkSize,
        claim,
        put_entry(palette().forge(), entry::CHUNK_SIZE, &[11]),
    );
    let claim = "a tensor without a coded field has no chunk size";
    let constant = || Draft::of([constants(Dtype::Bf16, "w", 300)]).forge();
    let empty = || Draft::of([Tensor::raw("e", Dtype::Bf16, &[0], vec![])]).forge();
    let data = (0..65_536).map(|i| (i % 251) as u8).collect();
    let large = Draft::of([Tensor::bytes("r", data)]).forge();
    for (id, file, k) in [
        ("raw-tensor-with-a-chunk-size", raw().forge(), 12),
        ("raw-tensor-with-a-chunk-size-of-1", raw().forge(), 1),
        ("large-raw-tensor-with-a-chunk-size", large, 15),
        ("constant-tensor-with-a-chunk-size", constant(), 15),
        ("empty-tensor-with-a-chunk-size", empty(), 12),
    ] {
        let file = put_entry(file, entry::CHUNK_SIZE, &[k]);
        cases.reject(id, Rule::ChunkSize, claim, file);
    }
}

fn palette_checksums(cases: &mut Cases) {
    let claim = "the palette checksum of a tensor without palettes is 0";
    let empty = Draft::of([Tensor::raw("e", Dtype::Bf16, &[0], vec![])]);
    for (id, draft, offset) in [
        ("raw-tensor-with-a-palette-checksum", raw(), 0),
        (
            "raw-tensor-with-a-last-byte-of-a-palette-checksum",
            raw(),
            3,
        ),
        ("empty-tensor-with-a-palette-checksum", empty, 1),
    ] {
        let file = put_entry(draft.forge(), entry::PALETTE_CHECKSUM + offset, &[1]);
        cases.reject(id, Rule::PaletteCrc, claim, file);
    }
}
