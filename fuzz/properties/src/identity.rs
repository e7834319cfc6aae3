//! Parsing and writing as inverse operations.

use unweight::container::OpenFile;
use unweight_format::layout::file_header;
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Extension, Extensions, Palettes, Record, RecordEnds, Tensor};
use unweight_testkit::{repair_checksums, restored, rewritten};

use crate::edit::any_container;

/// A valid container that is written again from its parsed parts has the same bytes. The parser
/// therefore drops nothing, and nothing has two representations in a file. (The minor version is an
/// exception: decoders ignore it.)
pub fn parse_then_write_is_identity(bytes: &[u8]) {
    let mut file = any_container(bytes);
    if restored(&file[..]).is_err() {
        return;
    }
    file[file_header::MAJOR_VERSION as usize + 2..][..2].fill(0);
    repair_checksums(&mut file);
    let written = written_again(&file);
    let differs = written.iter().zip(&file).position(|(a, b)| a != b);
    assert!(
        written == file,
        "differs from byte {differs:?} on, {} and {} bytes",
        written.len(),
        file.len()
    );
}

fn written_again(file: &[u8]) -> Vec<u8> {
    let open = OpenFile::read(file).expect("a valid file");
    let container = open.container();
    let tensors = || container.directory().tensors();
    let declarations = tensors().map(|tensor| Declaration::from(&tensor)).collect();
    let source = container.source().expect("a valid file");
    let header = container.header();
    let extensions = header.extensions().of(file).expect("a valid file");
    let extensions = Extensions::parse(header, extensions, &[]).expect("a valid file");
    let extensions: Vec<Extension<'_>> = extensions.iter().collect();
    let mut writer = ContainerWriter::with_extensions(
        Vec::new(),
        header.source_kind(),
        &source,
        &extensions,
        declarations,
    )
    .expect("what was declared before can be declared again");
    for tensor in tensors() {
        let payload = tensor.payload();
        let part = |extent: unweight_format::Extent| extent.of(file).expect("a valid file");
        let palettes = part(payload.palettes());
        let palettes = Palettes::parse(&tensor, palettes).expect("a valid file");
        // A plane is written in two pieces, which must not matter.
        let plane = part(payload.plain());
        let (first, second) = plane.split_at(plane.len() / 3);
        let written = if payload.forms().is_raw() {
            let mut raw = writer.raw().expect("a tensor is left");
            raw.write(first)
                .and_then(|()| raw.write(second))
                .and_then(|()| raw.finish())
        } else if !payload.forms().is_coded() {
            let mut plain = writer
                .plain(&palettes)
                .expect("what was written before can be written again");
            plain
                .write(first)
                .and_then(|()| plain.write(second))
                .and_then(|()| plain.finish(tensor.checksum()))
        } else {
            let mut coded = writer
                .coded(&palettes, payload.chunk_size_log2())
                .expect("what was coded before can be coded again");
            for (plain, records) in chunks(file, &tensor) {
                let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
                coded
                    .chunk(plain, &records)
                    .expect("valid records fit their chunk");
            }
            coded.finish(tensor.checksum())
        };
        written.expect("memory does not fail");
    }
    writer.finish().expect("all tensors were written")
}

/// Returns the plain bytes of each chunk, and its records written again.
fn chunks<'f>(file: &'f [u8], tensor: &Tensor<'_>) -> Vec<(&'f [u8], Vec<Vec<u8>>)> {
    let payload = tensor.payload();
    let ends = payload.record_ends().of(file).expect("a valid file");
    let ends = RecordEnds::parse(payload, ends).expect("a valid file");
    (0..payload.chunk_count())
        .map(|number| {
            let chunk = payload.chunk(number);
            let plain = chunk.plain.of(file).expect("a valid file");
            let records = payload.forms().coded().map(|coded| {
                let extent = ends.record(number, coded.number);
                let shape = payload.record_shape(&chunk, &coded);
                let bytes = extent.of(file).expect("a valid file");
                let record = Record::parse(&shape, extent.offset, bytes, plain);
                let joined = if shape.joins_plain() { plain } else { &[] };
                let record = record.expect("a valid file");
                let patches: Vec<_> = record.patches().iter().collect();
                rewritten(&record, &patches, joined)
            });
            (plain, records.collect())
        })
        .collect()
}
