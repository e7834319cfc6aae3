//! The worked examples of `spec/example.md`: the bytes of both files decode to the stated values,
//! and our writer and encoder give the same bytes.

use half::bf16;
use unweight::{
    CompressOptions, Encoding, Serial,
    container::{OpenFile, decode_tensor},
    safetensors,
};
use unweight_cpu::reference::{TensorPlan, ValueCounts, encode_values};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Form, Forms, Patch, Record, RecordShape, SourceKind};
use unweight_testkit::rewritten;

const TEXT: &str = include_str!("data/example.md");
const EXAMPLE: &[u8] = include_bytes!("data/example.unw");
const PALETTE_EXAMPLE: &[u8] = include_bytes!("data/example-palette.unw");
const JSON: &str = r#"{"w":{"dtype":"BF16","shape":[5,51],"data_offsets":[0,510]},"step":{"dtype":"I64","shape":[],"data_offsets":[510,518]}}"#;
const WEIGHTS: u32 = 255;
const PATCH: Patch = Patch {
    position: 100,
    value: 200,
};

/// The bits of the weight with this sign-mantissa byte and exponent.
fn weight(sign_mantissa: u8, exponent: u8) -> u16 {
    let sign_mantissa = u16::from(sign_mantissa);
    (sign_mantissa & 0x80) << 8 | u16::from(exponent) << 7 | sign_mantissa & 0x7f
}

/// Exponent 126 for every second weight, 125 for every fourth, and so on; the patch at weight 100.
fn exponent_of(i: u32) -> u8 {
    match i == u32::from(PATCH.position) {
        true => PATCH.value,
        false => 126 - (i + 1).trailing_zeros() as u8,
    }
}

/// The offset and the bytes of each line `offset: hex bytes  words` of a section of the text.
fn dump(section: usize) -> Vec<(usize, Vec<u8>)> {
    let section = TEXT.split("\n## ").nth(section).expect("the text has it");
    let lines = section.lines().filter_map(|line| {
        let (offset, rest) = line.split_once(": ")?;
        let is_offset = offset.len() == 8;
        let offset = usize::from_str_radix(offset, 16)
            .ok()
            .filter(|_| is_offset)?;
        let hex = rest.split("  ").next()?.split(' ');
        let bytes = hex.map(|byte| u8::from_str_radix(byte, 16).expect(line));
        Some((offset, bytes.collect()))
    });
    lines.collect()
}

/// The bytes of the first file, all of which the text has.
fn bytes_in_the_text() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (offset, line) in dump(1) {
        assert_eq!(offset, bytes.len(), "the dump has a gap before {offset:x}");
        bytes.extend(line);
    }
    bytes
}

fn source_section() -> Vec<u8> {
    let mut source = (JSON.len() as u64).to_le_bytes().to_vec();
    source.extend(JSON.as_bytes());
    source
}

fn written() -> Vec<u8> {
    let exponents: Vec<u8> = (0..WEIGHTS)
        .map(|i| match i == u32::from(PATCH.position) {
            true => 126,
            false => exponent_of(i),
        })
        .collect();
    let plain: Vec<u8> = (0..WEIGHTS).map(|i| i as u8).collect();
    let mut counts = ValueCounts::default();
    counts.add_values(&exponents);
    let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman).unwrap();
    let plan = TensorPlan::new(forms, 0, &[counts]);

    // The canonical record of the exponents without the patch is followed by the same body with the
    // patch.
    let mut unpatched = Vec::new();
    encode_values(plan.field(0).unwrap(), &exponents, &plain, &mut unpatched);
    let shape = RecordShape::new(WEIGHTS, 8, Encoding::Huffman, true);
    let unpatched = Record::parse(&shape, 0, &unpatched, &plain).unwrap();
    let record = rewritten(&unpatched, &[PATCH], &plain);

    let declarations = vec![
        Declaration::new("w", Dtype::Bf16, &[5, 51]),
        Declaration::new("step", Dtype::I64, &[]),
    ];
    let kind = SourceKind::Safetensors;
    let mut writer =
        ContainerWriter::new(Vec::new(), kind, &source_section(), declarations).unwrap();
    let mut coded = writer.coded(plan.palettes(), 15).unwrap();
    coded.chunk(&plain, &[&record]).unwrap();
    coded.finish(unweight_format::crc32(&original_w())).unwrap();
    let mut raw = writer.raw().unwrap();
    raw.write(&1000u64.to_le_bytes()).unwrap();
    raw.finish().unwrap();
    writer.finish().unwrap()
}

fn original_w() -> Vec<u8> {
    (0..WEIGHTS)
        .flat_map(|i| weight(i as u8, exponent_of(i)).to_le_bytes())
        .collect()
}

/// The original bytes of a tensor.
fn tensor_bytes(file: &[u8], name: &str) -> Vec<u8> {
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    container.require_zero_padding().unwrap();
    let tensor = container.directory().find(name).unwrap();
    let mut bytes = Vec::new();
    decode_tensor(&container, &tensor, &Serial, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, unweight::ReadError>(())
    })
    .unwrap();
    bytes
}

#[test]
fn the_text_holds_the_bytes_that_the_writer_gives() {
    let written = written();
    if let Ok(path) = std::env::var("UNWEIGHT_WRITE_EXAMPLE") {
        std::fs::write(path, &written).unwrap();
    }
    assert_eq!(bytes_in_the_text(), written);
    assert_eq!(EXAMPLE, written);
}

#[test]
fn the_bytes_in_the_text_decode_to_what_it_says() {
    let file = bytes_in_the_text();
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    let source = container.source().unwrap();
    assert_eq!(source, source_section());
    let offset = container.header().source().offset;
    safetensors::check_source_matches_directory(&source, offset, container.directory()).unwrap();
    assert_eq!(tensor_bytes(&file, "w"), original_w());
    assert_eq!(tensor_bytes(&file, "step"), 1000u64.to_le_bytes());
}

/// The weights of the second example.
fn two_chunks() -> Vec<bf16> {
    let weight = |i: u32| {
        let exponent = match i {
            1000 => 200,
            0..4096 => 120 + i % 8,
            // 120 stands in place of 200.
            _ if i - 4096 == 200 => 120,
            _ => i - 4096,
        };
        let plain = (i % 2) << 15 | (i / 3 % 8) << 4;
        bf16::from_bits((plain | exponent << 7) as u16)
    };
    (0..4352).map(weight).collect()
}

#[test]
fn the_palette_example_is_what_the_encoder_gives() {
    let open = OpenFile::read(PALETTE_EXAMPLE).unwrap();
    let mut source = open.container().checked_source().unwrap();
    source.extend(two_chunks().iter().flat_map(|weight| weight.to_le_bytes()));
    let options = CompressOptions::new()
        .encoding(Encoding::Palette)
        .chunk_size_log2(12);
    assert_eq!(
        unweight::compress(&source, &options).unwrap(),
        PALETTE_EXAMPLE
    );
}

#[test]
fn the_palette_example_decodes_to_what_the_text_says() {
    let found = tensor_bytes(PALETTE_EXAMPLE, "w");
    let weights = two_chunks();
    let expected = weights.iter().flat_map(|weight| weight.to_le_bytes());
    assert!(expected.eq(found));
    assert_eq!(weights[5].to_bits(), 0xbe90);
    let lines = dump(2);
    assert!(lines.len() > 20, "{}", lines.len());
    for (offset, bytes) in lines {
        assert_eq!(
            PALETTE_EXAMPLE[offset..][..bytes.len()],
            bytes,
            "{offset:x}"
        );
    }
}

#[test]
fn the_way_to_a_record_is_the_encoder_s() {
    const COUNTS: [usize; 10] = [1, 6, 21, 77, 203, 410, 620, 512, 190, 8];
    let mut counts = ValueCounts::default();
    for (exponent, count) in (118..).zip(COUNTS) {
        counts.add_values(&vec![exponent; count]);
    }
    let forms = Forms::raw(Dtype::Bf16).with(0, Form::Huffman).unwrap();
    let plan = TensorPlan::new(forms, 0, &[counts]);
    let field = plan.field(0).unwrap();
    assert!(field.palette().values().iter().copied().eq(112..=127));
    let lengths = field.code().to_bytes();
    // Entries 0 to 5 have no code; entries 6 to 15 have those of the table.
    assert_eq!(lengths, [0xff, 0xff, 0xff, 0x88, 0x56, 0x23, 0x22, 0x74]);
}
