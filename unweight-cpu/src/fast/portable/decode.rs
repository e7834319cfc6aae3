//! Decoding with runs of symbols, several lanes in flight.
//!
//! Each lane is decoded from its first step to its last into a row of its own; the weights of
//! step *t* are then bytes 8*t* .. 8*t*+7 of the 32 rows. One look-up by 11 bits gives all symbols whose codes lie in them, with
//! trained weights three or four; five look-ups use up a window of 64 bits.
//!
//! These functions are `inline(always)`: the instruction sets' rooms compile them again, with what they have.

use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, STEP_WEIGHTS};

use super::merge::join;
use crate::fast::decode_table::{DecodeTable, RUN_BITS, RUN_SYMBOLS, Run};
use crate::fast::lanes::{BUFFER_BYTES, MOST_STEPS};
use crate::fast::output::Output;
use crate::fast::scratch::Scratch;

/// Lanes in flight: a look-up waits for the one before it in its lane, some 8 cycles.
pub(in crate::fast) const IN_FLIGHT: usize = 4;
/// Look-ups that a window of 57 bits or more allows.
pub(in crate::fast) const LOOK_UPS: usize = 57 / RUN_BITS;
/// Symbols that a round may give.
const ROUND_SYMBOLS: usize = LOOK_UPS * RUN_SYMBOLS;
/// Bytes of a row: the longest lane, and what the last run's eight bytes may write behind it.
pub(in crate::fast) const ROW_BYTES: usize = MOST_STEPS * LANE_STEP_WEIGHTS + 8;
/// The exponents of a chunk, lane by lane.
pub(in crate::fast) type Rows = [[u8; ROW_BYTES]; LANES];

/// Decodes lanes into weights.
#[inline(always)]
pub(in crate::fast) fn weights(
    scratch: &mut Scratch,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
    rounds: impl Rounds,
    mut join_step: impl JoinStep,
) -> [u32; LANES] {
    let steps = sign_mantissa.len().div_ceil(STEP_WEIGHTS);
    decode(scratch, steps, rounds, |step, exponents| {
        let first = step * STEP_WEIGHTS;
        let sign_mantissa = &sign_mantissa[first..];
        if let Some(sign_mantissa) = sign_mantissa.first_chunk() {
            join_step(first, exponents, sign_mantissa, output);
        } else {
            let mut last = [0; STEP_WEIGHTS];
            last[..sign_mantissa.len()].copy_from_slice(sign_mantissa);
            let weights = join(exponents, &last);
            output.put_weights(2 * first, &weights[..sign_mantissa.len()]);
        }
    })
}

/// Writes a step's weights, of these exponents and sign-mantissa bytes; the first is weight number so-and-so of the output.
pub(in crate::fast) trait JoinStep:
    FnMut(usize, &[u8; STEP_WEIGHTS], &[u8; STEP_WEIGHTS], &mut Output<'_>)
{
}

impl<F> JoinStep for F where
    F: FnMut(usize, &[u8; STEP_WEIGHTS], &[u8; STEP_WEIGHTS], &mut Output<'_>)
{
}

/// A step's weights in safe Rust.
#[inline(always)]
pub(in crate::fast) fn join_step(
    first: usize,
    exponents: &[u8; STEP_WEIGHTS],
    sign_mantissa: &[u8; STEP_WEIGHTS],
    output: &mut Output<'_>,
) {
    output.put_weights(2 * first, &join(exponents, sign_mantissa));
}

/// Decodes lanes into exponents.
#[inline(always)]
pub(in crate::fast) fn exponents(
    scratch: &mut Scratch,
    output: &mut Output<'_>,
    rounds: impl Rounds,
) -> [u32; LANES] {
    let weights = output.len();
    decode(
        scratch,
        weights.div_ceil(STEP_WEIGHTS),
        rounds,
        |step, exponents| {
            let first = step * STEP_WEIGHTS;
            match weights - first {
                STEP_WEIGHTS.. => output.put(first, *exponents),
                rest => output.put_slice(first, &exponents[..rest]),
            }
        },
    )
}

/// Decodes all lanes, and gives each step's exponents to `then`, in order. Gives the bit of the lane buffer where each lane's
/// codes end.
#[inline(always)]
fn decode(
    scratch: &mut Scratch,
    steps: usize,
    mut rounds: impl Rounds,
    mut then: impl FnMut(usize, &[u8; STEP_WEIGHTS]),
) -> [u32; LANES] {
    let mut bits = scratch.lanes.first_bits();
    if let Some(exponent) = scratch.table.only_exponent() {
        for step in 0..steps {
            then(step, &[exponent; STEP_WEIGHTS]);
        }
        return bits;
    }
    scratch.table.prepare_runs();
    let (table, buffer) = (&scratch.table, scratch.lanes.bytes());
    let (groups, _) = scratch.rows.as_chunks_mut();
    for (rows, bits) in groups.iter_mut().zip(bits.as_chunks_mut().0) {
        let mut group = Group {
            rows,
            bits: *bits,
            done: [0; IN_FLIGHT],
        };
        decode_group(
            table,
            buffer,
            steps * LANE_STEP_WEIGHTS,
            &mut group,
            &mut rounds,
        );
        *bits = group.bits;
    }
    for step in 0..steps {
        let mut exponents = [0; STEP_WEIGHTS];
        let (eights, _) = exponents.as_chunks_mut::<LANE_STEP_WEIGHTS>();
        for (eight, row) in eights.iter_mut().zip(scratch.rows.iter()) {
            *eight = row.as_chunks().0[step];
        }
        then(step, &exponents);
    }
    bits
}

/// Lanes that are decoded side by side.
pub(in crate::fast) struct Group<'a> {
    pub(in crate::fast) rows: &'a mut [[u8; ROW_BYTES]; IN_FLIGHT],
    /// Where each lane's next code begins in the buffer.
    pub(in crate::fast) bits: [u32; IN_FLIGHT],
    /// How many symbols each lane has.
    pub(in crate::fast) done: [usize; IN_FLIGHT],
}

/// The inner loop: so many rounds of one window and `LOOK_UPS` look-ups for each lane of a group. The caller has made sure that
/// `ROUND_SYMBOLS` a round do not lead past the longest lane.
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
        // The highest bit is a marker: where it has got to says how many bits are gone.
        let mut windows = group.bits.map(|bit| window(buffer, bit) | 1 << 63);
        for _ in 0..LOOK_UPS {
            for lane in 0..IN_FLIGHT {
                let run = runs[windows[lane] as usize % (1 << RUN_BITS)];
                let done = &mut group.done[lane];
                group.rows[lane][*done..*done + 8].copy_from_slice(&run.bytes());
                *done += run.symbols();
                windows[lane] >>= run.bits();
            }
        }
        for (bit, window) in group.bits.iter_mut().zip(windows) {
            *bit += window.leading_zeros();
        }
    }
}

/// Decodes `symbols` symbols of each lane of a group.
#[inline(always)]
fn decode_group(
    table: &DecodeTable,
    buffer: &[u8; BUFFER_BYTES],
    symbols: usize,
    group: &mut Group<'_>,
    rounds: &mut impl Rounds,
) {
    let runs = table.runs();
    loop {
        let most = group.done.iter().fold(0, |most, &done| most.max(done));
        // So many are safe without another look at `done`.
        let count = (symbols - most) / ROUND_SYMBOLS;
        if count == 0 {
            break;
        }
        rounds(count, runs, buffer, group);
    }
    for lane in 0..IN_FLIGHT {
        let (row, mut bit, mut done) = (&mut group.rows[lane], group.bits[lane], group.done[lane]);
        while done + RUN_SYMBOLS <= symbols {
            let run = runs[window(buffer, bit) as usize % (1 << RUN_BITS)];
            row[done..done + 8].copy_from_slice(&run.bytes());
            done += run.symbols();
            bit += run.bits();
        }
        for exponent in &mut row[done..symbols] {
            let length;
            (*exponent, length) = table.symbol(window(buffer, bit) as u8);
            bit += length;
        }
        group.bits[lane] = bit;
    }
}

/// 57 bits or more from this bit of the buffer on.
#[inline(always)]
fn window(buffer: &[u8; BUFFER_BYTES], bit: u32) -> u64 {
    let bytes = buffer[bit as usize / 8..].first_chunk();
    u64::from_le_bytes(*bytes.expect("no lane gets so far: see `LaneBuffer`")) >> (bit % 8)
}
