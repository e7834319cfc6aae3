//! What the writer writes, the parser reads; what no file may hold, the writer refuses.

use proptest::prelude::*;
use unweight_format::write::{CodedParameters, ContainerWriter, Declaration, WriteError};
use unweight_format::{Directory, Dtype, Encoding, FileHeader, Palette, Payload, Rule, SourceKind};

fn refused(declarations: Vec<Declaration<'_>>) -> Rule {
    match ContainerWriter::new(Vec::new(), SourceKind::None, &[], declarations) {
        Err(WriteError::Rule(rule, _)) => rule,
        other => panic!("expected a broken rule, got {other:?}"),
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
    assert!(matches!(raw.finish(), Err(WriteError::Misuse(_))));
    let mut raw = writer.raw().unwrap();
    assert!(matches!(raw.write(&[0; 7]), Err(WriteError::Misuse(_))));
    assert!(matches!(writer.finish(), Err(WriteError::Misuse(_))));
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
    let parameters = CodedParameters {
        encoding: Encoding::Palette,
        chunk_size_log2: 12,
        palette: Palette::new(core::array::from_fn(|i| i as u8)).unwrap(),
    };
    let misuse = |result| assert!(matches!(result, Err(WriteError::Misuse(_))));
    let declared = vec![bf16("a", &[4097])];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut coded = writer.coded(parameters).unwrap();
    misuse(coded.sign_mantissa(2, &[0; 1]));
    misuse(coded.sign_mantissa(u64::MAX, &[0; 1]));
    misuse(coded.sign_mantissa(1, &[0; 4096]));
    coded.sign_mantissa(1, &[0; 1]).unwrap();
    coded.sign_mantissa(0, &[0; 4096]).unwrap();
    coded.record(&[0; 16]).unwrap();
    misuse(coded.finish(0));
    let mut coded = writer.coded(parameters).unwrap();
    coded.record(&[0; 16]).unwrap();
    coded.record(&[0; 16]).unwrap();
    misuse(coded.record(&[0; 16]));
    misuse(coded.finish(0));
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
        // A header that lets the directory's fields be reached, whatever they are.
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
