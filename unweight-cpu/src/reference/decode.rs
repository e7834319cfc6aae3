//! Decoding of records into values, and of chunks into weights (section 7).

use unweight_format::bits::unpack;
use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};
use unweight_format::{Body, Code, Error, Lanes, Palette, Palettes, Record};

use super::lane::LaneReader;
use super::split::join;
use super::table::DecodeTable;

/// Decodes a chunk of `count` weights: appends its little-endian weights to `weights`. `records`
/// has the record of each coded field, and `plain` the chunk's bytes of the plain plane.
///
/// # Errors
/// The errors of [`decode_values`].
///
/// # Panics
/// If there are not as many records as coded fields, or a record or the plain bytes are not those
/// of a chunk of so many weights.
pub fn decode_chunk(
    palettes: &Palettes,
    count: usize,
    records: &[Record<'_>],
    plain: &[u8],
    weights: &mut Vec<u8>,
) -> Result<(), Error> {
    assert_eq!(records.len(), palettes.forms().coded_count());
    let mut values = vec![Vec::new(); records.len()];
    for (number, (record, values)) in records.iter().zip(&mut values).enumerate() {
        let palette = palettes
            .coded(number)
            .expect("a palette of each coded field");
        decode_values(record, palette, values)?;
        assert_eq!(values.len(), count);
    }
    let values: Vec<&[u8]> = values.iter().map(|values| &values[..]).collect();
    join(palettes, count, plain, &values, weights);
    Ok(())
}

/// Decodes a record into the values of its chunk, which replace the content of `values`. Returns
/// the number of bits of the codes or indices, including the surplus of a short last step.
///
/// # Errors
/// `lane-overrun`, `lane-underrun`, `lane-padding`. The content of `values` is then unspecified.
pub fn decode_values(
    record: &Record<'_>,
    palette: &Palette,
    values: &mut Vec<u8>,
) -> Result<u64, Error> {
    let shape = record.shape();
    let weights = shape.weights() as usize;
    values.clear();
    values.resize(shape.steps() as usize * STEP_WEIGHTS, 0);
    let code_bits = match record.body() {
        // Step 2.
        Body::Verbatim(bytes) => {
            for (value, number) in values[..weights]
                .iter_mut()
                .zip(unpack(bytes, shape.width()))
            {
                *value = number as u8;
            }
            0
        }
        // Steps 3 and 4.
        Body::Huffman { code, lanes } => decode_lanes(code, lanes, palette, values)?,
        // Step 5.
        Body::Palette(indices) => {
            for (pair, byte) in values.chunks_exact_mut(2).zip(*indices) {
                pair[0] = palette.padded()[usize::from(byte & 15)];
                pair[1] = palette.padded()[usize::from(byte >> 4)];
            }
            8 * indices.len() as u64
        }
    };
    // Step 6.
    for patch in record.patches().iter() {
        values[usize::from(patch.position)] = patch.value;
    }
    // The surplus of a short last step is dropped.
    values.truncate(weights);
    Ok(code_bits)
}

fn decode_lanes(
    code: &Code,
    lanes: &Lanes<'_>,
    palette: &Palette,
    values: &mut [u8],
) -> Result<u64, Error> {
    let table = DecodeTable::new(code);
    let mut code_bits = 0;
    for lane in 0..LANES {
        let mut reader = LaneReader::new(lanes.stream(lane));
        for step in values.chunks_exact_mut(STEP_WEIGHTS) {
            for value in &mut step[lane * LANE_STEP_WEIGHTS..][..LANE_STEP_WEIGHTS] {
                let (entry, length_bits) = table.look_up(reader.next_8_bits());
                *value = palette.padded()[usize::from(entry)];
                reader.advance(length_bits);
            }
        }
        code_bits += reader.finish(lanes.stream_offset(lane))?;
    }
    Ok(code_bits)
}
