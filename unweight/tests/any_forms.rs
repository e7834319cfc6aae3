//! Tensors of every type and in any forms are restored, whole and in part, by every instruction
//! set. What is damaged breaks its rule.

use proptest::prelude::*;
use unweight::container::{OpenFile, decode_tensor_into};
use unweight::{Coalesce, OpenOptions, ReadError, Serial};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Extension, Form, Forms, Payload, Rule, SourceKind};
use unweight_testkit::forms::{file_of, forms_of, weights};
use unweight_testkit::{repair_front, restored};

/// Numbers of weights on both sides of what is decoded at once: a byte of plain bits, a step.
const FEW: [usize; 6] = [1, 7, 8, 9, 255, 257];
/// Numbers on both sides of a chunk.
const MANY: [usize; 4] = [4095, 4096, 4097, 2 * 4096 + 5];

fn payload(file: &[u8]) -> Payload {
    let open = OpenFile::read(file).unwrap();
    *open.container().directory().tensor(0).unwrap().payload()
}

fn all_forms() -> impl Iterator<Item = Forms> {
    Dtype::ALL.iter().flat_map(|&dtype| forms_of(dtype))
}

#[test]
fn every_type_is_restored_in_any_forms() {
    for (number, forms) in all_forms().enumerate() {
        for count in FEW.into_iter().chain([MANY[number % MANY.len()]]) {
            let count = even(forms, count);
            let expected = weights(forms, count, count as u64);
            let file = file_of(forms, 12, &expected);
            assert!(
                restored(&file[..]).unwrap() == expected,
                "{forms:?} {count}"
            );
        }
    }
}

/// A number of weights whose elements are whole.
fn even(forms: Forms, count: usize) -> usize {
    match forms.dtype().bits() {
        6 => count.next_multiple_of(3),
        _ => count,
    }
}

#[test]
fn every_isa_restores_any_forms() {
    for forms in all_forms() {
        let count = even(forms, 2 * 4096 + 77);
        let expected = weights(forms, count, 1);
        let file = file_of(forms, 12, &expected);
        for isa in Isa::available() {
            let open = OpenFile::read(&file[..]).unwrap();
            let container = open.container().with_codec(Codec::of(isa).unwrap());
            let tensor = container.directory().tensor(0).unwrap();
            // The odd address tests that no kernel relies on alignment.
            let mut bytes = vec![0xa5; expected.len() + 1];
            decode_tensor_into(&container, &tensor, &Serial, &mut bytes[1..]).unwrap();
            assert!(bytes[1..] == expected, "{isa} {forms:?}");
            let mut whole = vec![0xa5; expected.len()];
            let length = whole.len() as u64;
            container
                .read_bytes(&tensor, 0..length, &mut whole)
                .unwrap();
            assert!(whole == expected, "{isa} {forms:?}");
        }
    }
}

#[test]
fn chunks_of_every_size_are_restored_in_any_forms() {
    for forms in all_forms().filter(|forms| forms.is_coded()).step_by(29) {
        let expected = weights(forms, 70_001, 2);
        for chunk_size_log2 in 13..=16 {
            let file = file_of(forms, chunk_size_log2, &expected);
            let model = OpenOptions::new().threads(3).open_bytes(file).unwrap();
            let mut bytes = Vec::new();
            model.restore(&mut bytes).unwrap();
            assert!(bytes == expected, "{forms:?} {chunk_size_log2}");
            assert!(model.tensor("w").unwrap().to_bytes().unwrap() == expected);
        }
    }
}

/// Forms of tensors without records, with each number of plain bits that a type of each size can
/// have.
fn without_records() -> Vec<Forms> {
    let mut forms: Vec<Forms> = all_forms()
        .filter(|forms| !forms.is_coded() && !forms.dtype().fields().is_empty())
        .collect();
    let shape = |forms: &Forms| (forms.dtype().weight_bytes(), forms.plain_bits());
    forms.sort_by_key(shape);
    forms.dedup_by_key(|forms| shape(forms));
    forms
}

#[test]
fn long_tensors_without_records_are_restored_whole_and_in_part() {
    for forms in without_records() {
        // Just over a block and over a piece of 256 KiB.
        let block = 65_536 * 8 / forms.plain_bits() as usize;
        let piece = (256 << 10) / forms.dtype().weight_bytes();
        let expected = weights(forms, block.max(piece) + 13, 3);
        let file = file_of(forms, 0, &expected);
        assert!(payload(&file).block_count() > 0, "{forms:?}");
        for options in [
            OpenOptions::new().threads(2),
            OpenOptions::new().threads(2).coalesce(Coalesce::new()),
        ] {
            let model = options.open_bytes(&file[..]).unwrap();
            let tensor = model.tensor("w").unwrap();
            assert!(tensor.to_bytes().unwrap() == expected, "{forms:?}");
            let mut bytes = vec![0; expected.len() / 3];
            for start in [1, expected.len() / 2 - 5, expected.len() - bytes.len()] {
                let range = start as u64..(start + bytes.len()) as u64;
                tensor.read_byte_range_into(range, &mut bytes).unwrap();
                assert!(
                    bytes == expected[start..][..bytes.len()],
                    "{forms:?} {start}"
                );
            }
        }
    }
}

fn any_forms() -> impl Strategy<Value = Forms> {
    let all: Vec<Forms> = all_forms().collect();
    proptest::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_range_of_any_forms_equals_the_whole(
        forms in any_forms(),
        count in 1usize..14_000,
        start in any::<proptest::sample::Index>(),
        end in any::<proptest::sample::Index>(),
        merges in any::<bool>(),
    ) {
        let expected = weights(forms, even(forms, count), 4);
        let file = file_of(forms, 12, &expected);
        let (start, end) = (start.index(expected.len() + 1), end.index(expected.len() + 1));
        let range = start.min(end)..start.max(end);
        let options = match merges {
            true => OpenOptions::new().coalesce(Coalesce::new().gap_bytes(100)),
            false => OpenOptions::new(),
        };
        let model = options.open_bytes(file).unwrap();
        // The previous content of the buffer must not affect the result.
        let mut bytes = vec![0xa5; range.len()];
        let tensor = model.tensor("w").unwrap();
        tensor.read_byte_range_into(range.start as u64..range.end as u64, &mut bytes).unwrap();
        prop_assert!(bytes == expected[range]);
    }
}

#[test]
fn empty_tensors_of_every_type_are_restored() {
    for &dtype in Dtype::ALL {
        let file = file_of(Forms::raw(dtype), 0, &[]);
        assert!(restored(&file[..]).unwrap().is_empty());
        let model = OpenOptions::new().open_bytes(file).unwrap();
        let tensor = model.tensor("w").unwrap();
        assert!(tensor.to_bytes().unwrap().is_empty());
        tensor.read_byte_range_into(0..0, &mut []).unwrap();
    }
}

/// The rules that reading a damaged file breaks: whole, as bytes in place, and in part.
fn rules(file: &[u8], range: std::ops::Range<u64>) -> [Option<Rule>; 3] {
    let rule = |done: Result<(), ReadError>| done.err().map(|error| error.rule().unwrap());
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    let tensor = container.directory().tensor(0).unwrap();
    let mut bytes = vec![0; tensor.data_bytes() as usize];
    let in_place = decode_tensor_into(&container, &tensor, &Serial, &mut bytes[..]);
    let part = &mut bytes[..(range.end - range.start) as usize];
    let in_part = container.read_bytes(&tensor, range, part);
    [restored(file).map(drop), in_place, in_part].map(rule)
}

/// Forms with several coded fields, a constant and plain bits.
fn mixed() -> Forms {
    Forms::from_bits(Dtype::F32, 0x11_3011).unwrap()
}

#[test]
fn damaged_palettes_break_their_rules() {
    for forms in [mixed(), Forms::from_bits(Dtype::Bf16, 0x033).unwrap()] {
        let file = file_of(forms, 12, &weights(forms, 5000, 5));
        let palettes = payload(&file).palettes();
        let mut damaged = file.clone();
        damaged[palettes.offset as usize + 1] ^= 1;
        assert_eq!(rules(&damaged, 10..11), [Some(Rule::PaletteCrc); 3]);
        // The last byte of a constant's palette is zero.
        let mut stored = forms.iter().filter(|(_, form)| *form != Form::Plain);
        let constant = stored.position(|(_, form)| form == Form::Constant);
        let at = palettes.offset as usize + 16 * constant.unwrap() + 15;
        let mut damaged = file.clone();
        damaged[at] = 1;
        let checksum = unweight_format::crc32(palettes.of(&damaged).unwrap());
        let entry = 64 + unweight_format::layout::entry::PALETTE_CHECKSUM as usize;
        damaged[entry..entry + 4].copy_from_slice(&checksum.to_le_bytes());
        repair_front(&mut damaged);
        assert_eq!(rules(&damaged, 10..11), [Some(Rule::PaletteValues); 3]);
    }
}

#[test]
fn a_damaged_record_of_any_field_breaks_its_rule_in_its_chunk_alone() {
    let forms = mixed();
    let expected = weights(forms, 3 * 4096, 6);
    let file = file_of(forms, 12, &expected);
    let payload = payload(&file);
    let ends =
        unweight_format::RecordEnds::parse(&payload, payload.record_ends().of(&file).unwrap());
    let ends = ends.unwrap();
    for field in 0..forms.coded_count() {
        let record = ends.record(1, field);
        for at in [record.offset, record.offset + 20, record.end() - 1] {
            let mut damaged = file.clone();
            damaged[at as usize] ^= 4;
            let chunk = 4 * 4096;
            assert_eq!(
                rules(&damaged, chunk + 7..chunk + 9),
                [Some(Rule::RecordCrc); 3]
            );
            assert_eq!(rules(&damaged, 0..chunk)[2], None);
            assert_eq!(rules(&damaged, 2 * chunk..3 * chunk)[2], None);
        }
    }
}

#[test]
fn plain_bytes_of_a_chunk_belong_to_its_first_record() {
    let forms = mixed();
    let mut file = file_of(forms, 12, &weights(forms, 4096, 7));
    let plain = payload(&file).plain();
    file[plain.offset as usize + 9] ^= 2;
    assert_eq!(rules(&file, 0..1), [Some(Rule::RecordCrc); 3]);
}

#[test]
fn a_block_of_a_tensor_with_constants_has_its_checksum() {
    let forms = Forms::from_bits(Dtype::U8, 0x3).unwrap();
    // Four plain bits: two weights a byte.
    let file = file_of(forms, 0, &weights(forms, 400_000, 8));
    let plain = payload(&file).plain();
    let mut damaged = file.clone();
    damaged[plain.offset as usize + 65_536] ^= 1;
    // The second block has the weights from 131,072 on.
    assert_eq!(rules(&damaged, 131_072..131_073), [Some(Rule::BlockCrc); 3]);
    assert_eq!(rules(&damaged, 0..131_072)[2], None);
    assert_eq!(rules(&damaged, 262_144..400_000)[2], None);
    let checksums = payload(&file).block_checksums();
    let mut damaged = file;
    damaged[checksums.offset as usize + 4] ^= 1;
    assert_eq!(rules(&damaged, 262_143..262_145), [Some(Rule::BlockCrc); 3]);
}

#[test]
fn a_short_plane_without_records_has_the_tensor_checksum_alone() {
    for forms in [0, 0x3].map(|bits| Forms::from_bits(Dtype::I16, bits).unwrap()) {
        let mut file = file_of(forms, 0, &weights(forms, 20_000, 9));
        let payload = payload(&file);
        assert_eq!(payload.block_count(), 0);
        file[payload.plain().offset as usize + 100] ^= 1;
        let crc = Some(Rule::TensorCrc);
        assert_eq!(rules(&file, 0..20_000), [crc, crc, None]);
    }
}

#[test]
fn padding_bits_of_a_plain_plane_are_zero_where_they_are_read() {
    // Three plain bits, so 8,197 weights leave a bit of the last byte.
    for bits in [0x33, 0x13, 0x31] {
        let forms = Forms::from_bits(Dtype::F8E5M2, bits).unwrap();
        let count = 8_197;
        let expected = weights(forms, count, 10);
        let mut file = file_of(forms, 12, &expected);
        let payload = payload(&file);
        assert_ne!(payload.plain_padding_mask(), 0);
        let last = payload.plain().end() as usize - 1;
        file[last] |= 0x80;
        if forms.is_coded() {
            // The checksum of the last chunk's first record covers the byte.
            unweight_testkit::repair_checksums(&mut file);
        }
        let count = count as u64;
        let padding = Some(Rule::Padding);
        assert_eq!(rules(&file, count - 1..count), [padding; 3], "{bits:x}");
        assert_eq!(rules(&file, 0..4096)[2], None);
    }
}

fn with_extension(kind: u32) -> Vec<u8> {
    let declared = vec![Declaration::new("w", Dtype::U8, &[3])];
    let item = Extension {
        kind,
        contents: b"unknown",
    };
    let kind = SourceKind::None;
    let mut writer =
        ContainerWriter::with_extensions(Vec::new(), kind, &[], &[item], declared).unwrap();
    let mut raw = writer.raw().unwrap();
    raw.write(&[1, 2, 3]).unwrap();
    raw.finish().unwrap();
    writer.finish().unwrap()
}

#[test]
fn extensions_are_checked_when_a_file_is_opened() {
    let file = with_extension(0x7000_0001);
    for options in [
        OpenOptions::new(),
        OpenOptions::new().coalesce(Coalesce::new()),
    ] {
        let model = options.open_bytes(&file[..]).unwrap();
        model.verify().unwrap();
        let rule = |file: &[u8]| options.open_bytes(file).unwrap_err().rule();
        assert_eq!(
            rule(&with_extension(0xf000_0001)),
            Some(Rule::ExtensionUnknown)
        );
        let mut damaged = file.clone();
        damaged[model.header().extensions().offset as usize + 9] ^= 1;
        assert_eq!(rule(&damaged), Some(Rule::ExtensionCrc));
    }
}
