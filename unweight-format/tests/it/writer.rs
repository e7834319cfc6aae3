//! The writer: the parser reads its output, and it refuses invalid input.

use std::cell::Cell;

use proptest::prelude::*;
use unweight_format::write::{ContainerWriter, Declaration, Misuse, Sink, WriteError};
use unweight_format::{
    Directory, Dtype, Encoding, Extension, FileHeader, Palette, Palettes, Rule, SourceKind,
};

fn refused(declarations: Vec<Declaration<'_>>) -> Rule {
    match ContainerWriter::new(Vec::new(), SourceKind::None, &[], declarations) {
        Err(WriteError::Rule(rule, _)) => rule,
        other => panic!("expected a broken rule, got {other:?}"),
    }
}

fn misuse<T: std::fmt::Debug>(
    result: Result<T, WriteError<std::convert::Infallible>>,
    expected: Misuse,
) {
    assert_eq!(result.err(), Some(WriteError::Misuse(expected)));
}

/// A coded exponent alone: 8 plain bits.
fn exponents() -> Palettes {
    let palettes = Palettes::raw(Dtype::Bf16);
    palettes
        .with_coded(0, Encoding::Palette, Palette::lowest(8))
        .unwrap()
}

/// A coded exponent and 3 coded bits of the mantissa: 5 plain bits.
fn two_fields() -> Palettes {
    exponents()
        .with_coded(1, Encoding::Huffman, Palette::lowest(3))
        .unwrap()
}

fn bf16<'a>(name: &'a str, shape: &'a [u64]) -> Declaration<'a> {
    Declaration::new(name, Dtype::Bf16, shape)
}

#[test]
fn refuses_declarations_that_no_file_may_hold() {
    let long = "n".repeat(65_536);
    assert_eq!(refused(vec![bf16(&long, &[])]), Rule::LimitName);
    assert_eq!(refused(vec![bf16("a", &[1; 65])]), Rule::LimitRank);
    assert_eq!(
        refused(vec![bf16("a", &[1 << 30, 1 << 30])]),
        Rule::LimitElements
    );
    assert_eq!(
        refused(vec![bf16("a", &[u64::MAX, 3])]),
        Rule::LimitElements
    );
    assert_eq!(
        refused(vec![bf16("a", &[1]), bf16("b", &[]), bf16("a", &[2])]),
        Rule::NameDuplicate
    );
    let half_a_byte = Declaration::new("f4", Dtype::F4, &[3]);
    assert_eq!(refused(vec![half_a_byte]), Rule::TensorBits);
}

#[test]
fn refuses_to_finish_before_every_byte_is_there() {
    let declared = vec![bf16("a", &[3])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut raw = writer.raw().unwrap();
    raw.write(&[0; 5]).unwrap();
    let (found, expected) = (5, 6);
    misuse(raw.finish(), Misuse::PlaneTooShort { found, expected });
    let mut raw = writer.raw().unwrap();
    let found = 7;
    misuse(raw.write(&[0; 7]), Misuse::PlaneTooLong { found, expected });
    raw.write(&[0; 4]).unwrap();
    misuse(raw.write(&[0; 3]), Misuse::PlaneTooLong { found, expected });
    let (tensor, declared) = (0, 1);
    misuse(writer.finish(), Misuse::TensorMissing { tensor, declared });
}

#[test]
fn refuses_tensors_that_were_not_declared_and_to_leave_one_out() {
    let declared = vec![bf16("a", &[0]), bf16("b", &[0]), bf16("c", &[0])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for _ in 0..3 {
        writer.raw().unwrap().finish().unwrap();
    }
    let declared = 3;
    misuse(writer.raw(), Misuse::NoTensorLeft { declared });
    misuse(
        writer.coded(&exponents(), 12),
        Misuse::NoTensorLeft { declared },
    );
    writer.finish().unwrap();

    let declared = vec![bf16("a", &[0]), bf16("b", &[5]), bf16("c", &[0])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    writer.raw().unwrap().finish().unwrap();
    // Begun, dropped and leaked: neither is written.
    drop(writer.coded(&exponents(), 12).unwrap());
    std::mem::forget(writer.raw().unwrap());
    let (tensor, declared) = (1, 3);
    misuse(writer.finish(), Misuse::TensorMissing { tensor, declared });
}

#[test]
fn a_tensor_that_was_given_up_leaves_no_trace() {
    let container = |gives_up: bool| {
        let declared = vec![bf16("a", &[5000])];
        let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        if gives_up {
            let mut coded = writer.coded(&exponents(), 12).unwrap();
            coded.chunk(&[0xff; 4096], &[&[0xff; 4112]]).unwrap();
        }
        let mut raw = writer.raw().unwrap();
        raw.write(&[7; 10_000]).unwrap();
        raw.finish().unwrap();
        writer.finish().unwrap()
    };
    assert_eq!(container(true), container(false));
}

#[test]
fn plain_bytes_may_come_in_any_order() {
    let pieces: [&[u8]; 3] = [&[1; 4096], &[2; 4096], &[3; 808]];
    let records: [&[u8]; 3] = [&[4; 48], &[5; 16], &[6; 32]];
    let container = |order: Option<[usize; 3]>| {
        let declared = vec![bf16("a", &[9000])];
        let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        let mut coded = writer.coded(&exponents(), 12).unwrap();
        match order {
            None => {
                for (piece, record) in pieces.iter().zip(records) {
                    coded.chunk(piece, &[record]).unwrap();
                }
            }
            Some([first, rest @ ..]) => {
                coded.plain(first as u64, pieces[first]).unwrap();
                for record in records {
                    coded.record(record).unwrap();
                }
                for number in rest {
                    coded.plain(number as u64, pieces[number]).unwrap();
                }
            }
        }
        coded.finish(7).unwrap();
        writer.finish().unwrap()
    };
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        assert_eq!(container(Some(order)), container(None));
    }
}

#[test]
fn refuses_chunks_that_are_not_there_and_tensors_that_lack_some() {
    let declared = vec![bf16("a", &[4097])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&exponents(), 12).unwrap();
    let chunks = 2;
    for chunk in [2, u64::MAX] {
        misuse(
            coded.plain(chunk, &[0; 1]),
            Misuse::NoSuchChunk { chunk, chunks },
        );
    }
    for (chunk, found, expected) in [(1, 4096, 1), (1, 0, 1), (0, 4095, 4096)] {
        misuse(
            coded.plain(chunk, &vec![0; found as usize]),
            Misuse::ChunkLength {
                chunk,
                found,
                expected,
            },
        );
    }
    coded.plain(1, &[0; 1]).unwrap();
    coded.plain(0, &[0; 4096]).unwrap();
    coded.record(&[0; 16]).unwrap();
    misuse(
        coded.finish(0),
        Misuse::RecordMissing {
            chunk: 1,
            coded_field: 0,
        },
    );
    let mut coded = writer.coded(&exponents(), 12).unwrap();
    coded.record(&[0; 16]).unwrap();
    coded.record(&[0; 16]).unwrap();
    misuse(coded.record(&[0; 16]), Misuse::NoRecordLeft { chunks });
    misuse(coded.finish(0), Misuse::ChunkMissing { chunk: 0 });
}

#[test]
fn refuses_a_chunk_twice_in_place_of_another() {
    // The numbers of bytes and of records are right.
    let declared = vec![bf16("a", &[3 * 4096])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&exponents(), 12).unwrap();
    for _ in 0..3 {
        coded.record(&[0; 16]).unwrap();
    }
    coded.plain(0, &[0; 4096]).unwrap();
    coded.plain(2, &[2; 4096]).unwrap();
    misuse(coded.plain(0, &[7; 4096]), Misuse::ChunkTwice { chunk: 0 });
    misuse(coded.finish(0), Misuse::ChunkMissing { chunk: 1 });

    let mut coded = writer.coded(&exponents(), 12).unwrap();
    coded.plain(0, &[0; 4096]).unwrap();
    misuse(
        coded.chunk(&[0; 4096], &[&[0; 16]]),
        Misuse::ChunkTwice { chunk: 0 },
    );
}

/// Fails once: at the write at which the countdown is 0.
struct FailsOnce<'c> {
    bytes: Vec<u8>,
    countdown: &'c Cell<u32>,
}

impl Sink for FailsOnce<'_> {
    type Error = &'static str;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), &'static str> {
        let left = self.countdown.get();
        self.countdown.set(left.wrapping_sub(1));
        match left {
            0 => Err("disk full"),
            _ => self
                .bytes
                .write_at(offset, bytes)
                .map_err(|never| match never {}),
        }
    }

    fn truncate(&mut self, length: u64) -> Result<(), &'static str> {
        Sink::truncate(&mut self.bytes, length).map_err(|never| match never {})
    }
}

#[test]
fn a_chunk_that_the_sink_refused_can_be_written_again() {
    // 5 plain bits of 4096 and of 904 weights.
    let chunks: [&[u8]; 2] = [&[1; 2560], &[2; 565]];
    let records: [&[u8]; 2] = [&[3; 16], &[4; 32]];
    let container = |fails_at: Option<u32>| {
        let countdown = Cell::new(u32::MAX);
        let bytes = Vec::new();
        let sink = FailsOnce {
            bytes,
            countdown: &countdown,
        };
        let declared = vec![bf16("a", &[5000])];
        let mut writer = ContainerWriter::new(sink, SourceKind::None, &[], declared).unwrap();
        let mut coded = writer.coded(&two_fields(), 12).unwrap();
        countdown.set(fails_at.unwrap_or(u32::MAX));
        for chunk in chunks {
            if let Err(error) = coded.chunk(chunk, &records) {
                assert_eq!(error, WriteError::Sink("disk full"));
                coded.chunk(chunk, &records).unwrap();
            }
        }
        coded.finish(0).unwrap();
        writer.finish().unwrap().bytes
    };
    // Each chunk is three writes.
    for fails_at in 0..6 {
        assert!(container(Some(fails_at)) == container(None), "{fails_at}");
    }
}

#[test]
fn refuses_records_that_no_file_may_hold() {
    let declared = vec![bf16("a", &[5000])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&exponents(), 12).unwrap();
    let rule = |result| match result {
        Err(WriteError::Rule(rule, Some(0))) => rule,
        other => panic!("expected a broken rule, got {other:?}"),
    };
    assert_eq!(
        rule(coded.chunk(&[0; 4096], &[&[0; 17]])),
        Rule::RecordLength
    );
    assert_eq!(
        rule(coded.chunk(&[0; 4096], &[&[0; 4128]])),
        Rule::RecordTooLong
    );
    assert!(matches!(
        coded.chunk(&[0; 4095], &[&[0; 32]]),
        Err(WriteError::Misuse(_))
    ));
}

#[test]
fn refuses_forms_that_the_tensor_cannot_have() {
    let declared = vec![bf16("a", &[0]), bf16("b", &[1])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let broken = |rule, tensor| Some(WriteError::Rule(rule, Some(tensor)));
    assert_eq!(
        writer.coded(&exponents(), 12).err(),
        broken(Rule::FormEmpty, 0)
    );
    let constant = Palettes::raw(Dtype::Bf16).with_constant(0, 127).unwrap();
    assert_eq!(writer.plain(&constant).err(), broken(Rule::FormEmpty, 0));
    misuse(writer.plain(&exponents()), Misuse::CodedIsNotPlain);
    misuse(writer.coded(&constant, 12), Misuse::PlainIsNotCoded);
    let (found, declared) = (Dtype::F16, Dtype::Bf16);
    misuse(
        writer.plain(&Palettes::raw(found)),
        Misuse::OtherDtype { found, declared },
    );
    writer.raw().unwrap().finish().unwrap();
    for size in [0, 11, 17] {
        assert_eq!(
            writer.coded(&exponents(), size).err(),
            broken(Rule::ChunkSize, 1)
        );
    }
}

#[test]
fn refuses_another_number_of_records_than_coded_fields() {
    let declared = vec![bf16("a", &[16])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&two_fields(), 12).unwrap();
    let (record, plain): (&[u8], _) = (&[0; 16], [0; 10]);
    let count = |found| Misuse::RecordCount {
        chunk: 0,
        found,
        expected: 2,
    };
    misuse(coded.chunk(&plain, &[record]), count(1));
    misuse(coded.chunk(&plain, &[record; 3]), count(3));
    coded.record(record).unwrap();
    misuse(coded.chunk(&plain, &[record; 2]), count(3));
    coded.plain(0, &plain).unwrap();
    let (chunk, coded_field) = (0, 1);
    misuse(
        coded.finish(0),
        Misuse::RecordMissing { chunk, coded_field },
    );
    let mut coded = writer.coded(&two_fields(), 12).unwrap();
    coded.chunk(&plain, &[record; 2]).unwrap();
    coded.finish(0).unwrap();
    writer.finish().unwrap();
}

#[test]
fn bounds_a_record_by_the_width_of_its_field() {
    let declared = vec![bf16("a", &[4096])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&two_fields(), 12).unwrap();
    let too_long = Err(WriteError::Rule(Rule::RecordTooLong, Some(0)));
    assert_eq!(coded.record(&[0; 4128]), too_long);
    coded.record(&[0; 4112]).unwrap();
    assert_eq!(coded.record(&[0; 1568]), too_long);
    coded.record(&[0; 1552]).unwrap();
    let chunks = 1;
    misuse(coded.record(&[0; 16]), Misuse::NoRecordLeft { chunks });
}

#[test]
fn refuses_padding_bits_of_a_plain_plane() {
    let padding = Err(WriteError::Rule(Rule::Padding, Some(0)));
    // 3 weights of 5 bits leave one bit.
    let declared = vec![bf16("a", &[3])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&two_fields(), 12).unwrap();
    assert_eq!(coded.plain(0, &[0xff, 0x80]), padding);
    coded.plain(0, &[0xff, 0x7f]).unwrap();

    // 3 weights of 4 bits leave four.
    let constants = Palettes::raw(Dtype::Bf16)
        .with_constant(0, 127)
        .and_then(|palettes| palettes.with_constant(2, 0))
        .unwrap();
    let mut plain = writer.plain(&constants).unwrap();
    plain.write(&[0xff]).unwrap();
    assert_eq!(plain.write(&[0x1f]), padding);
    plain.write(&[0x0f]).unwrap();
    plain.finish(0).unwrap();
}

#[test]
fn says_when_a_tensor_no_longer_saves_space() {
    let declared = vec![bf16("a", &[40_000])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(&exponents(), 12).unwrap();
    // Raw takes 80,008 bytes, aligned; this 40,256 and the records.
    for _ in 0..9 {
        coded.record(&[0; 4112]).unwrap();
    }
    assert!(coded.saves_space());
    coded.record(&[0; 3136]).unwrap();
    assert!(!coded.saves_space());
}

/// A sink that keeps nothing.
struct Discards;

impl Sink for Discards {
    type Error = std::convert::Infallible;

    fn write_at(&mut self, _: u64, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn refuses_extensions_past_the_limit() {
    // 16 items with 8 bytes of kind and length each have 2^28 bytes.
    let contents = vec![0; (1 << 24) - 8];
    let item = |contents| Extension { kind: 1, contents };
    let [sixteenth, shorter, empty] = [&contents[..], &contents[1..], &[]].map(item);
    let new = |extensions: &[Extension<'_>]| {
        let kind = SourceKind::None;
        ContainerWriter::with_extensions(Discards, kind, &[], extensions, vec![]).map(|_| ())
    };
    let mut most = vec![sixteenth; 15];
    most.push(shorter);
    assert_eq!(new(&most), Ok(()));
    most.push(empty);
    let limit = Err(WriteError::Rule(Rule::LimitExtensions, None));
    assert_eq!(new(&most), limit);
    assert_eq!(new(&[sixteenth; 300]), limit);
}

fn dtype() -> impl Strategy<Value = Dtype> {
    proptest::sample::select(Dtype::ALL)
}

proptest! {
    #[test]
    fn raw_tensors_of_any_name_type_and_shape_are_found_again(
        tensors in proptest::collection::btree_map(
            ".{0,12}",
            (dtype(), proptest::collection::vec(0u64..5, 0..4)),
            0..12,
        ),
        source in proptest::collection::vec(any::<u8>(), 8..40),
    ) {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, (dtype, shape))| Declaration::new(name, *dtype, shape))
            .filter(|declared| declared.element_count().unwrap() * declared.dtype.bits() % 8 == 0)
            .collect();
        let data = |declared: &Declaration<'_>| {
            let bytes = declared.element_count().unwrap() * declared.dtype.bits() / 8;
            vec![declared.dtype.code(); bytes as usize]
        };
        let kind = SourceKind::Safetensors;
        let mut writer = ContainerWriter::new(Vec::new(), kind, &source, tensors.clone()).unwrap();
        for declared in &tensors {
            let mut raw = writer.raw().unwrap();
            raw.write(&data(declared)).unwrap();
            raw.finish().unwrap();
        }
        let file = writer.finish().unwrap();

        let header = FileHeader::parse(&file).unwrap();
        header.require_file_length(file.len() as u64).unwrap();
        prop_assert_eq!(header.source().of(&file).unwrap(), &source[..]);
        header.require_source_checksum(&source).unwrap();
        let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
        prop_assert_eq!(directory.tensor_count() as usize, tensors.len());
        for declared in &tensors {
            let tensor = directory.find(declared.name).unwrap();
            prop_assert_eq!(tensor.dtype(), declared.dtype);
            prop_assert!(tensor.shape().eq(declared.shape.dimensions()));
            prop_assert!(Declaration::from(&tensor).shape.dimensions().eq(tensor.shape()));
            prop_assert!(tensor.forms().is_raw());
            let bytes = tensor.payload().plain().of(&file).unwrap();
            prop_assert_eq!(bytes, &data(declared)[..]);
            tensor.require_checksum(unweight_format::crc32(bytes)).unwrap();
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        mut file in proptest::collection::vec(any::<u8>(), 64..400),
        tensors in 0u32..6,
        directory_length in 0u64..330,
    ) {
        // The header is valid, so that the parser reads the fields of the directory.
        file[..12].copy_from_slice(b"\x89UNW\r\n\x1a\n\x01\0\0\0");
        file[12..16].copy_from_slice(&tensors.to_le_bytes());
        file[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        file[24..32].copy_from_slice(&directory_length.to_le_bytes());
        file[32..40].fill(0);
        let directory = file.get(64..64 + directory_length as usize).unwrap_or(&[]).to_vec();
        file[40..44].copy_from_slice(&unweight_format::crc32(&directory).to_le_bytes());
        file[44..60].fill(0);
        let checksum = unweight_format::crc32(&file[..60]);
        file[60..64].copy_from_slice(&checksum.to_le_bytes());
        if let Ok(header) = FileHeader::parse(&file) {
            let _ = Directory::parse(&header, &directory);
        }
    }
}
