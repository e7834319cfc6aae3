//! The decode procedure of section 7.

use unweight_format::bits::{pack, pdep, unpack};
use unweight_format::{
    Body, CanonicalCode, Directory, Error, Expected, Extensions, Extent, FileHeader, Palette,
    Palettes, Record, RecordEnds, Rule, Tensor, crc32, require_zero,
};

/// Checks every rule but `source-header`, and gives the bytes of all tensors.
pub(crate) fn decode(file: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let header = FileHeader::parse(file)?;
    header.require_file_length(file.len() as u64)?;
    let directory = Directory::parse(&header, of(header.directory(), file))?;
    header.require_source_checksum(of(header.source(), file))?;
    Extensions::parse(&header, of(header.extensions(), file), &[])?;
    let tensors = directory
        .tensors()
        .map(|tensor| decode_tensor(&tensor, file))
        .collect::<Result<_, _>>()?;
    for extent in [header.padding(), directory.guard()] {
        require_zero(Rule::Padding, of(extent, file), extent.offset)?;
    }
    Ok(tensors)
}

fn of(extent: Extent, file: &[u8]) -> &[u8] {
    extent.of(file).expect("the file's length was checked")
}

fn decode_tensor(tensor: &Tensor<'_>, file: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = tensor.payload();
    for extent in tensor.padding() {
        require_zero(Rule::Padding, of(extent, file), extent.offset)?;
    }
    for number in 0..payload.block_count() {
        let stated = of(payload.block_checksums(), file).as_chunks().0[number as usize];
        let block = of(payload.block(number), file);
        payload.require_block_checksum(number, block, stated)?;
    }
    let plane = of(payload.plain(), file);
    if let Some(&last) = plane.last() {
        payload.require_plain_padding(last)?;
    }
    let palettes = Palettes::parse(tensor, of(payload.palettes(), file))?;
    let ends = RecordEnds::parse(payload, of(payload.record_ends(), file))?;

    let forms = tensor.forms();
    let mut weights: Vec<u64> = unpack(plane, forms.plain_bits())
        .take(payload.weights() as usize)
        .map(|plain| pdep(plain, forms.plain_mask()) | palettes.constant_bits())
        .collect();
    for chunk in (0..payload.chunk_count()).map(|number| payload.chunk(number)) {
        let first = chunk.first_weight as usize;
        for coded in forms.coded() {
            let extent = ends.record(chunk.number, coded.number);
            let shape = payload.record_shape(&chunk, &coded);
            let plain = of(chunk.plain, file);
            let record = Record::parse(&shape, extent.offset, of(extent, file), plain)?;
            let palette = palettes.coded(coded.number).expect("a coded field has one");
            let values = decode_record(&record, palette, extent.offset)?;
            for (weight, &value) in weights[first..].iter_mut().zip(&values) {
                *weight = coded.field.put(*weight, value);
            }
        }
    }
    let data: Vec<u8> = pack(weights, 8 * tensor.dtype().weight_bytes() as u32).collect();
    tensor.require_checksum(crc32(&data))?;
    Ok(data)
}

fn decode_record(record: &Record<'_>, palette: &Palette, offset: u64) -> Result<Vec<u8>, Error> {
    let shape = record.shape();
    let value = |index: u64| palette.padded()[index as usize];
    let mut values: Vec<u8> = match record.body() {
        Body::Verbatim(bytes) => unpack(bytes, shape.width()).map(|v| v as u8).collect(),
        Body::Palette(indices) => unpack(indices, 4).map(value).collect(),
        Body::Huffman { code, lanes } => {
            let mut values = vec![0; 256 * shape.steps() as usize];
            let codes: Vec<CanonicalCode> = code.canonical().collect();
            for lane in 0..32 {
                let mut bits = unpack(lanes.stream(lane), 1);
                let broken = |rule, found| {
                    let expected = Expected::Words("the bits of its codes");
                    Err(Error::new(rule, offset, found, expected))
                };
                for step in 0..shape.steps() as usize {
                    for place in 0..8 {
                        let (mut read, mut length) = (0, 0);
                        let entry = loop {
                            let found = codes
                                .iter()
                                .find(|code| (code.length_bits, code.bits) == (length, read));
                            if let Some(found) = found {
                                break found.entry;
                            }
                            let Some(bit) = bits.next() else {
                                return broken(Rule::LaneOverrun, 0);
                            };
                            (read, length) = (read << 1 | bit as u8, length + 1);
                        };
                        values[256 * step + 8 * lane + place] = value(entry.into());
                    }
                }
                if bits.len() >= 8 {
                    return broken(Rule::LaneUnderrun, bits.len() as u64);
                }
                if bits.any(|bit| bit != 0) {
                    return broken(Rule::LanePadding, 1);
                }
            }
            values
        }
    };
    for patch in record.patches().iter() {
        values[usize::from(patch.position)] = patch.value;
    }
    values.truncate(shape.weights() as usize);
    Ok(values)
}
