//! A small encoder and decoder of whole files, as plain as the specification's procedures.

pub(crate) mod decode;
pub(crate) mod example;

use unweight_format::bits::{pack, pext, unpack};
use unweight_format::write::{ContainerWriter, RecordBody, write_record};
use unweight_format::{Code, Palette, Palettes, Patch, RecordShape, crc32};

/// Kind and contents of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Verbatim,
    /// Palette indices.
    Indices,
    /// These code lengths by palette index.
    Codes([Option<u8>; 16]),
}

/// Code lengths: index 0 has the code of no bits.
pub(crate) const NO_BITS: Body = Body::Codes({
    let mut lengths = [None; 16];
    lengths[0] = Some(0);
    lengths
});

/// Code lengths 1, 2, 3 and 3 for the first four indices.
pub(crate) const FOUR_CODES: Body = Body::Codes({
    let mut lengths = [None; 16];
    lengths[0] = Some(1);
    lengths[1] = Some(2);
    lengths[2] = Some(3);
    lengths[3] = Some(3);
    lengths
});

/// Writes the next tensor from its bytes, in chunks if it has coded fields. `body` chooses the body of the record of a chunk and a
/// coded field, given their numbers.
pub(crate) fn write_tensor(
    writer: &mut ContainerWriter<'_, Vec<u8>>,
    palettes: &Palettes,
    chunk_size_log2: u8,
    data: &[u8],
    body: impl Fn(u64, usize) -> Body,
) {
    let forms = palettes.forms();
    let weights = unpack(data, 8 * forms.dtype().weight_bytes() as u32);
    let plain: Vec<u64> = weights
        .clone()
        .map(|weight| pext(weight, forms.plain_mask()))
        .collect();
    if !forms.is_coded() {
        let plane: Vec<u8> = pack(plain, forms.plain_bits()).collect();
        let mut tensor = writer.plain(palettes).unwrap();
        tensor.write(&plane).unwrap();
        return tensor.finish(crc32(data)).unwrap();
    }
    let weights: Vec<u64> = weights.collect();
    let mut tensor = writer.coded(palettes, chunk_size_log2).unwrap();
    let payload = *tensor.payload();
    for number in 0..payload.chunk_count() {
        let chunk = payload.chunk(number);
        let place =
            chunk.first_weight as usize..chunk.first_weight as usize + chunk.weights as usize;
        let plane: Vec<u8> =
            pack(plain[place.clone()].iter().copied(), forms.plain_bits()).collect();
        let records: Vec<Vec<u8>> = forms
            .coded()
            .map(|coded| {
                let values: Vec<u8> = weights[place.clone()]
                    .iter()
                    .map(|&weight| coded.field.get(weight))
                    .collect();
                let shape = payload.record_shape(&chunk, &coded);
                let palette = palettes.coded(coded.number).unwrap();
                record(&shape, palette, &values, body(number, coded.number), &plane)
            })
            .collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        tensor.chunk(&plane, &records).unwrap();
    }
    tensor.finish(crc32(data)).unwrap();
}

/// The record of these values. It is verbatim if it would be too long otherwise.
pub(crate) fn record(
    shape: &RecordShape,
    palette: &Palette,
    values: &[u8],
    body: Body,
    plain: &[u8],
) -> Vec<u8> {
    let joined = if shape.joins_plain() { plain } else { &[] };
    let mut output = Vec::new();
    match body {
        Body::Verbatim => {
            let bytes: Vec<u8> = pack(values.iter().map(|&v| v.into()), shape.width()).collect();
            write_record(&RecordBody::Verbatim(&bytes), &[], joined, &mut output);
        }
        Body::Indices => {
            let (indices, patches) = code_values(shape, values, 0, |value| palette.index_of(value));
            let indices = indices.iter().map(|&index| index as u64);
            let bytes: Vec<u8> = pack(indices, 4).collect();
            write_record(&RecordBody::Palette(&bytes), &patches, joined, &mut output);
        }
        Body::Codes(lengths) => {
            let code = Code::from_lengths(lengths, palette.values().len()).unwrap();
            let placeholder = usize::from(code.placeholder().entry);
            let (indices, patches) = code_values(shape, values, placeholder, |value| {
                palette
                    .index_of(value)
                    .filter(|&index| code.length_bits(index).is_some())
            });
            let (lane_ends, streams) = lanes(&code, &indices);
            let body = RecordBody::Huffman {
                code: &code,
                lane_ends: &lane_ends,
                streams: &streams,
            };
            write_record(&body, &patches, joined, &mut output);
        }
    }
    match output.len() as u64 > shape.longest_bytes() {
        true => record(shape, palette, values, Body::Verbatim, plain),
        false => output,
    }
}

/// The palette indices of whole steps, and the patches of values that `index_of` does not know.
fn code_values(
    shape: &RecordShape,
    values: &[u8],
    placeholder: usize,
    index_of: impl Fn(u8) -> Option<usize>,
) -> (Vec<usize>, Vec<Patch>) {
    let mut indices = vec![placeholder; 256 * shape.steps() as usize];
    let mut patches = Vec::new();
    for (position, (&value, index)) in values.iter().zip(&mut indices).enumerate() {
        match index_of(value) {
            Some(found) => *index = found,
            None => patches.push(Patch {
                position: position as u16,
                value,
            }),
        }
    }
    (indices, patches)
}

fn lanes(code: &Code, indices: &[usize]) -> ([u16; 32], Vec<u8>) {
    let mut streams = Vec::new();
    let ends = core::array::from_fn(|lane| {
        let of_lane = indices
            .chunks(256)
            .flat_map(|step| &step[8 * lane..8 * lane + 8]);
        let bits = of_lane.flat_map(|&index| {
            let code = code
                .canonical()
                .find(|c| usize::from(c.entry) == index)
                .unwrap();
            (0..code.length_bits).map(move |bit| u64::from(code.stream_bits() >> bit & 1))
        });
        streams.extend(pack(bits, 1));
        streams.len() as u16
    });
    (ends, streams)
}

/// The file with the checksums in its header made right again.
pub(crate) fn resealed(mut file: Vec<u8>) -> Vec<u8> {
    let number = |file: &[u8], at: usize, bytes: usize| {
        unpack(&file[at..at + bytes], 8 * bytes as u32)
            .next()
            .unwrap() as usize
    };
    let (directory, source) = (number(&file, 24, 8), number(&file, 32, 8));
    let extensions = number(&file, 48, 4);
    let directory_end = directory.saturating_add(64);
    let start = directory_end.saturating_add(source);
    for (at, range) in [
        (40, 64..directory_end),
        (44, directory_end..start),
        (52, start..start.saturating_add(extensions)),
        (60, 0..60),
    ] {
        if let Some(bytes) = file.get(range) {
            let checksum = crc32(bytes).to_le_bytes();
            file[at..at + 4].copy_from_slice(&checksum);
        }
    }
    file
}
