//! Parsing and writing as inverse operations.

use unweight::container::OpenFile;
use unweight_format::layout::{LANES, file_header};
use unweight_format::write::{
    CodedParameters, ContainerWriter, Declaration, RecordBody, write_record,
};
use unweight_format::{Body, CodedPlanes, Payload, Record, RecordEnds};
use unweight_testkit::{repair_checksums, restored};

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
    let kind = container.header().source_kind();
    let mut writer = ContainerWriter::new(Vec::new(), kind, &source, declarations)
        .expect("what was declared before can be declared again");
    for tensor in tensors() {
        let written = match tensor.payload() {
            Payload::Raw(plane) => {
                let mut raw = writer.raw().expect("a tensor is left");
                let data = plane.data().of(file).expect("a valid file");
                // The data is written in two pieces, which must not matter.
                let (first, second) = data.split_at(data.len() / 3);
                raw.write(first)
                    .and_then(|()| raw.write(second))
                    .and_then(|()| raw.finish())
            }
            Payload::Coded(planes) => {
                let mut coded = writer
                    .coded(CodedParameters {
                        encoding: planes.encoding(),
                        chunk_size_log2: planes.chunk_size_log2(),
                        palette: *planes.palette(),
                    })
                    .expect("what was coded before can be coded again");
                for (sign_mantissa, record) in chunks(file, planes) {
                    coded
                        .chunk(sign_mantissa, &record)
                        .expect("a valid record fits its chunk");
                }
                coded.finish(tensor.checksum())
            }
        };
        written.expect("memory does not fail");
    }
    writer.finish().expect("all tensors were written")
}

/// Returns the sign-mantissa bytes of each chunk, and its record written again.
fn chunks<'f>(file: &'f [u8], planes: &CodedPlanes) -> Vec<(&'f [u8], Vec<u8>)> {
    let ends = planes.record_ends().of(file).expect("a valid file");
    let ends = RecordEnds::parse(planes, ends).expect("a valid file");
    (0..planes.chunk_count())
        .map(|number| {
            let shape = planes.chunk(number);
            let sign_mantissa = shape.sign_mantissa.of(file).expect("a valid file");
            let extent = ends.record(number);
            let bytes = extent.of(file).expect("a valid file");
            let record = Record::parse(
                &shape,
                planes.encoding(),
                extent.offset,
                bytes,
                sign_mantissa,
            );
            let record = record.expect("a valid file");
            let patches: Vec<_> = record.patches().iter().collect();
            let mut written = Vec::new();
            match record.body() {
                Body::Verbatim(exponents) => {
                    write_record(
                        &RecordBody::Verbatim(exponents),
                        &patches,
                        sign_mantissa,
                        &mut written,
                    );
                }
                Body::Palette(indices) => {
                    write_record(
                        &RecordBody::Palette(indices),
                        &patches,
                        sign_mantissa,
                        &mut written,
                    );
                }
                Body::Huffman { code, lanes } => {
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
                    write_record(&body, &patches, sign_mantissa, &mut written);
                }
            }
            (sign_mantissa, written)
        })
        .collect()
}
