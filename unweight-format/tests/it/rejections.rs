//! Each rule rejects a file that breaks it and no other rule.

use crate::support::{decode::decode, example, resealed};
use proptest::prelude::*;
use unweight_format::layout::{entry, file_header};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{
    Category, Directory, Dtype, Error, FileHeader, Rule, SourceKind, Tensor, crc32,
};

/// The rule that a file breaks.
fn broken(file: &[u8]) -> Rule {
    decode(file).expect_err("a rule is broken").rule
}

/// Offset of a field of the header.
fn header(field: u64) -> usize {
    field as usize
}

/// Offset of a field of an entry.
fn entry(number: usize, field: u64) -> usize {
    64 + 40 * number + field as usize
}

fn set(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The rule that the small example breaks when these bytes are put at this offset, and the
/// checksums of header, directory, source and extensions are right.
fn with(at: usize, bytes: &[u8]) -> Rule {
    let (_, mut file) = example::small();
    set(&mut file, at, bytes);
    broken(&resealed(file))
}

/// Calls `then` with a tensor of an example.
fn tensor<T>(file: &[u8], name: &str, then: impl FnOnce(&Tensor<'_>) -> T) -> T {
    let header = FileHeader::parse(file).unwrap();
    let directory = Directory::parse(&header, header.directory().of(file).unwrap()).unwrap();
    then(&directory.find(name).unwrap())
}

/// Offset of a tensor's palettes.
fn palettes(file: &[u8], name: &str) -> usize {
    tensor(file, name, |tensor| {
        tensor.payload().palettes().offset as usize
    })
}

#[test]
fn rejects_another_magic_and_tells_it_from_a_short_file() {
    let error = decode(b"hello").unwrap_err();
    assert_eq!(
        (error.rule, error.offset, error.found),
        (Rule::FileMagic, 0, u64::from(b'h'))
    );
    for begun in [&b"\x89UN"[..], b""] {
        assert_eq!(broken(begun), Rule::FileTruncated);
    }
}

#[test]
fn rejects_every_strict_prefix_and_says_how_much_is_missing() {
    let (_, file) = example::small();
    for length in 0..file.len() {
        let error = decode(&file[..length]).unwrap_err();
        assert_eq!(error.rule.category(), Category::Truncated, "{length}");
        let needed = if length < 64 { 64 } else { file.len() };
        assert_eq!(error.missing_bytes(), Some((needed - length) as u64));
    }
}

#[test]
fn rejects_a_byte_behind_the_end() {
    let (_, mut file) = example::small();
    file.push(0);
    assert_eq!(broken(&file), Rule::FileTrailing);
}

#[test]
fn rejects_a_later_major_version_whatever_else_it_holds() {
    let (_, mut file) = example::small();
    file[8] = 2;
    file[20..60].fill(0xff);
    let error = decode(&file).unwrap_err();
    assert_eq!(error.rule.category(), Category::Unsupported);
    assert_eq!(
        error.to_string(),
        "file-version at byte 8: found 2, expected 1; the major version is not 1"
    );
}

#[test]
fn ignores_the_minor_version() {
    let (_, mut file) = example::small();
    set(&mut file, 10, &[0xff; 2]);
    assert!(decode(&resealed(file)).is_ok());
}

#[test]
fn rejects_a_bad_header() {
    for reserved in 57..60 {
        assert_eq!(with(reserved, &[1]), Rule::FileReserved);
    }
    let long = |value: u64| value.to_le_bytes();
    assert_eq!(
        with(
            header(file_header::TENSOR_COUNT),
            &(1u32 << 20 | 1).to_le_bytes()
        ),
        Rule::LimitTensors
    );
    let limits = [
        (file_header::DIRECTORY_LENGTH, Rule::LimitDirectory),
        (file_header::SOURCE_LENGTH, Rule::LimitSource),
    ];
    for (field, rule) in limits {
        assert_eq!(with(header(field), &long((1 << 28) + 1)), rule);
    }
    assert_eq!(
        with(
            header(file_header::EXTENSION_LENGTH),
            &((1u32 << 28) + 1).to_le_bytes()
        ),
        Rule::LimitExtensions
    );
    for kind in [2, 255] {
        assert_eq!(
            with(header(file_header::SOURCE_KIND), &[kind]),
            Rule::SourceKind
        );
    }
    assert_eq!(
        with(header(file_header::SOURCE_KIND), &[0]),
        Rule::SourceLength
    );
    assert_eq!(
        with(header(file_header::SOURCE_LENGTH), &long(7)),
        Rule::SourceLength
    );
    let (_, mut file) = example::small();
    file[60] ^= 1;
    assert_eq!(broken(&file), Rule::FileHeaderCrc);
}

#[test]
fn rejects_a_file_length_that_is_not_payload_and_guard() {
    let (_, mut file) = example::small();
    file.push(0);
    let length = (file.len() as u64).to_le_bytes();
    set(&mut file, header(file_header::FILE_LENGTH), &length);
    assert_eq!(broken(&resealed(file)), Rule::FileLength);
    // Too short for what the header alone states.
    assert_eq!(
        with(header(file_header::FILE_LENGTH), &[0; 8]),
        Rule::FileLength
    );
}

#[test]
fn rejects_a_directory_that_does_not_add_up() {
    let count = header(file_header::TENSOR_COUNT);
    for tensors in [4u32, 6, 1 << 20] {
        assert_eq!(with(count, &tensors.to_le_bytes()), Rule::DirLength);
    }
    for field in [entry::DIMS_END, entry::NAME_END] {
        assert_eq!(with(entry(4, field), &[200]), Rule::DirLength);
        assert_eq!(with(entry(4, field), &[0xff; 4]), Rule::DirLength);
    }
    let (_, mut file) = example::small();
    file[header(file_header::DIRECTORY_CHECKSUM)] ^= 1;
    let checksum = crc32(&file[..60]).to_le_bytes();
    set(&mut file, 60, &checksum);
    assert_eq!(broken(&file), Rule::DirCrc);
}

#[test]
fn rejects_a_bad_entry() {
    for reserved in [2, 3, 36, 37, 38, 39] {
        for number in [0, 4] {
            assert_eq!(with(entry(number, reserved), &[1]), Rule::DirReserved);
        }
    }
    // 5 entries, 5 dimensions, and the names "f8", "empty", "w", "bytes" and "upcast".
    let names = 64 + 5 * 40 + 5 * 8;
    for padding in [names + 19, names + 23] {
        assert_eq!(with(padding, &[1]), Rule::DirPadding);
    }
    assert_eq!(with(entry(1, entry::DIMS_END), &[0]), Rule::DimsEnd);
    assert_eq!(with(entry(0, entry::DIMS_END), &[6]), Rule::DimsEnd);
    assert_eq!(with(entry(1, entry::NAME_END), &[1]), Rule::NameEnd);
    assert_eq!(with(entry(0, entry::NAME_END), &[0xff; 4]), Rule::NameEnd);
    assert_eq!(with(names + 2, &[0xc0]), Rule::NameUtf8);
    assert_eq!(with(names + 2, &[0xed, 0xa0, 0x80]), Rule::NameUtf8);
    assert_eq!(with(entry(0, entry::BY_NAME), &[5]), Rule::NameOrder);
    assert_eq!(with(entry(0, entry::BY_NAME), &[0]), Rule::NameOrder);
    assert_eq!(with(entry(1, entry::BY_NAME), &[3]), Rule::NameDuplicate);
    for dtype in [0, 23, 255] {
        assert_eq!(with(entry(0, entry::DTYPE), &[dtype]), Rule::DtypeUnknown);
    }
    let dims = 64 + 5 * 40;
    assert_eq!(with(dims, &(1u64 << 57).to_le_bytes()), Rule::LimitElements);
    // 1001 elements of 4 bits.
    assert_eq!(with(entry(0, entry::DTYPE), &[9]), Rule::TensorBits);
}

#[test]
fn rejects_more_dimensions_or_a_longer_name_than_the_limit() {
    let name = "n".repeat(65_535);
    let declared = vec![
        Declaration::new(&name, Dtype::U8, &[0; 64]),
        Declaration::new("z", Dtype::U8, &[0]),
    ];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for _ in 0..2 {
        writer.raw().unwrap().finish().unwrap();
    }
    let file = writer.finish().unwrap();
    assert!(decode(&file).is_ok());
    // Dimensions or names of the second tensor become those of the first.
    for (field, end, rule) in [
        (entry::DIMS_END, 65u32, Rule::LimitRank),
        (entry::NAME_END, 65_536, Rule::LimitName),
    ] {
        let mut file = file.clone();
        set(&mut file, entry(0, field), &end.to_le_bytes());
        assert_eq!(broken(&resealed(file)), rule);
    }
}

#[test]
fn rejects_forms_that_a_tensor_cannot_have() {
    let forms = |number: usize, bits: u32| with(entry(number, entry::FORMS), &bits.to_le_bytes());
    for form in 4..16 {
        assert_eq!(forms(0, 0x30 | form), Rule::FormUnknown);
        assert_eq!(forms(0, form << 28), Rule::FormUnknown);
    }
    // F8_E4M3 has two fields, and both are too narrow for a palette.
    assert_eq!(forms(0, 0x131), Rule::FormField);
    assert_eq!(forms(0, 0x32), Rule::FormField);
    assert_eq!(forms(1, 0x3), Rule::FormEmpty);
    for size in [0, 11, 17, 255] {
        assert_eq!(with(entry(0, entry::CHUNK_SIZE), &[size]), Rule::ChunkSize);
    }
    for number in [1, 3, 4] {
        assert_eq!(
            with(entry(number, entry::CHUNK_SIZE), &[12]),
            Rule::ChunkSize
        );
    }
    let dims = 64 + 5 * 40;
    assert_eq!(
        with(dims, &((1u64 << 36) + 1).to_le_bytes()),
        Rule::LimitCoded
    );
    assert_eq!(
        with(entry(3, entry::PALETTE_CHECKSUM), &[1]),
        Rule::PaletteCrc
    );
}

#[test]
fn rejects_a_payload_end_that_does_not_fit_the_tensor() {
    let (_, file) = example::small();
    // Coded, empty, coded, raw, and constants alone.
    for number in 0..5 {
        let at = entry(number, entry::PAYLOAD_END);
        let end = u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
        let coded_reach = [1, 15, 16 * 1000, 1 << 40, u64::MAX - end];
        for more in coded_reach {
            assert_eq!(with(at, &(end + more).to_le_bytes()), Rule::PayloadEnd);
        }
        assert_eq!(with(at, &(end - 1).to_le_bytes()), Rule::PayloadEnd);
        assert_eq!(with(at, &[0; 8]), Rule::PayloadEnd);
    }
    let records = tensor(&file, "w", |tensor| tensor.payload().records().offset);
    let at = entry(2, entry::PAYLOAD_END);
    // Two records take at least 32 bytes.
    assert_eq!(with(at, &(records + 16).to_le_bytes()), Rule::PayloadEnd);
}

#[test]
fn rejects_extensions_that_are_not_items() {
    let (_, file) = example::small();
    let extensions = FileHeader::parse(&file).unwrap().extensions();
    assert_eq!(extensions.length, 16);
    let at = extensions.offset as usize;
    assert_eq!(with(at + 3, &[0x80]), Rule::ExtensionUnknown);
    // Padding, or contents that its contents have replaced.
    assert_eq!(with(at + 4, &[3]), Rule::ExtensionPadding);
    for padding in 12..16 {
        assert_eq!(with(at + padding, &[1]), Rule::ExtensionPadding);
    }
    for length in [9, 16, u32::MAX] {
        assert_eq!(with(at + 4, &length.to_le_bytes()), Rule::ExtensionLength);
    }
    let (_, mut file) = example::small();
    file[at] ^= 1;
    assert_eq!(broken(&file), Rule::ExtensionCrc);
    // 15 bytes: the item's padding is not whole.
    let (_, mut file) = example::small();
    file[header(file_header::EXTENSION_LENGTH)] = 15;
    assert_eq!(broken(&resealed(file)), Rule::ExtensionLength);
}

#[test]
fn accepts_a_critical_item_of_a_kind_that_it_was_told() {
    let (_, mut file) = example::small();
    let extensions = FileHeader::parse(&file).unwrap().extensions();
    file[extensions.offset as usize + 3] = 0xf0;
    let file = resealed(file);
    assert_eq!(broken(&file), Rule::ExtensionUnknown);
    let header = FileHeader::parse(&file).unwrap();
    let bytes = header.extensions().of(&file).unwrap();
    let kind = 0xf000_0007;
    let extensions = unweight_format::Extensions::parse(&header, bytes, &[kind]).unwrap();
    assert!(extensions.iter().next().unwrap().is_critical());
}

#[test]
fn rejects_a_changed_source_section() {
    let (_, mut file) = example::small();
    let source = FileHeader::parse(&file).unwrap().source();
    file[source.offset as usize] ^= 1;
    assert_eq!(broken(&file), Rule::SourceCrc);
}

#[test]
fn rejects_padding_that_is_not_zero() {
    let (_, file) = example::whole();
    let header = FileHeader::parse(&file).unwrap();
    let directory = Directory::parse(&header, header.directory().of(&file).unwrap()).unwrap();
    let mut padding = vec![header.padding(), directory.guard()];
    for tensor in directory.tensors() {
        padding.extend(tensor.padding());
    }
    padding.retain(|extent| extent.length > 0);
    assert!(padding.len() >= 8, "{padding:?}");
    for extent in padding {
        for at in [extent.offset, extent.end() - 1] {
            let mut file = file.clone();
            file[at as usize] = 1;
            assert_eq!(broken(&file), Rule::Padding, "{at}");
        }
    }
    // 1001 weights of one plain bit.
    let (_, mut file) = example::small();
    let last = tensor(&file, "f8", |tensor| tensor.payload().plain().end() - 1);
    file[last as usize] |= 0x80;
    assert_eq!(broken(&file), Rule::Padding);
}

#[test]
fn rejects_a_changed_block() {
    let (_, file) = example::whole();
    let plain = tensor(&file, "bytes", |tensor| tensor.payload().plain());
    for at in [plain.offset, plain.end() - 1, plain.end() + 3] {
        let mut file = file.clone();
        file[at as usize] ^= 1;
        assert_eq!(broken(&file), Rule::BlockCrc);
    }
    // A plane of at most 65,536 bytes has none.
    let (_, mut file) = example::small();
    let plain = tensor(&file, "bytes", |tensor| tensor.payload().plain());
    file[plain.offset as usize] ^= 1;
    assert_eq!(broken(&file), Rule::TensorCrc);
}

#[test]
fn rejects_palettes_that_their_fields_cannot_have() {
    let (_, file) = example::small();
    // "f8" has those of a field of 4 bits and of a constant; "w" of a field of 8 and one of 3 bits.
    let (f8, w) = (palettes(&file, "f8"), palettes(&file, "w"));
    let changed = |number: usize, start: usize, at: usize, value: u8| {
        let mut file = file.clone();
        file[start + at] = value;
        assert_eq!(broken(&file), Rule::PaletteCrc);
        let checksum = crc32(&file[start..start + 32]).to_le_bytes();
        set(&mut file, entry(number, entry::PALETTE_CHECKSUM), &checksum);
        broken(&resealed(file))
    };
    let bad = [
        (0, f8, 15, 16),
        (0, f8, 3, 4),
        (0, f8, 16, 8),
        (0, f8, 17, 1),
        (0, f8, 31, 1),
    ];
    let of_w = [
        (2, w, 0, 111),
        (2, w, 15, 0),
        (2, w, 23, 8),
        (2, w, 24, 8),
        (2, w, 16, 1),
    ];
    for (number, start, at, value) in bad.into_iter().chain(of_w) {
        let rule = changed(number, start, at, value);
        assert_eq!(rule, Rule::PaletteValues, "{number} {at} {value}");
    }
    // Another constant is another tensor.
    assert_eq!(changed(0, f8, 16, 4), Rule::TensorCrc);
}

#[test]
fn rejects_record_ends_that_do_not_ascend_to_the_payload_end() {
    let (_, file) = example::whole();
    let (ends, records) = tensor(&file, "w", |tensor| {
        let payload = tensor.payload();
        (
            payload.record_ends().offset as usize,
            payload.records().length as u32 / 16,
        )
    });
    let with_end = |number: usize, end: u32| {
        let mut file = file.clone();
        set(&mut file, ends + 4 * number, &end.to_le_bytes());
        broken(&file)
    };
    assert_eq!(with_end(0, 0), Rule::RecordEnds);
    assert_eq!(with_end(1, 1), Rule::RecordEnds);
    assert_eq!(with_end(2, u32::MAX), Rule::RecordEnds);
    assert_eq!(with_end(3, records - 1), Rule::RecordEnds);
    assert_eq!(with_end(3, records + 1), Rule::RecordEnds);
    // Chunk 1 has 904 weights: the record of its mantissa is shorter than that of its exponents.
    assert_eq!(with_end(2, records - 1), Rule::RecordTooLong);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_change_of_a_file_makes_the_parser_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (_, mut file) = example::small();
        // Most of the header and the directory, where a change leads far.
        for (at, value) in changes {
            let at = 12 + at.index(if value % 2 == 0 { 350 } else { file.len() - 12 });
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(64 + cut.index(file.len() - 64));
        }
        let _: Result<_, Error> = decode(&resealed(file));
    }
}
