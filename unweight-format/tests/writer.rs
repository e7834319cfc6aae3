//! The writer: the parser reads its output, and it refuses invalid input.

use std::cell::Cell;

use proptest::prelude::*;
use unweight_format::write::{
    CodedParameters, ContainerWriter, Declaration, Misuse, Sink, WriteError,
};
use unweight_format::{Directory, Dtype, Encoding, FileHeader, Palette, Payload, Rule, SourceKind};

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

fn parameters() -> CodedParameters {
    CodedParameters {
        encoding: Encoding::Palette,
        chunk_size_log2: 12,
        palette: Palette::new(core::array::from_fn(|i| i as u8)).unwrap(),
    }
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
    misuse(raw.finish(), Misuse::RawTooShort { found, expected });
    let mut raw = writer.raw().unwrap();
    let found = 7;
    misuse(raw.write(&[0; 7]), Misuse::RawTooLong { found, expected });
    raw.write(&[0; 4]).unwrap();
    misuse(raw.write(&[0; 3]), Misuse::RawTooLong { found, expected });
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
        writer.coded(parameters()),
        Misuse::NoTensorLeft { declared },
    );
    writer.finish().unwrap();

    let declared = vec![bf16("a", &[0]), bf16("b", &[5]), bf16("c", &[0])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    writer.raw().unwrap().finish().unwrap();
    // A tensor that was begun is not written if its writer is dropped or leaked.
    drop(writer.coded(parameters()).unwrap());
    std::mem::forget(writer.raw().unwrap());
    let (tensor, declared) = (1, 3);
    misuse(writer.finish(), Misuse::TensorMissing { tensor, declared });
}

#[test]
fn a_tensor_that_was_given_up_leaves_no_trace() {
    let parameters = CodedParameters {
        encoding: Encoding::Huffman,
        chunk_size_log2: 12,
        palette: Palette::new(core::array::from_fn(|i| i as u8)).unwrap(),
    };
    let container = |gives_up: bool| {
        let declared = vec![bf16("a", &[5000])];
        let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        if gives_up {
            let mut coded = writer.coded(parameters).unwrap();
            coded.chunk(&[0xff; 4096], &[0xff; 4112]).unwrap();
        }
        let mut raw = writer.raw().unwrap();
        raw.write(&[7; 10_000]).unwrap();
        raw.finish().unwrap();
        writer.finish().unwrap()
    };
    assert_eq!(container(true), container(false));
}

#[test]
fn sign_mantissa_bytes_may_come_in_any_order() {
    let parameters = CodedParameters {
        encoding: Encoding::Palette,
        chunk_size_log2: 12,
        palette: Palette::new(core::array::from_fn(|i| i as u8)).unwrap(),
    };
    let pieces: [&[u8]; 3] = [&[1; 4096], &[2; 4096], &[3; 808]];
    let records: [&[u8]; 3] = [&[4; 48], &[5; 16], &[6; 32]];
    let container = |order: Option<[usize; 3]>| {
        let declared = vec![bf16("a", &[9000])];
        let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
        let mut coded = writer.coded(parameters).unwrap();
        match order {
            None => {
                for (piece, record) in pieces.iter().zip(records) {
                    coded.chunk(piece, record).unwrap();
                }
            }
            Some([first, rest @ ..]) => {
                coded.sign_mantissa(first as u64, pieces[first]).unwrap();
                for record in records {
                    coded.record(record).unwrap();
                }
                for number in rest {
                    coded.sign_mantissa(number as u64, pieces[number]).unwrap();
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
    let mut coded = writer.coded(parameters()).unwrap();
    let chunks = 2;
    for chunk in [2, u64::MAX] {
        misuse(
            coded.sign_mantissa(chunk, &[0; 1]),
            Misuse::NoSuchChunk { chunk, chunks },
        );
    }
    for (chunk, found, expected) in [(1, 4096, 1), (1, 0, 1), (0, 4095, 4096)] {
        misuse(
            coded.sign_mantissa(chunk, &vec![0; found as usize]),
            Misuse::ChunkLength {
                chunk,
                found,
                expected,
            },
        );
    }
    coded.sign_mantissa(1, &[0; 1]).unwrap();
    coded.sign_mantissa(0, &[0; 4096]).unwrap();
    coded.record(&[0; 16]).unwrap();
    misuse(coded.finish(0), Misuse::RecordMissing { chunk: 1 });
    let mut coded = writer.coded(parameters()).unwrap();
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
    let mut coded = writer.coded(parameters()).unwrap();
    for _ in 0..3 {
        coded.record(&[0; 16]).unwrap();
    }
    coded.sign_mantissa(0, &[0; 4096]).unwrap();
    coded.sign_mantissa(2, &[2; 4096]).unwrap();
    misuse(
        coded.sign_mantissa(0, &[7; 4096]),
        Misuse::ChunkTwice { chunk: 0 },
    );
    misuse(coded.finish(0), Misuse::ChunkMissing { chunk: 1 });

    let mut coded = writer.coded(parameters()).unwrap();
    coded.sign_mantissa(0, &[0; 4096]).unwrap();
    misuse(
        coded.chunk(&[0; 4096], &[0; 16]),
        Misuse::ChunkTwice { chunk: 0 },
    );
}

/// A sink that fails once, at the write at which the countdown is 0.
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
    let chunks: [&[u8]; 2] = [&[1; 4096], &[2; 904]];
    let container = |fails_at: Option<u32>| {
        let countdown = Cell::new(u32::MAX);
        let bytes = Vec::new();
        let sink = FailsOnce {
            bytes,
            countdown: &countdown,
        };
        let declared = vec![bf16("a", &[5000])];
        let mut writer = ContainerWriter::new(sink, SourceKind::None, &[], declared).unwrap();
        let mut coded = writer.coded(parameters()).unwrap();
        countdown.set(fails_at.unwrap_or(u32::MAX));
        for chunk in chunks {
            if let Err(error) = coded.chunk(chunk, &[3; 16]) {
                assert_eq!(error, WriteError::Sink("disk full"));
                coded.chunk(chunk, &[3; 16]).unwrap();
            }
        }
        coded.finish(0).unwrap();
        writer.finish().unwrap().bytes
    };
    // A chunk takes two writes.
    for fails_at in 0..4 {
        assert!(container(Some(fails_at)) == container(None), "{fails_at}");
    }
}

#[test]
fn refuses_records_that_no_file_may_hold() {
    let parameters = CodedParameters {
        encoding: Encoding::Palette,
        chunk_size_log2: 12,
        palette: Palette::new(core::array::from_fn(|i| i as u8)).unwrap(),
    };
    let declared = vec![bf16("a", &[5000])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(parameters).unwrap();
    let rule = |result| match result {
        Err(WriteError::Rule(rule, Some(0))) => rule,
        other => panic!("expected a broken rule, got {other:?}"),
    };
    assert_eq!(rule(coded.chunk(&[0; 4096], &[0; 17])), Rule::RecordLength);
    assert_eq!(
        rule(coded.chunk(&[0; 4096], &[0; 4128])),
        Rule::RecordTooLong
    );
    assert!(matches!(
        coded.chunk(&[0; 4095], &[0; 32]),
        Err(WriteError::Misuse(_))
    ));
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
            let Payload::Raw(plane) = tensor.payload() else { panic!("raw") };
            let bytes = plane.data().of(&file).unwrap();
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
