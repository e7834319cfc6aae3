//! Encoding of weights or exponents into a record with the kernels of an ISA (sections 11.4 to
//! 11.6).

use unweight_format::layout::{LANES, PALETTE_ENTRIES, STEP_WEIGHTS};
use unweight_format::write::{RecordBody, write_record};
use unweight_format::{Code, Encoding, Palette, Patch};

use super::code_lengths::{EntryCounts, choose_code, cost_bits};
use super::encode_table::PATCHED;
use super::kernels::Kernels;
use super::scratch::{LARGEST_CHUNK, Scratch};
use crate::reference::TensorPlan;

/// Parameters for encoding a chunk: its tensor's plan and, if known, the counts of its palette
/// entries.
#[derive(Clone, Copy)]
pub(super) struct ChunkPlan<'a> {
    pub(super) tensor: &'a TensorPlan,
    pub(super) counts: Option<EntryCounts>,
}

/// Writes the sign-mantissa bytes of a chunk of little-endian weights to `sign_mantissa`, and
/// appends its record to `record`. Returns the result of `split`, which is the kernel `split` or
/// `split_checked`.
pub(super) fn weights<T>(
    kernels: &Kernels,
    scratch: &mut Scratch,
    split: impl FnOnce(&[u8], &mut [u8], &mut [u8]) -> T,
    plan: ChunkPlan<'_>,
    weights: &[u8],
    sign_mantissa: &mut [u8],
    record: &mut Vec<u8>,
) -> T {
    let count = sign_mantissa.len();
    assert!(weights.len() == 2 * count && (1..=LARGEST_CHUNK).contains(&count));
    let done = split(weights, sign_mantissa, &mut scratch.exponents[..count]);
    let ahead = weights.as_ptr_range().end;
    from_scratch(kernels, plan, sign_mantissa, ahead, scratch, record);
    done
}

/// Appends the record of a chunk with these exponents and sign-mantissa bytes to `record`.
pub(super) fn exponents(
    kernels: &Kernels,
    scratch: &mut Scratch,
    plan: &TensorPlan,
    exponents: &[u8],
    sign_mantissa: &[u8],
    record: &mut Vec<u8>,
) {
    let count = exponents.len();
    assert!(count == sign_mantissa.len() && (1..=LARGEST_CHUNK).contains(&count));
    scratch.exponents[..count].copy_from_slice(exponents);
    let ahead = exponents.as_ptr();
    let plan = ChunkPlan {
        tensor: plan,
        counts: None,
    };
    from_scratch(kernels, plan, sign_mantissa, ahead, scratch, record);
}

fn from_scratch(
    kernels: &Kernels,
    plan: ChunkPlan<'_>,
    sign_mantissa: &[u8],
    ahead: *const u8,
    scratch: &mut Scratch,
    record: &mut Vec<u8>,
) {
    let count = sign_mantissa.len();
    scratch.positions.clear();
    let (code, lane_ends);
    let ChunkPlan { tensor, counts } = plan;
    let coded = if tensor.encoding() == Encoding::Palette {
        palette_body(kernels, tensor.palette(), count, scratch);
        RecordBody::Palette(&scratch.body)
    } else {
        code = chunk_code(kernels, tensor, counts, &scratch.exponents[..count]);
        lane_ends = huffman_body(kernels, &code, tensor.palette(), count, ahead, scratch);
        RecordBody::Huffman {
            code: &code,
            lane_ends: &lane_ends,
            streams: &scratch.body,
        }
    };
    // Patches are found lane by lane, which is not the order of the weights.
    scratch.positions.sort_unstable();
    let exponents = &scratch.exponents[..count];
    let verbatim = RecordBody::Verbatim(exponents);
    // Section 11.6.
    if coded.record_bytes(scratch.positions.len()) > verbatim.record_bytes(0) {
        return write_record(&verbatim, &[], sign_mantissa, record);
    }
    scratch.patches.clear();
    scratch
        .patches
        .extend(scratch.positions.iter().map(|&position| Patch {
            position,
            exponent: exponents[usize::from(position)],
        }));
    write_record(&coded, &scratch.patches, sign_mantissa, record);
}

/// Chooses the chunk's own code if it saves more than one bit in 256, and the tensor's code
/// otherwise (section 11.4).
fn chunk_code(
    kernels: &Kernels,
    plan: &TensorPlan,
    counts: Option<EntryCounts>,
    exponents: &[u8],
) -> Code {
    let counts = counts.unwrap_or_else(|| {
        let mut by_exponent = [0; 256];
        (kernels.count_exponents)(exponents, &mut by_exponent);
        let palette = plan.palette().exponents();
        palette.map(|exponent| by_exponent[usize::from(exponent)])
    });
    let total = exponents.len() as u64;
    let own = choose_code(&counts, total);
    let own_bits = cost_bits(&counts, total, &own);
    let tensor_bits = cost_bits(&counts, total, plan.code());
    match 256 * own_bits < 255 * tensor_bits {
        true => own,
        false => *plan.code(),
    }
}

/// Writes lane streams to `scratch.body` and the positions of patches to `scratch.positions`
/// (sections 5.2, 5.5 and 11.4).
fn huffman_body(
    kernels: &Kernels,
    code: &Code,
    palette: &Palette,
    count: usize,
    ahead: *const u8,
    scratch: &mut Scratch,
) -> [u16; LANES] {
    let whole = count.next_multiple_of(STEP_WEIGHTS);
    // The surplus of a short last step is filled with the placeholder.
    let placeholder = palette.exponents()[usize::from(code.placeholder().entry)];
    scratch.exponents[count..whole].fill(placeholder);
    scratch.codes.prepare(code, palette);
    let ends = (kernels.pack)(
        &scratch.codes,
        &scratch.exponents[..whole],
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
/// 5.3, 5.5 and 11.5).
fn palette_body(kernels: &Kernels, palette: &Palette, count: usize, scratch: &mut Scratch) {
    let whole = count.next_multiple_of(STEP_WEIGHTS);
    scratch.exponents[count..whole].fill(palette.exponents()[0]);
    let mut indices = [PATCHED; 256];
    for entry in 0..PALETTE_ENTRIES {
        indices[usize::from(palette.exponents()[entry])] = entry as u8;
    }
    scratch.body.resize(whole / 2, 0);
    let exponents = &scratch.exponents[..whole];
    (kernels.index)(
        &indices,
        exponents,
        &mut scratch.body,
        &mut scratch.positions,
    );
}
