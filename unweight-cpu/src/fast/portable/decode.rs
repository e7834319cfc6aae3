//! Decoding with runs of symbols and several lanes in flight.
//!
//! Eight lanes at a time are decoded from their first step to their last. Each lane has a row,
//! which is filled from its end to its start. The 64 weights of step *t* are then eight bytes of
//! each row. One look-up of 11 bits gives all symbols whose codes lie within them, which is three
//! or four symbols for trained weights. Five look-ups use up a window of 64 bits.
//!
//! When a group's lanes are decoded, its values are written as they are, or joined with the other
//! parts of the weights; see `join`.
//!
//! The functions are `inline(always)` because the modules of the ISAs compile them again with their
//! target features.

use std::hint::select_unpredictable;

use unweight_format::Patch;
use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};

use super::{join, merge};
use crate::fast::decode_table::{DecodeTable, RUN_BITS, RUN_SYMBOLS, Run};
use crate::fast::kernels::Parts;
use crate::fast::lanes::{BUFFER_BYTES, ROW_BYTES};
use crate::fast::output::Output;
use crate::fast::plain_bytes::PlainBytes;
use crate::fast::scratch::Scratch;

/// Lanes with windows in registers. A look-up waits some 7 cycles for the previous one in its lane.
pub(in crate::fast) const IN_FLIGHT: usize = 4;
/// Lanes that are decoded side by side, `IN_FLIGHT` at a time. The next lanes begin while these
/// wait for fresh windows.
pub(in crate::fast) const GROUP_LANES: usize = 8;
/// Number of consecutive weights of a group in a step.
pub(in crate::fast) const GROUP_WEIGHTS: usize = GROUP_LANES * LANE_STEP_WEIGHTS;
/// Look-ups in a window of 57 bits or more.
pub(in crate::fast) const LOOK_UPS: usize = 57 / RUN_BITS;
/// The most symbols from a lane's look-ups in one window.
pub(in crate::fast) const ROUND_SYMBOLS: usize = LOOK_UPS * RUN_SYMBOLS;
/// Values of a group's step, eight for each lane, with the first one in the highest byte.
pub(in crate::fast) type Eights = [u64; GROUP_LANES];

/// Decodes lanes into BF16 weights of which the exponent alone is coded.
#[inline(always)]
pub(in crate::fast) fn weights(
    scratch: &mut Scratch,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
    rounds: impl Rounds,
    join_step: impl JoinStep,
) -> [u32; LANES] {
    let emit = Bf16Weights {
        sign_mantissa,
        output,
        join_step,
    };
    decode(scratch, sign_mantissa.len(), rounds, emit)
}

/// Receives the values of a chunk. Implementations are `inline(always)`, so that they are compiled
/// with the target features of their caller. A closure would not be.
trait Emit {
    /// Receives the values of the next group, which has this number.
    fn group(&mut self, number: usize, group: GroupValues<'_>);
}

struct Bf16Weights<'a, 'o, J> {
    sign_mantissa: &'a [u8],
    output: &'a mut Output<'o>,
    join_step: J,
}

impl<J: JoinStep> Emit for Bf16Weights<'_, '_, J> {
    #[inline(always)]
    fn group(&mut self, number: usize, group: GroupValues<'_>) {
        for step in 0..group.steps {
            let (first, eights) = (first_weight(number, step), group.eights(step));
            let sign_mantissa = self.sign_mantissa.get(first..).unwrap_or_default();
            if let Some(sign_mantissa) = sign_mantissa.first_chunk() {
                (self.join_step)(first, eights, sign_mantissa, self.output);
            } else if !sign_mantissa.is_empty() {
                let mut last = [0; GROUP_WEIGHTS];
                last[..sign_mantissa.len()].copy_from_slice(sign_mantissa);
                let weights = merge::join(&in_order(eights), &last);
                let weights = &weights[..sign_mantissa.len()];
                self.output.put_weights(2 * first, weights);
            }
        }
    }
}

/// Writes the BF16 weights of a group's step from these exponents and sign-mantissa bytes. The
/// number is the index of the first weight in the output.
pub(in crate::fast) trait JoinStep:
    FnMut(usize, Eights, &[u8; GROUP_WEIGHTS], &mut Output<'_>)
{
}

impl<F> JoinStep for F where F: FnMut(usize, Eights, &[u8; GROUP_WEIGHTS], &mut Output<'_>) {}

/// Joins a step's BF16 weights in safe Rust.
#[inline(always)]
pub(in crate::fast) fn join_step(
    first: usize,
    eights: Eights,
    sign_mantissa: &[u8; GROUP_WEIGHTS],
    output: &mut Output<'_>,
) {
    output.put_weights(2 * first, &merge::join(&in_order(eights), sign_mantissa));
}

/// The values of a group's step in the order of the weights.
#[inline(always)]
pub(in crate::fast) fn in_order(eights: Eights) -> [u8; GROUP_WEIGHTS] {
    let mut values = [0; GROUP_WEIGHTS];
    for (out, eight) in values.as_chunks_mut().0.iter_mut().zip(eights) {
        *out = eight.to_be_bytes();
    }
    values
}

/// Decodes lanes into values.
#[inline(always)]
pub(in crate::fast) fn values(
    scratch: &mut Scratch,
    output: &mut Output<'_>,
    rounds: impl Rounds,
) -> [u32; LANES] {
    decode(scratch, output.len(), rounds, Values { output })
}

struct Values<'a, 'o> {
    output: &'a mut Output<'o>,
}

impl Emit for Values<'_, '_> {
    #[inline(always)]
    fn group(&mut self, number: usize, group: GroupValues<'_>) {
        let weights = self.output.len();
        for step in 0..group.steps {
            let (first, eights) = (first_weight(number, step), group.eights(step));
            match weights.saturating_sub(first) {
                0 => {}
                rest @ 1..GROUP_WEIGHTS => self.output.put_slice(first, &in_order(eights)[..rest]),
                GROUP_WEIGHTS.. => self.output.put(first, in_order(eights)),
            }
        }
    }
}

/// Decodes lanes into values of the last coded field, and joins them with the other parts of a
/// chunk into weights.
#[inline(always)]
pub(in crate::fast) fn joined(
    scratch: &mut Scratch,
    parts: &Parts<'_>,
    output: &mut Output<'_>,
    rounds: impl Rounds,
) -> [u32; LANES] {
    let weights = output.len() / parts.layout.weight_bytes;
    let emit = Joined {
        parts,
        plain: PlainBytes::new(parts.plain),
        output,
    };
    decode(scratch, weights, rounds, emit)
}

struct Joined<'a, 'o> {
    parts: &'a Parts<'a>,
    plain: PlainBytes<'a>,
    output: &'a mut Output<'o>,
}

impl Emit for Joined<'_, '_> {
    #[inline(always)]
    fn group(&mut self, number: usize, mut group: GroupValues<'_>) {
        group.patch(number, self.parts);
        join::join_group(self.parts, &self.plain, number, &group, self.output);
    }
}

/// Same as `joined`, for weights of one byte of which one field is coded. `pdep` is PDEP with the
/// mask of a word's plain bits.
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "for processors with PDEP")
)]
#[inline(always)]
pub(in crate::fast) fn joined_bytes(
    scratch: &mut Scratch,
    parts: &Parts<'_>,
    output: &mut Output<'_>,
    rounds: impl Rounds,
    pdep: impl Fn(u64) -> u64,
) -> [u32; LANES] {
    assert!(parts.layout.weight_bytes == 1 && parts.values.is_empty());
    let emit = JoinedBytes {
        joined: Joined {
            parts,
            plain: PlainBytes::new(parts.plain),
            output,
        },
        pdep,
    };
    let weights = emit.joined.output.len();
    decode(scratch, weights, rounds, emit)
}

struct JoinedBytes<'a, 'o, P> {
    joined: Joined<'a, 'o>,
    pdep: P,
}

impl<P: Fn(u64) -> u64> Emit for JoinedBytes<'_, '_, P> {
    #[inline(always)]
    fn group(&mut self, number: usize, mut group: GroupValues<'_>) {
        let Joined {
            parts,
            plain,
            output,
        } = &mut self.joined;
        group.patch(number, parts);
        join::join_bytes_with_pdep(parts.layout, plain, number, &group, output, &self.pdep);
    }
}

/// The number of the first weight of a group's step.
pub(super) const fn first_weight(group: usize, step: usize) -> usize {
    step * STEP_WEIGHTS + group * GROUP_WEIGHTS
}

/// Decodes all lanes of this many weights. Passes the values of each group to `emit`. Returns the bit position in the lane buffer at the end of each lane's codes.
#[inline(always)]
fn decode(
    scratch: &mut Scratch,
    weights: usize,
    mut rounds: impl Rounds,
    mut emit: impl Emit,
) -> [u32; LANES] {
    let steps = weights.div_ceil(STEP_WEIGHTS);
    let symbols = steps * LANE_STEP_WEIGHTS;
    let mut bits = scratch.lanes.first_bits();
    let table = &mut scratch.tables[scratch.table_number];
    let only_value = table.only_value();
    if only_value.is_none() {
        table.prepare_runs();
    }
    let buffer = scratch.lanes.bytes();
    let (groups, _) = scratch.rows.as_chunks_mut();
    let rows: &mut [[u8; ROW_BYTES]; GROUP_LANES] = &mut groups[0];
    for (number, bits) in bits.as_chunks_mut().0.iter_mut().enumerate() {
        if let Some(value) = only_value {
            for row in &mut *rows {
                row[..symbols + 8].fill(value);
            }
        } else {
            let mut group = Group {
                rows,
                bits: *bits,
                left: [symbols; GROUP_LANES],
            };
            decode_group(table, buffer, &mut group, &mut rounds);
            *bits = group.bits;
        }
        emit.group(number, GroupValues { rows, steps });
    }
    bits
}

/// The values of a group of lanes.
pub(in crate::fast) struct GroupValues<'a> {
    rows: &'a mut [[u8; ROW_BYTES]; GROUP_LANES],
    steps: usize,
}

impl GroupValues<'_> {
    /// The values of a step.
    #[inline(always)]
    pub(super) fn eights(&self, step: usize) -> Eights {
        let mut eights = [0; GROUP_LANES];
        for (eight, row) in eights.iter_mut().zip(&*self.rows) {
            // The first eight bytes of a row are not values.
            *eight = u64::from_le_bytes(row.as_chunks().0[self.steps - step]);
        }
        eights
    }

    /// Applies the patches of the group, which has this number.
    #[inline(always)]
    fn patch(&mut self, number: usize, parts: &Parts<'_>) {
        let placing = parts.layout.placing();
        for Patch { position, value } in parts.patches.iter() {
            self.replace(number, position.into(), placing.byte(value));
        }
    }

    /// Replaces the value at this position in the chunk, if it is one of this group, which has this
    /// number.
    #[inline(always)]
    fn replace(&mut self, number: usize, position: usize, value: u8) {
        let lane = position % STEP_WEIGHTS / LANE_STEP_WEIGHTS;
        if lane / GROUP_LANES == number {
            let step = position / STEP_WEIGHTS;
            let last = LANE_STEP_WEIGHTS * (self.steps - step) + LANE_STEP_WEIGHTS - 1;
            self.rows[lane % GROUP_LANES][last - position % LANE_STEP_WEIGHTS] = value;
        }
    }
}

/// A group of lanes that are decoded side by side.
pub(in crate::fast) struct Group<'a> {
    pub(in crate::fast) rows: &'a mut [[u8; ROW_BYTES]; GROUP_LANES],
    /// The bit position in the buffer of each lane's next code.
    pub(in crate::fast) bits: [u32; GROUP_LANES],
    /// The number of symbols still to decode in each lane. The next run is written to the eight
    /// bytes of the row from this index on.
    pub(in crate::fast) left: [usize; GROUP_LANES],
}

/// The inner loop: this many rounds, each with one window and `LOOK_UPS` look-ups for each lane of
/// a group. The caller ensures that each lane has `ROUND_SYMBOLS` symbols left for each round.
pub(in crate::fast) trait Rounds:
    FnMut(usize, &[Run; 1 << RUN_BITS], &[u8; BUFFER_BYTES], &mut Group<'_>)
{
}

impl<F> Rounds for F where
    F: FnMut(usize, &[Run; 1 << RUN_BITS], &[u8; BUFFER_BYTES], &mut Group<'_>)
{
}

/// Rounds in safe Rust.
#[inline(always)]
pub(in crate::fast) fn rounds(
    count: usize,
    runs: &[Run; 1 << RUN_BITS],
    buffer: &[u8; BUFFER_BYTES],
    group: &mut Group<'_>,
) {
    for _ in 0..count {
        round(runs, buffer, group, |_, run| run);
    }
}

/// Runs one round. `taken` converts each run that was looked up, and gets the number of symbols
/// left.
#[inline(always)]
fn round(
    runs: &[Run; 1 << RUN_BITS],
    buffer: &[u8; BUFFER_BYTES],
    group: &mut Group<'_>,
    taken: impl Fn(usize, Run) -> Run,
) {
    let bits = group.bits.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    let left_of_lanes = group.left.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    let rows = group.rows.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    for ((bits, left_of_lanes), rows) in bits.zip(left_of_lanes).zip(rows) {
        // The highest bit is a marker. Its position after the shifts gives the number of consumed
        // bits.
        let mut windows = [0; IN_FLIGHT];
        for (window, &bit) in windows.iter_mut().zip(&*bits) {
            *window = next_bits(buffer, bit) | 1 << 63;
        }
        // A copy that stays in registers. The group itself would have to be right whenever an index
        // is out of bounds.
        let mut left = *left_of_lanes;
        for _ in 0..LOOK_UPS {
            for lane in 0..IN_FLIGHT {
                let at = left[lane];
                let run = taken(at, runs[windows[lane] as usize % (1 << RUN_BITS)]);
                rows[lane][at..at + 8].copy_from_slice(&run.bytes());
                left[lane] = at - run.symbols();
                windows[lane] >>= run.shift() % 64;
            }
        }
        *left_of_lanes = left;
        for (bit, window) in bits.iter_mut().zip(windows) {
            // The lowest bit changes nothing but spares a test for zero.
            *bit += (window | 1).leading_zeros();
        }
    }
}

/// Decodes the symbols that each lane of a group has left.
#[inline(always)]
fn decode_group(
    table: &DecodeTable,
    buffer: &[u8; BUFFER_BYTES],
    group: &mut Group<'_>,
    rounds: &mut impl Rounds,
) {
    let runs = table.runs();
    loop {
        let least = group
            .left
            .iter()
            .fold(usize::MAX, |least, &left| least.min(left));
        // This many rounds need no further check of `left`.
        let count = least / ROUND_SYMBOLS;
        if count == 0 {
            break;
        }
        rounds(count, runs, buffer, group);
    }
    // Lanes that are nearly done wait for the others. The code is branch-free, because lanes end at
    // different times.
    while group.left.iter().any(|&left| left >= RUN_SYMBOLS) {
        round(runs, buffer, group, |left, run| {
            select_unpredictable(left >= RUN_SYMBOLS, run, Run::default())
        });
    }
    let mut windows = [0; GROUP_LANES];
    for (window, &bit) in windows.iter_mut().zip(&group.bits) {
        *window = next_bits(buffer, bit);
    }
    for _ in 1..RUN_SYMBOLS {
        for (lane, window) in windows.iter_mut().enumerate() {
            let left = group.left[lane];
            let (value, length) = table.symbol(*window as u8);
            let (taken, length) = select_unpredictable(left > 0, (1, length), (0, 0));
            // If no symbol is left, this byte of the row is not a value.
            group.rows[lane][left + 7] = value;
            group.left[lane] = left - taken;
            group.bits[lane] += length;
            *window >>= length;
        }
    }
}

/// At least 57 bits of the buffer from this bit position on.
#[inline(always)]
fn next_bits(buffer: &[u8; BUFFER_BYTES], bit: u32) -> u64 {
    let bytes = buffer[bit as usize / 8..].first_chunk();
    u64::from_le_bytes(*bytes.expect("no lane gets so far: see `LaneBuffer`")) >> (bit % 8)
}
