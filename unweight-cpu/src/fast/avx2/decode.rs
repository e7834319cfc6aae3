//! The inner loop of decoding for x86-64: that of the portable path without its checks, which are made once for many rounds,
//! and with the output's cache lines on their way while the lanes are decoded.

use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};

use unweight_format::layout::LANE_STEP_WEIGHTS;

use crate::fast::decode_table::{RUN_BITS, RUN_SYMBOLS, Run};
use crate::fast::lanes::{BUFFER_BYTES, MOST_STEPS};
use crate::fast::portable::decode::{Group, IN_FLIGHT, LOOK_UPS};

/// Lines of 64 bytes fetched in a round: the 8 groups of a chunk need some 450 rounds, its output is 1024 lines.
const LINES: usize = 3;

/// `count` rounds. Moves `ahead`, which is where output is to be fetched, on; where it points does not matter otherwise.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn rounds(
    count: usize,
    runs: &[Run; 1 << RUN_BITS],
    buffer: &[u8; BUFFER_BYTES],
    group: &mut Group<'_>,
    ahead: &mut *mut u8,
) {
    let symbols = count * LOOK_UPS * RUN_SYMBOLS;
    let longest = MOST_STEPS * LANE_STEP_WEIGHTS;
    assert!(group.done.iter().all(|&done| done + symbols <= longest));
    let mut rows: [*mut u8; IN_FLIGHT] =
        std::array::from_fn(|lane| group.rows[lane][group.done[lane]..].as_mut_ptr());
    let starts = rows;
    let mut bits = group.bits;
    for _ in 0..count {
        for line in 0..LINES {
            _mm_prefetch::<_MM_HINT_ET0>(ahead.wrapping_add(64 * line).cast());
        }
        *ahead = ahead.wrapping_add(64 * LINES);
        let mut windows = bits.map(|bit| {
            let start = buffer.as_ptr().wrapping_add(bit as usize / 8);
            // SAFETY: no lane gets further than BUFFER_BYTES - WINDOW_BYTES: see `LaneBuffer`.
            let window = unsafe { start.cast::<u64>().read_unaligned() };
            // The highest bit is a marker: where it has got to says how many bits are gone.
            u64::from_le(window) >> (bit % 8) | 1 << 63
        });
        for _ in 0..LOOK_UPS {
            for lane in 0..IN_FLIGHT {
                let run = runs[windows[lane] as usize % (1 << RUN_BITS)];
                // SAFETY: before the last of `count` rounds a row has `longest` - 7 symbols at most, and `ROW_BYTES` is `longest` + 8.
                unsafe { rows[lane].cast::<[u8; 8]>().write_unaligned(run.bytes()) };
                rows[lane] = rows[lane].wrapping_add(run.symbols());
                windows[lane] >>= run.bits();
            }
        }
        for (bit, window) in bits.iter_mut().zip(windows) {
            *bit += window.leading_zeros();
        }
    }
    for lane in 0..IN_FLIGHT {
        group.done[lane] += rows[lane] as usize - starts[lane] as usize;
    }
    group.bits = bits;
}
