//! The inner loop of decoding for x86-64: that of the portable backend without its checks, which are made once for many rounds,
//! and with the output's and the sign-mantissa bytes' cache lines on their way while the lanes are decoded.

use std::arch::asm;
use std::arch::x86_64::*;

use unweight_format::layout::{LANE_STEP_WEIGHTS, STEP_WEIGHTS};

use crate::fast::decode_table::{RUN_BITS, Run};
use crate::fast::lanes::{BUFFER_BYTES, MOST_STEPS};
use crate::fast::portable::decode::{GROUP_LANES, GROUP_WEIGHTS, Group, LOOK_UPS, ROUND_SYMBOLS};

/// Steps whose lines are fetched in a round: the 4 groups of a chunk need some 55 rounds each, and have 128 steps.
const STEPS_AHEAD: usize = 3;

/// How many look-ups of a round each lane has before it is the next one's turn. One at a time, and every row's place is loaded and stored
/// for it, as there are not registers for eight; all five, and what waits for one lane leaves no room for the others.
const TURNS: [usize; 3] = [2, 2, 1];
const _: () = assert!(TURNS[0] + TURNS[1] + TURNS[2] == LOOK_UPS);

/// The lines that will be needed, group by group. Hints: where they point does not matter otherwise.
pub(super) struct Ahead {
    sign_mantissa: *const u8,
    output: *mut u8,
    /// The next chunk's record: one line in a round is enough for some 14 KB.
    record: *const u8,
    /// Weights from the first one of all.
    at: usize,
    /// Weights of whole steps.
    weights: usize,
}

impl Ahead {
    pub(super) fn of(sign_mantissa: &[u8], output: *mut u8, record: *const u8) -> Ahead {
        Ahead {
            sign_mantissa: sign_mantissa.as_ptr(),
            output,
            record,
            at: 0,
            weights: sign_mantissa.len().next_multiple_of(STEP_WEIGHTS),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn fetch_record(&mut self) {
        _mm_prefetch::<_MM_HINT_T1>(self.record.cast());
        self.record = self.record.wrapping_add(64);
    }

    /// Fetches what the next group's step needs.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fetch_step(&mut self) {
        let output = self.output.wrapping_add(2 * self.at);
        _mm_prefetch::<_MM_HINT_T1>(output.cast());
        _mm_prefetch::<_MM_HINT_T1>(output.wrapping_add(64).cast());
        _mm_prefetch::<_MM_HINT_T1>(self.sign_mantissa.wrapping_add(self.at).cast());
        self.at += STEP_WEIGHTS;
        if self.at >= self.weights {
            self.at = self.at - self.weights + GROUP_WEIGHTS;
        }
    }
}

/// `count` rounds, with lines to be fetched or without.
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
            ahead.fetch_record();
            for _ in 0..STEPS_AHEAD {
                ahead.fetch_step();
            }
        }
        let mut windows = [0; GROUP_LANES];
        for (window, bit) in windows.iter_mut().zip(bits) {
            let bit = one_by_one(bit);
            let start = buffer.as_ptr().wrapping_add(bit as usize / 8);
            // SAFETY: no lane gets further than BUFFER_BYTES - WINDOW_BYTES: see `LaneBuffer`.
            let bytes = unsafe { start.cast::<u64>().read_unaligned() };
            // The highest bit is a marker: where it has got to says how many bits are gone.
            *window = u64::from_le(bytes) >> (bit % 8) | 1 << 63;
        }
        for look_ups in TURNS {
            for (window, row) in windows.iter_mut().zip(&mut rows) {
                for _ in 0..look_ups {
                    // SAFETY: a row has at most as many symbols left as `assert`ed, and eight bytes more; it has as many as a
                    // look-up takes at least. The processor has what `kernels` has seen.
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

/// This number, which the compiler shall not put into a vector with its neighbours: they were stored one by one, and a load
/// of them all would wait until that is done.
#[inline(always)]
fn one_by_one(mut number: u64) -> u64 {
    // SAFETY: there is no instruction.
    unsafe {
        asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// Takes the codes that the next bits of a window are off it, and puts their exponents where `row` points, which moves on.
///
/// Six instructions, three of which wait for each other: the compiler makes nine of them.
///
/// # Safety
/// `row` can be written eight bytes from, and the processor has BMI1 and BMI2.
#[inline(always)]
unsafe fn look_up(runs: &[Run; 1 << RUN_BITS], window: &mut u64, row: &mut *mut u8) {
    // SAFETY: the index has `RUN_BITS` bits; the caller's promise.
    unsafe {
        asm!(
            "bzhi {run:r}, {window}, {index_bits}",
            "mov {run:r}, [{runs} + 8 * {run:r}]",
            "mov [{row}], {run:r}",
            "shrx {window}, {window}, {run:r}",
            "movzx {run:e}, {run:h}",
            "sub {row}, {run:r}",
            run = out(reg_abcd) _,
            window = inout(reg) *window,
            row = inout(reg) *row,
            runs = in(reg) runs.as_ptr(),
            index_bits = in(reg) RUN_BITS as u64,
            options(nostack),
        );
    }
}
