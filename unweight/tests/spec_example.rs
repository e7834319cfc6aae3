//! The worked example `spec/example.md`: its bytes decode to the stated values, and our writer
//! gives the same bytes.

use half::bf16;
use unweight::{
    Serial,
    container::{OpenFile, decode_tensor},
    safetensors,
};
use unweight_cpu::reference::{ExponentCounts, TensorPlan, encode_exponents};
use unweight_format::layout::LANES;
use unweight_format::write::{ContainerWriter, Declaration, RecordBody, write_record};
use unweight_format::{
    Body, ChunkShape, Dtype, Encoding, Extent, Patch, Record, SourceKind, weight,
};

const EXAMPLE: &str = include_str!("data/example.md");
const JSON: &str = r#"{"w":{"dtype":"BF16","shape":[5,51],"data_offsets":[0,510]},"step":{"dtype":"I64","shape":[],"data_offsets":[510,518]}}"#;
const WEIGHTS: u32 = 255;
const PATCH: Patch = Patch {
    position: 100,
    exponent: 200,
};

/// Exponent 126 for every second weight, 125 for every fourth, and so on; the patch at weight 100.
fn exponent_of(i: u32) -> u8 {
    match i == u32::from(PATCH.position) {
        true => PATCH.exponent,
        false => 126 - (i + 1).trailing_zeros() as u8,
    }
}

fn weight_of(i: u32) -> bf16 {
    weight(i as u8, exponent_of(i))
}

/// The bytes of all lines `offset  hex bytes  ...` of the example.
fn bytes_in_the_text() -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in EXAMPLE.lines() {
        let Some((offset, rest)) = line.split_once(": ") else {
            continue;
        };
        let Ok(offset) = usize::from_str_radix(offset, 16) else {
            continue;
        };
        let hex = rest.split("  ").next().unwrap();
        assert_eq!(offset, bytes.len(), "the dump has a gap before {line:?}");
        bytes.extend(
            hex.split(' ')
                .map(|byte| u8::from_str_radix(byte, 16).expect(line)),
        );
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
        .map(|i| {
            if i == u32::from(PATCH.position) {
                126
            } else {
                exponent_of(i)
            }
        })
        .collect();
    let sign_mantissa: Vec<u8> = (0..WEIGHTS).map(|i| i as u8).collect();
    let mut counts = ExponentCounts::default();
    counts.add_exponents(&exponents);
    let plan = TensorPlan::new(&counts, Encoding::Huffman);

    // The canonical record of the exponents without the patch is followed by the same body with the
    // patch.
    let mut plain = Vec::new();
    encode_exponents(&plan, &exponents, &sign_mantissa, &mut plain);
    let shape = ChunkShape {
        number: 0,
        first_weight: 0,
        weights: WEIGHTS,
        sign_mantissa: Extent {
            offset: 0,
            length: WEIGHTS.into(),
        },
    };
    let plain = Record::parse(&shape, Encoding::Huffman, 0, &plain, &sign_mantissa).unwrap();
    let Body::Huffman { code, lanes } = plain.body() else {
        panic!("a huffman record")
    };
    let mut streams = Vec::new();
    let lane_ends: [u16; LANES] = core::array::from_fn(|lane| {
        streams.extend(lanes.stream(lane));
        streams.len() as u16
    });
    let body = RecordBody::Huffman {
        code,
        lane_ends: &lane_ends,
        streams: &streams,
    };
    let mut record = Vec::new();
    write_record(&body, &[PATCH], &sign_mantissa, &mut record);

    let declarations = vec![
        Declaration::new("w", Dtype::Bf16, &[5, 51]),
        Declaration::new("step", Dtype::I64, &[]),
    ];
    let kind = SourceKind::Safetensors;
    let mut writer =
        ContainerWriter::new(Vec::new(), kind, &source_section(), declarations).unwrap();
    let mut coded = writer.coded(plan.parameters(15)).unwrap();
    coded.chunk(&sign_mantissa, &record).unwrap();
    coded.finish(unweight_format::crc32(&original_w())).unwrap();
    let mut raw = writer.raw().unwrap();
    raw.write(&1000u64.to_le_bytes()).unwrap();
    raw.finish().unwrap();
    writer.finish().unwrap()
}

fn original_w() -> Vec<u8> {
    (0..WEIGHTS)
        .flat_map(|i| weight_of(i).to_le_bytes())
        .collect()
}

#[test]
fn the_text_holds_the_bytes_that_the_writer_gives() {
    let written = written();
    if let Ok(path) = std::env::var("UNWEIGHT_WRITE_EXAMPLE") {
        std::fs::write(path, &written).unwrap();
    }
    assert_eq!(bytes_in_the_text(), written);
    assert_eq!(include_bytes!("data/example.unw")[..], written);
}

#[test]
fn the_bytes_in_the_text_decode_to_what_it_says() {
    let file = bytes_in_the_text();
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = open.container();
    container.require_zero_padding().unwrap();
    let source = container.source().unwrap();
    assert_eq!(source, source_section());
    let offset = container.header().source().offset;
    safetensors::check_source_matches_directory(&source, offset, container.directory()).unwrap();

    let restore = |name| {
        let tensor = container.directory().find(name).unwrap();
        let mut bytes = Vec::new();
        decode_tensor(&container, &tensor, &Serial, |piece| {
            bytes.extend_from_slice(piece);
            Ok::<_, unweight::ReadError>(())
        })
        .unwrap();
        bytes
    };
    assert_eq!(restore("w"), original_w());
    assert_eq!(restore("step"), 1000u64.to_le_bytes());
}
