//! Encoding of weights into plain bytes and records (sections 11.5 to 11.7).

use unweight_format::bits::pack;
use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{CanonicalCode, Code, Encoding, Palette, Patch};

use super::code_lengths::{choose_code, cost_bits};
use super::lane::LaneWriter;
use super::plan::FieldPlan;
use super::split::split;
use super::{TensorPlan, ValueCounts};
use crate::ChunkRecords;

/// Encodes one chunk of 1 to 65,536 little-endian weights. Appends its bytes of the plain plane to
/// `plain` and its records to `records`.
pub fn encode_chunk(
    plan: &TensorPlan,
    weights: &[u8],
    plain: &mut Vec<u8>,
    records: &mut ChunkRecords,
) {
    let start = plain.len();
    let mut values = vec![Vec::new(); plan.forms().coded_count()];
    split(plan.forms(), weights, plain, &mut values);
    for (field, values) in plan.fields().zip(&values) {
        records.push_with(|record| encode_values(field, values, &plain[start..], record));
    }
}

/// Appends the record of a chunk with these values of a field to `record`. `plain` has the chunk's
/// bytes of the plain plane, which the checksum of the record of the tensor's first coded field
/// covers too.
pub fn encode_values(plan: &FieldPlan, values: &[u8], plain: &[u8], record: &mut Vec<u8>) {
    let width = plan.palette.width();
    let joined = match plan.coded.number {
        0 => plain,
        _ => &[],
    };
    let bits: Vec<u8> = pack(values.iter().map(|&value| value.into()), width).collect();
    let verbatim = RecordBody::Verbatim(&bits);
    // Section 11.7.
    let mut write = |body: &RecordBody<'_>, patches: &[Patch]| match body
        .record_bytes(patches.len())
        > verbatim.record_bytes(0)
    {
        true => write_record(&verbatim, &[], joined, record),
        false => write_record(body, patches, joined, record),
    };
    match plan.coded.encoding {
        Encoding::Palette => {
            let (indices, patches) = palette_body(&plan.palette, values);
            write(&RecordBody::Palette(&indices), &patches);
        }
        Encoding::Huffman => {
            let code = chunk_code(plan, values);
            let coded = huffman_body(&code, &plan.palette, values);
            let body = RecordBody::Huffman {
                code: &code,
                lane_ends: &coded.lane_ends,
                streams: &coded.streams,
            };
            write(&body, &coded.patches);
        }
    }
}

/// Chooses the chunk's own code if it saves more than one bit in 256, and the field's code
/// otherwise (section 11.5).
fn chunk_code(plan: &FieldPlan, values: &[u8]) -> Code {
    let mut counts = ValueCounts::default();
    counts.add_values(values);
    let own = choose_code(&counts, values.len() as u64, &plan.palette);
    let own_bits = cost_bits(&counts, &plan.palette, &own);
    let field_bits = cost_bits(&counts, &plan.palette, &plan.code);
    match 256 * own_bits < 255 * field_bits {
        true => own,
        false => plan.code,
    }
}

/// A huffman record's contents.
struct HuffmanContents {
    lane_ends: [u16; LANES],
    streams: Vec<u8>,
    patches: Vec<Patch>,
}

/// Writes lane streams and patches (sections 5.2, 5.5 and 11.5).
fn huffman_body(code: &Code, palette: &Palette, values: &[u8]) -> HuffmanContents {
    let mut code_of: [Option<CanonicalCode>; 256] = [None; 256];
    for canonical in code.canonical() {
        let value = palette.values()[usize::from(canonical.entry)];
        code_of[usize::from(value)] = Some(canonical);
    }
    let placeholder = code.placeholder();
    let patches = patches_where(values, |value| code_of[usize::from(value)].is_none());

    let mut streams = Vec::new();
    let mut lane_ends = [0; LANES];
    for (lane, lane_end) in lane_ends.iter_mut().enumerate() {
        let mut writer = LaneWriter::new(&mut streams);
        for step in values.chunks(STEP_WEIGHTS) {
            for place in lane * LANE_STEP_WEIGHTS..(lane + 1) * LANE_STEP_WEIGHTS {
                // None for the surplus positions of a short last step.
                let value = step.get(place).copied();
                let coded = value.and_then(|value| code_of[usize::from(value)]);
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

/// Writes indices and patches (sections 5.3, 5.5 and 11.6).
fn palette_body(palette: &Palette, values: &[u8]) -> (Vec<u8>, Vec<Patch>) {
    let index_of = |value: u8| palette.index_of(value).unwrap_or(0) as u8;
    let mut indices: Vec<u8> = values
        .chunks(2)
        .map(|pair| index_of(pair[0]) | pair.get(1).map_or(0, |&second| index_of(second)) << 4)
        .collect();
    let steps = values.len().div_ceil(STEP_WEIGHTS);
    indices.resize(steps * STEP_WEIGHTS / 2, 0);
    let patches = patches_where(values, |value| palette.index_of(value).is_none());
    (indices, patches)
}

fn patches_where(values: &[u8], is_uncoded: impl Fn(u8) -> bool) -> Vec<Patch> {
    (0..=u16::MAX)
        .zip(values)
        .filter(|&(_, &value)| is_uncoded(value))
        .map(|(position, &value)| Patch { position, value })
        .collect()
}
