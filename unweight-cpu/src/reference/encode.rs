//! Encoding of weights into a record (sections 11.4 to 11.6).

use half::bf16;
use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{CanonicalCode, Code, Encoding, Palette, Patch, exponent, sign_mantissa};

use super::code_lengths::{choose_code, cost_bits};
use super::lane::LaneWriter;
use super::{ExponentCounts, TensorPlan};

/// Encodes one chunk of 1 to 65,536 weights. Appends its sign-mantissa bytes to
/// `sign_mantissa_bytes` and its record to `record`.
pub fn encode_weights(
    plan: &TensorPlan,
    weights: &[bf16],
    sign_mantissa_bytes: &mut Vec<u8>,
    record: &mut Vec<u8>,
) {
    let start = sign_mantissa_bytes.len();
    sign_mantissa_bytes.extend(weights.iter().map(|&weight| sign_mantissa(weight)));
    let exponents: Vec<u8> = weights.iter().map(|&weight| exponent(weight)).collect();
    encode_exponents(plan, &exponents, &sign_mantissa_bytes[start..], record);
}

/// Appends the record of a chunk with these exponents and sign-mantissa bytes to `record`. The
/// record's checksum covers the sign-mantissa bytes.
pub fn encode_exponents(
    plan: &TensorPlan,
    exponents: &[u8],
    sign_mantissa: &[u8],
    record: &mut Vec<u8>,
) {
    assert_eq!(exponents.len(), sign_mantissa.len());
    let verbatim = RecordBody::Verbatim(exponents);
    // Section 11.6.
    let mut write = |body: &RecordBody<'_>, patches: &[Patch]| match body
        .record_bytes(patches.len())
        > verbatim.record_bytes(0)
    {
        true => write_record(&verbatim, &[], sign_mantissa, record),
        false => write_record(body, patches, sign_mantissa, record),
    };
    match plan.encoding() {
        Encoding::Palette => {
            let (indices, patches) = palette_body(plan.palette(), exponents);
            write(&RecordBody::Palette(&indices), &patches);
        }
        _ => {
            let code = chunk_code(plan, exponents);
            let coded = huffman_body(&code, plan.palette(), exponents);
            let body = RecordBody::Huffman {
                code: &code,
                lane_ends: &coded.lane_ends,
                streams: &coded.streams,
            };
            write(&body, &coded.patches);
        }
    }
}

/// Chooses the chunk's own code if it saves more than one bit in 256, and the tensor's code
/// otherwise (section 11.4).
fn chunk_code(plan: &TensorPlan, exponents: &[u8]) -> Code {
    let mut counts = ExponentCounts::default();
    counts.add_exponents(exponents);
    let own = choose_code(&counts, plan.palette());
    let own_bits = cost_bits(&counts, plan.palette(), &own);
    let tensor_bits = cost_bits(&counts, plan.palette(), plan.code());
    match 256 * own_bits < 255 * tensor_bits {
        true => own,
        false => *plan.code(),
    }
}

/// A huffman record's contents.
struct HuffmanContents {
    lane_ends: [u16; LANES],
    streams: Vec<u8>,
    patches: Vec<Patch>,
}

/// Writes lane streams and patches (sections 5.2, 5.5 and 11.4).
fn huffman_body(code: &Code, palette: &Palette, exponents: &[u8]) -> HuffmanContents {
    let mut code_of: [Option<CanonicalCode>; 256] = [None; 256];
    for canonical in code.canonical() {
        let exponent = palette.exponents()[usize::from(canonical.entry)];
        code_of[usize::from(exponent)] = Some(canonical);
    }
    let placeholder = code.placeholder();
    let patches = patches_where(exponents, |exponent| {
        code_of[usize::from(exponent)].is_none()
    });

    let mut streams = Vec::new();
    let mut lane_ends = [0; LANES];
    for (lane, lane_end) in lane_ends.iter_mut().enumerate() {
        let mut writer = LaneWriter::new(&mut streams);
        for step in exponents.chunks(STEP_WEIGHTS) {
            for place in lane * LANE_STEP_WEIGHTS..(lane + 1) * LANE_STEP_WEIGHTS {
                // None for the surplus positions of a short last step.
                let exponent = step.get(place).copied();
                let coded = exponent.and_then(|exponent| code_of[usize::from(exponent)]);
                writer.push(coded.unwrap_or(placeholder));
            }
        }
        writer.finish();
        // A lane end past 65,535 makes the record longer than a verbatim one, so this record is not
        // written.
        *lane_end = streams.len().try_into().unwrap_or(u16::MAX);
    }
    HuffmanContents {
        lane_ends,
        streams,
        patches,
    }
}

/// Writes indices and patches (sections 5.3, 5.5 and 11.5).
fn palette_body(palette: &Palette, exponents: &[u8]) -> (Vec<u8>, Vec<Patch>) {
    let index_of = |exponent: u8| palette.index_of(exponent).unwrap_or(0) as u8;
    let mut indices: Vec<u8> = exponents
        .chunks(2)
        .map(|pair| index_of(pair[0]) | pair.get(1).map_or(0, |&second| index_of(second)) << 4)
        .collect();
    let steps = exponents.len().div_ceil(STEP_WEIGHTS);
    indices.resize(steps * STEP_WEIGHTS / 2, 0);
    let patches = patches_where(exponents, |exponent| palette.index_of(exponent).is_none());
    (indices, patches)
}

fn patches_where(exponents: &[u8], is_uncoded: impl Fn(u8) -> bool) -> Vec<Patch> {
    (0..=u16::MAX)
        .zip(exponents)
        .filter(|&(_, &exponent)| is_uncoded(exponent))
        .map(|(position, &exponent)| Patch { position, exponent })
        .collect()
}
