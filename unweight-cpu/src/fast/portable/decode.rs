//! Decoding with runs of symbols, several lanes in flight.
//!
//! Eight lanes at a time are decoded from their first step to their last, each into a row of its own, from its end to its start; 64 weights of
//! step *t* are then eight bytes of each of the rows. One look-up by 11 bits gives all symbols whose codes lie in them, with
//! trained weights three or four; five look-ups use up a window of 64 bits.
//!
//! These functions are `inline(always)`: the instruction sets' rooms compile them again, with what they have.

use std::hint::select_unpredictable;

use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};

use super::merge::join;
use crate::fast::decode_table::{DecodeTable, RUN_BITS, RUN_SYMBOLS, Run};
use crate::fast::lanes::{BUFFER_BYTES, MOST_STEPS};
use crate::fast::output::Output;
use crate::fast::scratch::Scratch;

/// Lanes whose windows are in registers: a look-up waits for the one before it in its lane, some 7 cycles.
pub(in crate::fast) const IN_FLIGHT: usize = 4;
/// Lanes that are decoded side by side, `IN_FLIGHT` of them in turn: the next ones begin while these wait for fresh windows.
pub(in crate::fast) const GROUP_LANES: usize = 8;
/// Weights of a group in a step: they follow each other.
pub(in crate::fast) const GROUP_WEIGHTS: usize = GROUP_LANES * LANE_STEP_WEIGHTS;
/// Look-ups that a window of 57 bits or more allows.
pub(in crate::fast) const LOOK_UPS: usize = 57 / RUN_BITS;
/// Symbols that a lane's look-ups in a window may give.
pub(in crate::fast) const ROUND_SYMBOLS: usize = LOOK_UPS * RUN_SYMBOLS;
/// Bytes of a row: the longest lane, and what the last run's eight bytes may write before it. The rest is there so that rows do not begin at
/// the same places of a page, where they would push each other and the table of runs out of the first cache.
pub(in crate::fast) const ROW_BYTES: usize = MOST_STEPS * LANE_STEP_WEIGHTS + 8 + 1152;
/// A row for each lane: of a lane stream when encoding. Decoding needs those of one group.
pub(in crate::fast) type Rows = [[u8; ROW_BYTES]; LANES];
/// Exponents of a group's step, eight for each lane, the first one in the highest byte.
pub(in crate::fast) type Eights = [u64; GROUP_LANES];

/// Decodes lanes into weights.
#[inline(always)]
pub(in crate::fast) fn weights(
    scratch: &mut Scratch,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
    rounds: impl Rounds,
    mut join_step: impl JoinStep,
) -> [u32; LANES] {
    decode(scratch, sign_mantissa.len(), rounds, |first, eights| {
        let sign_mantissa = sign_mantissa.get(first..).unwrap_or_default();
        if let Some(sign_mantissa) = sign_mantissa.first_chunk() {
            join_step(first, eights, sign_mantissa, output);
        } else if !sign_mantissa.is_empty() {
            let mut last = [0; GROUP_WEIGHTS];
            last[..sign_mantissa.len()].copy_from_slice(sign_mantissa);
            let weights = join(&in_order(eights), &last);
            output.put_weights(2 * first, &weights[..sign_mantissa.len()]);
        }
    })
}

/// Writes the weights of a group's step, of these exponents and sign-mantissa bytes; the first is weight number so-and-so of the output.
pub(in crate::fast) trait JoinStep:
    FnMut(usize, Eights, &[u8; GROUP_WEIGHTS], &mut Output<'_>)
{
}

impl<F> JoinStep for F where F: FnMut(usize, Eights, &[u8; GROUP_WEIGHTS], &mut Output<'_>) {}

/// A step's weights in safe Rust.
#[inline(always)]
pub(in crate::fast) fn join_step(
    first: usize,
    eights: Eights,
    sign_mantissa: &[u8; GROUP_WEIGHTS],
    output: &mut Output<'_>,
) {
    output.put_weights(2 * first, &join(&in_order(eights), sign_mantissa));
}

/// The exponents of a group's step, as weights have them.
#[inline(always)]
pub(in crate::fast) fn in_order(eights: Eights) -> [u8; GROUP_WEIGHTS] {
    let mut exponents = [0; GROUP_WEIGHTS];
    for (out, eight) in exponents.as_chunks_mut().0.iter_mut().zip(eights) {
        *out = eight.to_be_bytes();
    }
    exponents
}

/// Decodes lanes into exponents.
#[inline(always)]
pub(in crate::fast) fn exponents(
    scratch: &mut Scratch,
    output: &mut Output<'_>,
    rounds: impl Rounds,
) -> [u32; LANES] {
    let weights = output.len();
    decode(scratch, weights, rounds, |first, eights| {
        let exponents = in_order(eights);
        match weights.saturating_sub(first) {
            0 => {}
            rest @ 1..GROUP_WEIGHTS => output.put_slice(first, &exponents[..rest]),
            GROUP_WEIGHTS.. => output.put(first, exponents),
        }
    })
}

/// Decodes all lanes of so many weights, and gives the exponents of each group's steps to `then`, group by group, with the number of their first
/// weight. Gives the bit of the lane buffer where each lane's codes end.
#[inline(always)]
fn decode(
    scratch: &mut Scratch,
    weights: usize,
    mut rounds: impl Rounds,
    mut then: impl FnMut(usize, Eights),
) -> [u32; LANES] {
    let steps = weights.div_ceil(STEP_WEIGHTS);
    let mut bits = scratch.lanes.first_bits();
    let only_exponent = scratch.table.only_exponent();
    if only_exponent.is_none() {
        scratch.table.prepare_runs();
    }
    let (table, buffer) = (&scratch.table, scratch.lanes.bytes());
    let (groups, _) = scratch.rows.as_chunks_mut();
    let rows: &mut [[u8; ROW_BYTES]; GROUP_LANES] = &mut groups[0];
    if let Some(exponent) = only_exponent {
        rows.as_flattened_mut().fill(exponent);
    }
    for (number, bits) in bits.as_chunks_mut().0.iter_mut().enumerate() {
        if only_exponent.is_none() {
            let mut group = Group {
                rows,
                bits: *bits,
                left: [steps * LANE_STEP_WEIGHTS; GROUP_LANES],
            };
            decode_group(table, buffer, &mut group, &mut rounds);
            *bits = group.bits;
        }
        for step in 0..steps {
            let eights = rows.each_ref().map(|row| {
                // The first eight bytes of a row are no exponents.
                let eight = row.as_chunks().0[steps - step];
                u64::from_le_bytes(eight)
            });
            then(step * STEP_WEIGHTS + number * GROUP_WEIGHTS, eights);
        }
    }
    bits
}

/// Lanes that are decoded side by side.
pub(in crate::fast) struct Group<'a> {
    pub(in crate::fast) rows: &'a mut [[u8; ROW_BYTES]; GROUP_LANES],
    /// Where each lane's next code begins in the buffer.
    pub(in crate::fast) bits: [u32; GROUP_LANES],
    /// How many symbols each lane has yet to give: a run goes to the eight bytes of its row from this one on.
    pub(in crate::fast) left: [usize; GROUP_LANES],
}

/// The inner loop: so many rounds of one window and `LOOK_UPS` look-ups for each lane of a group. The caller has made sure that
/// each lane has `ROUND_SYMBOLS` symbols left for each of them.
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

/// One round, of the runs that `taken` makes of those looked up; it is told how many symbols are left.
#[inline(always)]
fn round(
    runs: &[Run; 1 << RUN_BITS],
    buffer: &[u8; BUFFER_BYTES],
    group: &mut Group<'_>,
    taken: impl Fn(usize, Run) -> Run,
) {
    let bits = group.bits.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    let left = group.left.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    let rows = group.rows.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    for ((bits, left), rows) in bits.zip(left).zip(rows) {
        // The highest bit is a marker: where it has got to says how many bits are gone.
        let mut windows = bits.map(|bit| window(buffer, bit) | 1 << 63);
        for _ in 0..LOOK_UPS {
            for lane in 0..IN_FLIGHT {
                let at = left[lane];
                let run = taken(at, runs[windows[lane] as usize % (1 << RUN_BITS)]);
                rows[lane][at..at + 8].copy_from_slice(&run.bytes());
                left[lane] = at - run.symbols();
                windows[lane] >>= run.shift() % 64;
            }
        }
        for (bit, window) in bits.iter_mut().zip(windows) {
            *bit += window.leading_zeros();
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
        // So many are safe without another look at `left`.
        let count = least / ROUND_SYMBOLS;
        if count == 0 {
            break;
        }
        rounds(count, runs, buffer, group);
    }
    // Lanes that are nearly done wait for the others: without branches, as no two lanes are done at the same time.
    while group.left.iter().any(|&left| left >= RUN_SYMBOLS) {
        round(runs, buffer, group, |left, run| {
            select_unpredictable(left >= RUN_SYMBOLS, run, Run::default())
        });
    }
    let mut windows = group.bits.map(|bit| window(buffer, bit));
    for _ in 1..RUN_SYMBOLS {
        for (lane, window) in windows.iter_mut().enumerate() {
            let left = group.left[lane];
            let (exponent, length) = table.symbol(*window as u8);
            let (taken, length) = select_unpredictable(left > 0, (1, length), (0, 0));
            // Where nothing is left, this byte is none of the exponents.
            group.rows[lane][left + 7] = exponent;
            group.left[lane] = left - taken;
            group.bits[lane] += length;
            *window >>= length;
        }
    }
}

/// 57 bits or more from this bit of the buffer on.
#[inline(always)]
fn window(buffer: &[u8; BUFFER_BYTES], bit: u32) -> u64 {
    let bytes = buffer[bit as usize / 8..].first_chunk();
    u64::from_le_bytes(*bytes.expect("no lane gets so far: see `LaneBuffer`")) >> (bit % 8)
}
