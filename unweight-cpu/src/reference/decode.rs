//! Decoding of a record into weights (section 7, "Coded tensor", steps 2 to 7).

use half::bf16;
use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};
use unweight_format::{Body, Code, Error, Lanes, Palette, Record, weight};

use super::lane::LaneReader;
use super::table::DecodeTable;

/// Decodes a record into the weights of its chunk.
///
/// `sign_mantissa` and `weights` have one element for each weight of the chunk that the record was
/// parsed for.
///
/// # Errors
/// `lane-overrun`, `lane-underrun`, `lane-padding`. The content of `weights` is then unspecified.
pub fn decode_record(
    record: &Record<'_>,
    palette: &Palette,
    sign_mantissa: &[u8],
    weights: &mut [bf16],
) -> Result<(), Error> {
    assert_eq!(sign_mantissa.len(), weights.len());
    let mut exponents = Vec::new();
    decode_exponents(record, palette, weights.len(), &mut exponents)?;
    // Step 7.
    for ((out, &sign_mantissa), &exponent) in weights.iter_mut().zip(sign_mantissa).zip(&exponents)
    {
        *out = weight(sign_mantissa, exponent);
    }
    Ok(())
}

/// Decodes a record into the exponents of its chunk of `weights` weights, which replace the content
/// of `exponents`. Returns the number of bits of the codes or indices, including the surplus of a
/// short last step.
///
/// # Errors
/// The errors of [`decode_record`].
pub fn decode_exponents(
    record: &Record<'_>,
    palette: &Palette,
    weights: usize,
    exponents: &mut Vec<u8>,
) -> Result<u64, Error> {
    let steps = weights.div_ceil(STEP_WEIGHTS);
    exponents.clear();
    exponents.resize(steps * STEP_WEIGHTS, 0);
    let code_bits = match record.body() {
        // Step 2.
        Body::Verbatim(bytes) => {
            exponents[..weights].copy_from_slice(bytes);
            0
        }
        // Steps 3 and 4.
        Body::Huffman { code, lanes } => decode_lanes(code, lanes, palette, exponents)?,
        // Step 5.
        Body::Palette(indices) => {
            for (pair, byte) in exponents.chunks_exact_mut(2).zip(*indices) {
                pair[0] = palette.exponents()[usize::from(byte & 15)];
                pair[1] = palette.exponents()[usize::from(byte >> 4)];
            }
            8 * indices.len() as u64
        }
    };
    // Step 6.
    for patch in record.patches().iter() {
        exponents[usize::from(patch.position)] = patch.exponent;
    }
    // The surplus of a short last step is dropped.
    exponents.truncate(weights);
    Ok(code_bits)
}

fn decode_lanes(
    code: &Code,
    lanes: &Lanes<'_>,
    palette: &Palette,
    exponents: &mut [u8],
) -> Result<u64, Error> {
    let table = DecodeTable::new(code);
    let mut code_bits = 0;
    for lane in 0..LANES {
        let mut reader = LaneReader::new(lanes.stream(lane));
        for step in exponents.chunks_exact_mut(STEP_WEIGHTS) {
            for exponent in &mut step[lane * LANE_STEP_WEIGHTS..][..LANE_STEP_WEIGHTS] {
                let (entry, length_bits) = table.look_up(reader.next_8_bits());
                *exponent = palette.exponents()[usize::from(entry)];
                reader.advance(length_bits);
            }
        }
        code_bits += reader.finish(lanes.stream_offset(lane))?;
    }
    Ok(code_bits)
}
