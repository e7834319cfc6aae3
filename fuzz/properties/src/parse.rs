//! Parsing of any bytes.

use std::io::Write;

use unweight_format::{
    Body, Code, Directory, Encoding, Error, Extensions, FileHeader, Palette, Palettes, Record,
    RecordEnds, RecordShape, Rule, Tensor, layout,
};
use unweight_testkit::{Random, repair_checksums};

/// Every parser of the format crate gives a value or an error for any bytes. An error refers to
/// these bytes: its position is in the file, the bytes that it reports as missing are missing, and
/// it can be printed. The result does not depend on the bytes after the parsed ones.
pub fn parse_never_panics(bytes: &[u8]) {
    parse_file(bytes);
    let mut repaired = bytes.to_vec();
    repair_checksums(&mut repaired);
    if repaired != bytes {
        parse_file(&repaired);
    }
    parse_loose(bytes);
}

fn parse_file(file: &[u8]) {
    let header = FileHeader::parse(file);
    let front = &file[..file.len().min(layout::FILE_HEADER_BYTES as usize)];
    assert_eq!(header, FileHeader::parse(front));
    let Some(header) = accepted(header, file) else {
        return;
    };
    let _ = accepted(header.require_file_length(file.len() as u64), file);
    if let Some(source) = header.source().of(file) {
        let _ = accepted(header.require_source_checksum(source), file);
    }
    if let Some(extensions) = header.extensions().of(file)
        && let Some(extensions) = accepted(Extensions::parse(&header, extensions, &[]), file)
    {
        assert!(extensions.iter().all(|item| !item.is_critical()));
    }
    let directory = file
        .get(header.directory().offset as usize..)
        .unwrap_or(&[]);
    let Some(directory) = accepted(Directory::parse(&header, directory), file) else {
        return;
    };
    assert_eq!(
        directory.tensors().count(),
        directory.tensor_count() as usize
    );
    let mut end = directory.payload_start();
    for tensor in directory.tensors() {
        let found = directory
            .find(tensor.name())
            .expect("a name in the directory is found");
        assert_eq!(found.number(), tensor.number());
        let payload = tensor.payload();
        assert!(end <= payload.start() && payload.start() <= payload.end());
        assert!(tensor.shape().len() <= 64 && tensor.data_bytes() <= 1 << 59);
        end = payload.end();
        parse_payload(file, &tensor);
    }
    assert_eq!(end, directory.payload_end());
    assert_eq!(end + layout::GUARD_BYTES, header.file_length());
}

fn parse_payload(file: &[u8], tensor: &Tensor<'_>) {
    let payload = tensor.payload();
    // An extent that is stated but not in the file must not cost anything.
    let (Some(palettes), Some(ends)) =
        (payload.palettes().of(file), payload.record_ends().of(file))
    else {
        return;
    };
    if let Some(palettes) = accepted(Palettes::parse(tensor, palettes), file) {
        assert_eq!(palettes.forms(), tensor.forms());
        let stored: Vec<u8> = palettes.stored().flatten().collect();
        assert_eq!(Some(&stored[..]), payload.palettes().of(file));
    }
    let Some(ends) = accepted(RecordEnds::parse(payload, ends), file) else {
        return;
    };
    for number in 0..payload.chunk_count() {
        let chunk = payload.chunk(number);
        for coded in payload.forms().coded() {
            let record = ends.record(number, coded.number);
            let (Some(bytes), Some(plain)) = (record.of(file), chunk.plain.of(file)) else {
                return;
            };
            let shape = payload.record_shape(&chunk, &coded);
            let record = Record::parse(&shape, record.offset, bytes, plain);
            accepted(record, file).inspect(walk);
        }
    }
}

/// Parses records, codes and palettes without a directory.
fn parse_loose(bytes: &[u8]) {
    let mut random = Random::of(bytes);
    let weights = 1 + random.below(1 << 16) as u32;
    let width = 1 + random.below(8) as u32;
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        let shape = RecordShape::new(weights, width, encoding, random.below(2) == 0);
        let mut record = bytes.to_vec();
        if let Some((checksum, checked)) = record.split_first_chunk_mut() {
            *checksum = unweight_format::crc32(checked).to_le_bytes();
        }
        for bytes in [bytes, &record] {
            // The position is 0, because an overflow past 64 bits would be the caller's error.
            accepted(Record::parse(&shape, 0, bytes, &[]), bytes).inspect(walk);
        }
    }
    let entries = layout::palette_entries(width);
    if let Some(&lengths) = bytes.first_chunk()
        && let Ok(code) = Code::from_bytes(lengths, entries)
    {
        assert_eq!(code.to_bytes(), lengths);
        let used: u32 = code.canonical().map(|code| 256 >> code.length_bits).sum();
        assert_eq!(used, 256);
        assert!(
            code.canonical()
                .all(|code| usize::from(code.entry) < entries)
        );
    }
    if let Some(&values) = bytes.first_chunk() {
        match Palette::new(width, values) {
            Ok(palette) => {
                assert!((0..entries).all(|index| palette.index_of(values[index]) == Some(index)))
            }
            Err(at) => assert!(at < layout::PALETTE_ENTRIES),
        }
    }
}

/// Reads every part of a record.
fn walk(record: &Record<'_>) {
    let streams = match record.body() {
        Body::Huffman { lanes, .. } => (0..layout::LANES)
            .map(|lane| lanes.stream(lane).len())
            .sum(),
        Body::Palette(bytes) | Body::Verbatim(bytes) => bytes.len(),
    };
    assert!(streams <= record.bytes().len());
    let positions: Vec<u16> = record
        .patches()
        .iter()
        .map(|patch| patch.position)
        .collect();
    assert!(positions.is_sorted_by(|a, b| a < b));
}

/// Returns the value. Checks an error against the contract of errors.
fn accepted<T>(result: Result<T, Error>, file: &[u8]) -> Option<T> {
    result
        .map_err(|error| {
            write!(std::io::sink(), "{error} {error:?}").expect("a sink takes everything");
            assert!(
                error.offset <= file.len() as u64 || error.rule == Rule::FileTruncated,
                "{error}"
            );
            if let Some(missing) = error.missing_bytes() {
                assert!(missing > 0, "{error}");
            }
        })
        .ok()
}
