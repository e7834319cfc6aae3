//! Packing codes with NEON.
//!
//! ```text
//! 16 values = the 8 codes of 2 lanes in one step
//!
//!   code 7 .. code 0 (8 bits each) -> 4 x 16 bits -> 2 x 32 bits -> 1 x 64 bits, and its length
//! ```
//!
//! One look-up gives all 16 codes, one byte each. Codes are joined in pairs, and the result is
//! appended to 2 streams.
//!
//! This kernel is only for palettes of 16 consecutive values. Trained tensors nearly always have
//! such a palette.

use std::arch::aarch64::*;

use unweight_format::layout::{LANE_STEP_WEIGHTS, LANES, PALETTE_ENTRIES, STEP_WEIGHTS};

use super::{BLOCK, is_any_marked, load};
use crate::fast::encode_table::{EncodeTable, PATCHED};
use crate::fast::lanes::{ROW_BYTES, Rows};
use crate::fast::portable;
use crate::fast::portable::encode::{APPENDABLE_BITS, Codes, Stream, note_patches};

/// Lanes in flight, two to a vector. A code waits for the length of the previous code in its lane.
const IN_FLIGHT: usize = 4;
/// Lanes of a vector.
const VECTOR_LANES: usize = BLOCK / LANE_STEP_WEIGHTS;

/// Codes and lengths by palette index.
struct Registers {
    base: uint8x16_t,
    codes: uint8x16_t,
    /// Lengths; `PATCHED` is set for an entry without a code.
    lengths: uint8x16_t,
    /// Length for a value outside of the palette.
    placeholder_code: uint8x16_t,
    placeholder_length: uint8x16_t,
}

impl Registers {
    #[inline]
    #[target_feature(enable = "neon")]
    fn load(table: &EncodeTable, base: u8) -> Registers {
        let at = |entry: usize| usize::from(base) + entry;
        let outside = usize::from(base.wrapping_add(PALETTE_ENTRIES as u8));
        let (bits, lengths) = (table.bits(), table.lengths());
        Registers {
            base: vdupq_n_u8(base),
            codes: load(&std::array::from_fn(|entry| bits[at(entry)])),
            lengths: load(&std::array::from_fn(|entry| lengths[at(entry)])),
            placeholder_code: vdupq_n_u8(bits[outside]),
            placeholder_length: vdupq_n_u8(lengths[outside]),
        }
    }
}

/// Packs the codes of values of whole steps into the rows. Returns each lane's number of bits, and
/// appends the positions of values without a code.
#[target_feature(enable = "neon")]
pub(super) fn pack(
    table: &EncodeTable,
    values: &[u8],
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    let Some(base) = table.palette_base() else {
        return portable::encode::pack(table, values, rows, positions);
    };
    let registers = Registers::load(table, base);
    let (steps, _) = values.as_chunks::<STEP_WEIGHTS>();
    let mut ends = [0; LANES];
    let groups = rows.as_chunks_mut::<IN_FLIGHT>().0.iter_mut();
    for (group, (rows, ends)) in groups.zip(ends.as_chunks_mut().0).enumerate() {
        *ends = pack_lanes(table, &registers, steps, group, rows, positions);
    }
    ends
}

#[inline]
#[target_feature(enable = "neon")]
fn pack_lanes(
    table: &EncodeTable,
    registers: &Registers,
    steps: &[[u8; STEP_WEIGHTS]],
    group: usize,
    rows: &mut [[u8; ROW_BYTES]; IN_FLIGHT],
    positions: &mut Vec<u16>,
) -> [u32; IN_FLIGHT] {
    const GROUP_WEIGHTS: usize = IN_FLIGHT * LANE_STEP_WEIGHTS;
    let mut streams = [Stream::default(); IN_FLIGHT];
    for (number, step) in steps.iter().enumerate() {
        let weights: &[u8; GROUP_WEIGHTS] = &step.as_chunks().0[group];
        for vector in 0..IN_FLIGHT / VECTOR_LANES {
            let block: &[u8; BLOCK] = &weights.as_chunks().0[vector];
            let places = vsubq_u8(load(block), registers.base);
            // `tbx` leaves its first operand unchanged for indices of 16 or more.
            let codes = vqtbx1q_u8(registers.placeholder_code, registers.codes, places);
            let lengths = vqtbx1q_u8(registers.placeholder_length, registers.lengths, places);
            if is_any_marked(lengths) {
                let first = number * STEP_WEIGHTS + group * GROUP_WEIGHTS + vector * BLOCK;
                let (eights, _) = block.as_chunks();
                for (lane, eight) in eights.iter().enumerate() {
                    note_patches(table, eight, first + lane * LANE_STEP_WEIGHTS, positions);
                }
            }
            let codes = Together::of(codes, vbicq_u8(lengths, vdupq_n_u8(PATCHED)));
            for lane in 0..VECTOR_LANES {
                let whole = codes.whole(lane);
                let at = VECTOR_LANES * vector + lane;
                let (stream, row) = (&mut streams[at], &mut rows[at]);
                if whole.length <= APPENDABLE_BITS {
                    stream.append(whole, row);
                } else {
                    let [front, back] = codes.halves(lane);
                    stream.append(front, row);
                    stream.append(back, row);
                }
            }
        }
    }
    streams.map(Stream::length_bits)
}

/// The concatenated codes of a step for two lanes.
struct Together {
    /// Concatenated codes, four to an element, two elements for each lane.
    fours: uint32x4_t,
    four_lengths: uint32x4_t,
    /// Concatenated codes, eight to an element, one element for each lane.
    eights: uint64x2_t,
    eight_lengths: uint64x2_t,
}

impl Together {
    /// Concatenates 16 codes with their lengths.
    #[inline]
    #[target_feature(enable = "neon")]
    fn of(codes: uint8x16_t, lengths: uint8x16_t) -> Together {
        // `ushl` shifts each element by the lowest byte of the corresponding element. That byte is
        // the length of the code in the lower half, so the bytes above it do not matter.
        let codes = vreinterpretq_u16_u8(codes);
        let upper = vshlq_u16(vshrq_n_u16::<8>(codes), vreinterpretq_s16_u8(lengths));
        let pairs = vorrq_u16(vandq_u16(codes, vdupq_n_u16(0xff)), upper);
        let pair_lengths = vpaddlq_u8(lengths);

        let pairs = vreinterpretq_u32_u16(pairs);
        let upper = vshlq_u32(
            vshrq_n_u32::<16>(pairs),
            vreinterpretq_s32_u16(pair_lengths),
        );
        let fours = vorrq_u32(vandq_u32(pairs, vdupq_n_u32(0xffff)), upper);
        let four_lengths = vpaddlq_u16(pair_lengths);

        let whole = vreinterpretq_u64_u32(fours);
        let upper = vshlq_u64(
            vshrq_n_u64::<32>(whole),
            vreinterpretq_s64_u32(four_lengths),
        );
        let eights = vorrq_u64(vandq_u64(whole, vdupq_n_u64(0xffff_ffff)), upper);
        Together {
            fours,
            four_lengths,
            eights,
            eight_lengths: vpaddlq_u32(four_lengths),
        }
    }

    /// Appends the eight codes of a lane.
    #[inline]
    #[target_feature(enable = "neon")]
    fn whole(&self, lane: usize) -> Codes {
        let (mut bits, mut lengths) = ([0; 2], [0; 2]);
        // SAFETY: there is room for 16 bytes.
        unsafe { vst1q_u64(bits.as_mut_ptr(), self.eights) };
        // SAFETY: as above.
        unsafe { vst1q_u64(lengths.as_mut_ptr(), self.eight_lengths) };
        Codes {
            bits: bits[lane],
            length: lengths[lane] as u32,
        }
    }

    /// Appends the first four codes of a lane, then the others.
    #[inline]
    #[target_feature(enable = "neon")]
    fn halves(&self, lane: usize) -> [Codes; 2] {
        let (mut bits, mut lengths) = ([0; 4], [0; 4]);
        // SAFETY: there is room for 16 bytes.
        unsafe { vst1q_u32(bits.as_mut_ptr(), self.fours) };
        // SAFETY: as above.
        unsafe { vst1q_u32(lengths.as_mut_ptr(), self.four_lengths) };
        [2 * lane, 2 * lane + 1].map(|half| Codes {
            bits: bits[half].into(),
            length: lengths[half],
        })
    }
}
