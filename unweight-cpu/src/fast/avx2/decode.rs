//! The inner loop of decoding for x86-64. It is the portable backend's loop with two changes: the
//! checks are made once for many rounds, and cache lines of this chunk's and of the next chunk's
//! output and plain bytes are prefetched.

use std::arch::asm;
use std::arch::x86_64::*;

use unweight_format::layout::{LANE_STEP_WEIGHTS, STEP_WEIGHTS};

use crate::fast::decode_table::{RUN_BITS, Run};
use crate::fast::lanes::{BUFFER_BYTES, MOST_STEPS};
use crate::fast::output::Output;
use crate::fast::portable::decode::{GROUP_LANES, GROUP_WEIGHTS, Group, LOOK_UPS, ROUND_SYMBOLS};

/// Steps whose lines are prefetched in a round. Each of the 4 groups of a chunk needs some 55
/// rounds for its 128 steps.
const STEPS_AHEAD: usize = 3;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Number of consecutive look-ups for one lane before the next lane, for each pass of a round. With
/// one look-up, the row pointer of each lane is loaded and stored for each of them, because there
/// are too few registers for eight. With all five, one lane's waiting instructions leave no room
/// for other lanes.
const TURNS: [usize; 3] = [2, 2, 1];
const _: () = assert!(TURNS[0] + TURNS[1] + TURNS[2] == LOOK_UPS);

/// Cache lines to prefetch: those of this chunk's output group by group, in case that nothing
/// prefetched them before, and those of what probably follows: the next chunk's output, plain bytes
/// and record. Prefetches are hints, so the pointers may be invalid.
pub(super) struct Ahead {
    output: *const u8,
    /// Bytes of a weight.
    size: usize,
    /// Index of the next weight to prefetch.
    at: usize,
    /// Number of weights, rounded up to whole steps.
    weights: usize,
    next_output: Lines,
    next_plain: Lines,
    /// The next chunk's record. One line in each round covers some 14 KB.
    next_record: *const u8,
}

/// Cache lines that are prefetched in order.
struct Lines {
    at: *const u8,
    end: *const u8,
    /// Lines in a round.
    at_once: usize,
}

impl Lines {
    /// The lines of the `length` bytes behind the `length` bytes at `start`, for so many rounds.
    fn behind(start: *const u8, length: usize, rounds: usize) -> Lines {
        let at = start.wrapping_add(length);
        Lines {
            at,
            end: at.wrapping_add(length),
            at_once: length.div_ceil(LINE).div_ceil(rounds),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn fetch(&mut self) {
        if self.at < self.end {
            for line in 0..self.at_once {
                _mm_prefetch::<_MM_HINT_T1>(self.at.wrapping_add(LINE * line).cast());
            }
            self.at = self.at.wrapping_add(LINE * self.at_once);
        }
    }
}

impl Ahead {
    /// For an output of so many weights, and their plain bytes.
    pub(super) fn of(
        output: &mut Output<'_>,
        weights: usize,
        plain: &[u8],
        next_record: *const u8,
    ) -> Ahead {
        let start = output.as_mut_ptr().cast_const();
        // There are no fewer, as this is for the most symbols in each round.
        let rounds = (weights / GROUP_LANES / ROUND_SYMBOLS).max(1);
        Ahead {
            output: start,
            size: output.len() / weights.max(1),
            at: 0,
            weights: weights.next_multiple_of(STEP_WEIGHTS),
            next_output: Lines::behind(start, output.len(), rounds),
            next_plain: Lines::behind(plain.as_ptr(), plain.len(), rounds),
            next_record,
        }
    }

    /// Prefetches the lines of a round.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fetch(&mut self) {
        _mm_prefetch::<_MM_HINT_T1>(self.next_record.cast());
        self.next_record = self.next_record.wrapping_add(LINE);
        for _ in 0..STEPS_AHEAD {
            self.fetch_step();
        }
        self.next_output.fetch();
        self.next_plain.fetch();
    }

    /// Prefetches the output of the next group's step.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fetch_step(&mut self) {
        let output = self.output.wrapping_add(self.size * self.at);
        for line in 0..self.size {
            _mm_prefetch::<_MM_HINT_T1>(output.wrapping_add(LINE * line).cast());
        }
        self.at += STEP_WEIGHTS;
        if self.at >= self.weights {
            self.at = self.at - self.weights + GROUP_WEIGHTS;
        }
    }
}

/// Runs `count` rounds, with or without prefetching.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn rounds(
    count: usize,
    runs: &[Run; 1 << RUN_BITS],
    buffer: &[u8; BUFFER_BYTES],
    group: &mut Group<'_>,
    ahead: &mut Option<Ahead>,
) {
    let symbols = count * ROUND_SYMBOLS;
    let longest = MOST_STEPS * LANE_STEP_WEIGHTS;
    assert!(
        group
            .left
            .iter()
            .all(|&left| symbols <= left && left <= longest)
    );
    let mut rows: [*mut u8; GROUP_LANES] =
        std::array::from_fn(|lane| group.rows[lane].as_mut_ptr().wrapping_add(group.left[lane]));
    let starts = rows;
    let mut bits = group.bits.map(u64::from);
    for _ in 0..count {
        if let Some(ahead) = ahead {
            ahead.fetch();
        }
        let mut windows = [0; GROUP_LANES];
        for (window, bit) in windows.iter_mut().zip(bits) {
            let bit = one_by_one(bit);
            let start = buffer.as_ptr().wrapping_add(bit as usize / 8);
            // SAFETY: no lane reads past BUFFER_BYTES - WINDOW_BYTES: see `LaneBuffer` and
            // `every_code_has_runs_within_bounds`.
            let bytes = unsafe { start.cast::<u64>().read_unaligned() };
            // The highest bit is a marker. Its position after the shifts gives the number of
            // consumed bits.
            *window = u64::from_le(bytes) >> (bit % 8) | 1 << 63;
        }
        for look_ups in TURNS {
            for (window, row) in windows.iter_mut().zip(&mut rows) {
                for _ in 0..look_ups {
                    // SAFETY: the `assert` bounds a row's number of symbols left, and a row has
                    // eight bytes more; each look-up takes no more symbols than are left, as
                    // `every_code_has_runs_within_bounds` tests. `kernels` has checked the
                    // features.
                    unsafe { look_up(runs, window, row) };
                }
            }
        }
        for (bit, window) in bits.iter_mut().zip(windows) {
            *bit += u64::from(window.leading_zeros());
        }
    }
    for lane in 0..GROUP_LANES {
        group.left[lane] -= starts[lane] as usize - rows[lane] as usize;
        group.bits[lane] = bits[lane] as u32;
    }
}

/// Optimization barrier: keeps the compiler from loading this number and its neighbours as a
/// vector. They were stored one by one, and a vector load would wait for all these stores.
#[inline(always)]
fn one_by_one(mut number: u64) -> u64 {
    // SAFETY: the assembly has no instruction.
    unsafe {
        asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// Removes the codes in the next bits from a window, writes their values at `row`, and advances
/// `row`.
///
/// It takes eight instructions, three of them dependent on each other. The compiler's version has
/// nine. Reading the number of symbols as a register's second byte would save one more, but Intel's
/// processors from Ice Lake on take a cycle longer for it: a look-up takes 1.65 cycles on Sapphire
/// Rapids, and would take 2.4.
///
/// # Safety
/// The caller must be allowed to write eight bytes at `row`, and the processor must have BMI1 and
/// BMI2.
#[inline(always)]
unsafe fn look_up(runs: &[Run; 1 << RUN_BITS], window: &mut u64, row: &mut *mut u8) {
    // SAFETY: the index has `RUN_BITS` bits; the caller guarantees the writable bytes and the
    // features.
    unsafe {
        asm!(
            "bzhi {run:r}, {window}, {index_bits}",
            "mov {run:r}, [{runs} + 8 * {run:r}]",
            "mov [{row}], {run:r}",
            "shrx {window}, {window}, {run:r}",
            "movzx {run:e}, {run:x}",
            "shr {run:e}, 8",
            "sub {row}, {run:r}",
            run = out(reg) _,
            window = inout(reg) *window,
            row = inout(reg) *row,
            runs = in(reg) runs.as_ptr(),
            index_bits = in(reg) RUN_BITS as u64,
            options(nostack),
        );
    }
}
