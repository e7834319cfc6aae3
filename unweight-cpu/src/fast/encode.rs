//! Encoding of weights into plain bytes and records with the kernels of an ISA (sections 11.5 to
//! 11.7).

use unweight_format::layout::{FIELDS, LANES, STEP_WEIGHTS};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{Code, Encoding, Palette, Patch};

use super::code_lengths::{choose_code, cost_bits};
use super::encode_table::PATCHED;
use super::kernels::{Ahead, Kernels};
use super::layout::Layout;
use super::scratch::{LARGEST_CHUNK, Scratch, Values};
use crate::reference::{FieldPlan, TensorPlan};
use crate::{ChunkEntryCounts, ChunkRecords, EntryCounts};

/// Writes the plain bytes of a chunk of little-endian weights to `plain`, and appends its records
/// to `records`. `counts` has the counts of the palette entries that are known. Returns the
/// weights' CRC-32.
pub(super) fn weights(
    kernels: &Kernels,
    scratch: &mut Scratch,
    plan: &TensorPlan,
    counts: &ChunkEntryCounts,
    weights: &[u8],
    plain: &mut [u8],
    records: &mut ChunkRecords,
) -> u32 {
    let forms = plan.forms();
    let count = weights.len() / forms.dtype().weight_bytes();
    assert!((1..=LARGEST_CHUNK).contains(&count));
    let ahead = Ahead {
        weights: weights.as_ptr_range().end,
        plain: plain.as_ptr_range().end,
    };
    scratch.with_values(forms.coded_count(), |scratch, values| {
        let checksum = split(kernels, plan, count, weights, plain, values);
        for (field, values) in plan.fields().zip(values) {
            let chunk = ChunkValues {
                count,
                values,
                plain,
                ahead,
            };
            let counts = counts[field.coded.number];
            records.push_with(|record| {
                encode(kernels, scratch, field, counts, chunk, record);
            });
        }
        checksum
    })
}

/// Splits the weights of a chunk into plain bytes and values. Returns the weights' CRC-32.
fn split(
    kernels: &Kernels,
    plan: &TensorPlan,
    count: usize,
    weights: &[u8],
    plain: &mut [u8],
    values: &mut [Values],
) -> u32 {
    let mut places: [&mut [u8]; FIELDS] = Default::default();
    for (place, values) in places.iter_mut().zip(&mut *values) {
        *place = &mut values[..count];
    }
    if plan.forms().is_bf16_exponent() {
        assert!(weights.len() == 2 * count && plain.len() == count);
        if let Some(split_checked) = kernels.bf16.split_checked {
            return split_checked(weights, plain, places[0]);
        }
        (kernels.bf16.split)(weights, plain, places[0]);
    } else {
        let layout = Layout::of(plan.forms());
        let coded = plan.forms().coded_count();
        split_weights(kernels, &layout, weights, plain, &mut places[..coded]);
    }
    crc32fast::hash(weights)
}

/// Splits weights of any layout into plain bytes and values.
///
/// # Panics
/// If the lengths do not match.
pub(super) fn split_weights(
    kernels: &Kernels,
    layout: &Layout,
    weights: &[u8],
    plain: &mut [u8],
    values: &mut [&mut [u8]],
) {
    let of_fields = values.iter().map(|values| values.len());
    layout.require_lengths(weights.len(), plain.len(), of_fields);
    match layout.plain_bits == 8 * layout.weight_bytes {
        true => plain.copy_from_slice(weights),
        false => (kernels.split)(layout, weights, plain, values),
    }
}

/// Appends the record of a chunk with these values of a field to `record`. `plain` has the chunk's
/// bytes of the plain plane.
pub(super) fn values(
    kernels: &Kernels,
    scratch: &mut Scratch,
    plan: &FieldPlan,
    values: &[u8],
    plain: &[u8],
    record: &mut Vec<u8>,
) {
    let count = values.len();
    assert!((1..=LARGEST_CHUNK).contains(&count));
    scratch.with_values(1, |scratch, buffers| {
        let buffer = &mut buffers[0];
        buffer[..count].copy_from_slice(values);
        let chunk = ChunkValues {
            count,
            values: buffer,
            plain,
            ahead: Ahead {
                weights: values.as_ptr_range().end,
                plain: plain.as_ptr_range().end,
            },
        };
        encode(kernels, scratch, plan, None, chunk, record);
    });
}

/// The values of a field in a chunk.
struct ChunkValues<'a> {
    count: usize,
    /// The values, with room for the surplus of a short last step.
    values: &'a mut Values,
    /// The chunk's bytes of the plain plane.
    plain: &'a [u8],
    ahead: Ahead,
}

fn encode(
    kernels: &Kernels,
    scratch: &mut Scratch,
    plan: &FieldPlan,
    counts: Option<EntryCounts>,
    chunk: ChunkValues<'_>,
    record: &mut Vec<u8>,
) {
    let ChunkValues { count, values, .. } = chunk;
    scratch.positions.clear();
    let (code, lane_ends);
    let coded = match plan.coded.encoding {
        Encoding::Palette => {
            palette_body(kernels, &plan.palette, count, values, scratch);
            RecordBody::Palette(&scratch.body)
        }
        Encoding::Huffman => {
            code = chunk_code(kernels, plan, counts, &values[..count]);
            let whole = with_surplus(&plan.palette, &code, count, values);
            scratch.codes.prepare(&code, &plan.palette);
            lane_ends = huffman_body(kernels, whole, chunk.ahead, scratch);
            RecordBody::Huffman {
                code: &code,
                lane_ends: &lane_ends,
                streams: &scratch.body,
            }
        }
    };
    // Patches are found lane by lane, which is not the order of the weights.
    scratch.positions.sort_unstable();
    let values = &values[..count];
    let joined = match plan.coded.number {
        0 => chunk.plain,
        _ => &[],
    };
    let width = plan.palette.width();
    let longest = unweight_format::layout::longest_record_bytes(count as u32, width);
    // Section 11.7.
    if coded.record_bytes(scratch.positions.len()) as u64 > longest {
        if width == 8 {
            return write_record(&RecordBody::Verbatim(values), &[], joined, record);
        }
        let layout = Layout::of_values(width);
        scratch.body.resize(layout.plain_bytes(count), 0);
        (kernels.split)(&layout, values, &mut scratch.body, &mut []);
        return write_record(&RecordBody::Verbatim(&scratch.body), &[], joined, record);
    }
    scratch.patches.clear();
    scratch
        .patches
        .extend(scratch.positions.iter().map(|&position| Patch {
            position,
            value: values[usize::from(position)],
        }));
    write_record(&coded, &scratch.patches, joined, record);
}

/// Chooses the chunk's own code if it saves more than one bit in 256, and the field's code
/// otherwise (section 11.5).
fn chunk_code(
    kernels: &Kernels,
    plan: &FieldPlan,
    counts: Option<EntryCounts>,
    values: &[u8],
) -> Code {
    let palette = plan.palette.values();
    let counts = counts.unwrap_or_else(|| {
        let mut by_value = [0; 256];
        (kernels.count_values)(values, &mut by_value);
        let mut counts = EntryCounts::default();
        for (count, &value) in counts.iter_mut().zip(palette) {
            *count = by_value[usize::from(value)];
        }
        counts
    });
    let total = values.len() as u64;
    let own = choose_code(&counts, total, palette.len());
    let own_bits = cost_bits(&counts, total, &own);
    let field_bits = cost_bits(&counts, total, &plan.code);
    match 256 * own_bits < 255 * field_bits {
        true => own,
        false => plan.code,
    }
}

/// The values of whole steps: the surplus of a short last step is filled with the placeholder.
fn with_surplus<'v>(
    palette: &Palette,
    code: &Code,
    count: usize,
    values: &'v mut Values,
) -> &'v [u8] {
    let whole = count.next_multiple_of(STEP_WEIGHTS);
    let placeholder = palette.values()[usize::from(code.placeholder().entry)];
    values[count..whole].fill(placeholder);
    &values[..whole]
}

/// Writes lane streams of values of whole steps to `scratch.body`, in the code of `scratch.codes`,
/// and the positions of patches to `scratch.positions` (sections 5.2, 5.5 and 11.5).
fn huffman_body(
    kernels: &Kernels,
    values: &[u8],
    ahead: Ahead,
    scratch: &mut Scratch,
) -> [u16; LANES] {
    let ends = (kernels.pack)(
        &scratch.codes,
        values,
        ahead,
        &mut scratch.rows,
        &mut scratch.positions,
    );
    scratch.body.clear();
    let mut lane_ends = [0; LANES];
    for ((row, bits), lane_end) in scratch.rows.iter().zip(ends).zip(&mut lane_ends) {
        scratch
            .body
            .extend_from_slice(&row[..bits.div_ceil(8) as usize]);
        // A lane end past 65,535 makes the record longer than a verbatim one, so this record is not
        // written.
        *lane_end = scratch.body.len().try_into().unwrap_or(u16::MAX);
    }
    lane_ends
}

/// Writes indices to `scratch.body` and the positions of patches to `scratch.positions` (sections
/// 5.3, 5.5 and 11.6).
fn palette_body(
    kernels: &Kernels,
    palette: &Palette,
    count: usize,
    values: &mut Values,
    scratch: &mut Scratch,
) {
    let whole = count.next_multiple_of(STEP_WEIGHTS);
    values[count..whole].fill(palette.values()[0]);
    let mut indices = [PATCHED; 256];
    for (index, &value) in (0..).zip(palette.values()) {
        indices[usize::from(value)] = index;
    }
    scratch.body.resize(whole / 2, 0);
    let values = &values[..whole];
    (kernels.index)(&indices, values, &mut scratch.body, &mut scratch.positions);
}
