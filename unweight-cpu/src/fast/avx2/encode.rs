//! Packing codes with AVX2 and BMI2.
//!
//! ```text
//! 32 values = the 8 codes of 4 lanes in one step
//!
//!   pext( code 7 | .. | code 1 | code 0,  mask 7 | .. | mask 1 | mask 0 )  = 8 joined codes
//! ```
//!
//! `vpshufb` looks up 32 codes at a time by palette index, one byte each, and for each code a mask
//! with as many ones as it has bits. `pext` then joins the codes of one lane.
//!
//! On processors with a slow `pext`, lengths are looked up instead of masks, and shifts join the
//! codes of four lanes: see `together`.
//!
//! This kernel is only for palettes of 16 consecutive values. Trained tensors nearly always have
//! such a palette.

use std::arch::x86_64::*;

use unweight_format::layout::{LANES, PALETTE_ENTRIES, STEP_WEIGHTS};

use super::stream::{APPENDABLE_BITS, Stream, words};
use super::together::Together;
use crate::fast::encode_table::{EncodeTable, PATCHED};
use crate::fast::kernels::Ahead;
use crate::fast::lanes::{ROW_BYTES, Rows};
use crate::fast::portable;

/// Weights of four lanes in a step.
const BLOCK: usize = 32;

/// Codes, their lengths and marks by palette index, in both halves of a register.
struct Registers {
    base: __m256i,
    codes: __m256i,
    /// For `pext` a mask with as many ones as the code has bits, otherwise the length.
    lengths: __m256i,
    /// Entry for a value outside of the palette.
    placeholder_code: __m256i,
    placeholder_length: __m256i,
    /// `PATCHED` for a palette entry without a code.
    marks: __m256i,
}

impl Registers {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load<const PEXT: bool>(table: &EncodeTable, base: u8) -> Registers {
        let at = |entry: usize| usize::from(base) + entry;
        let length = |marked: u8| match (PEXT, marked & !PATCHED) {
            (true, length) => ((1u32 << length) - 1) as u8,
            (false, length) => length,
        };
        let outside = usize::from(base.wrapping_add(PALETTE_ENTRIES as u8));
        let (bits, lengths) = (table.bits(), table.lengths());
        Registers {
            base: _mm256_set1_epi8(base as i8),
            codes: twice(std::array::from_fn(|entry| bits[at(entry)])),
            lengths: twice(std::array::from_fn(|entry| length(lengths[at(entry)]))),
            placeholder_code: _mm256_set1_epi8(bits[outside] as i8),
            placeholder_length: _mm256_set1_epi8(length(lengths[outside]) as i8),
            marks: twice(std::array::from_fn(|entry| lengths[at(entry)] & PATCHED)),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn twice(bytes: [u8; PALETTE_ENTRIES]) -> __m256i {
    // SAFETY: 16 bytes are there.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Packs the codes of values of whole steps into the rows. Returns each lane's number of bits, and
/// appends the positions of values without a code. Prefetches two bytes of weights for each
/// value. Uses `pext` only if told to.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn pack<const PEXT: bool>(
    table: &EncodeTable,
    values: &[u8],
    ahead: Ahead,
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    let Some(base) = table.palette_base() else {
        return portable::encode::pack(table, values, rows, positions);
    };
    let table = Registers::load::<PEXT>(table, base);
    let (steps, _) = values.as_chunks::<STEP_WEIGHTS>();
    let mut ends = [0; LANES];
    let groups = rows.as_chunks_mut::<4>().0.iter_mut();
    for (group, (rows, ends)) in groups.zip(ends.as_chunks_mut().0).enumerate() {
        // Each step of each group prefetches one line, which is two bytes for each value.
        let ahead = ahead.weights.wrapping_add(64 * steps.len() * group);
        *ends = pack_lanes::<PEXT>(&table, steps, group, ahead, rows, positions);
    }
    ends
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn pack_lanes<const PEXT: bool>(
    table: &Registers,
    steps: &[[u8; STEP_WEIGHTS]],
    group: usize,
    ahead: *const u8,
    rows: &mut [[u8; ROW_BYTES]; 4],
    positions: &mut Vec<u16>,
) -> [u32; 4] {
    let mut streams = [Stream::default(); 4];
    for (number, step) in steps.iter().enumerate() {
        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64 * number).cast());
        let values: &[u8; BLOCK] = &step.as_chunks().0[group];
        // SAFETY: 32 bytes are there.
        let values = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
        let places = _mm256_sub_epi8(values, table.base);
        let last = _mm256_set1_epi8(PALETTE_ENTRIES as i8 - 1);
        let inside = _mm256_cmpeq_epi8(_mm256_min_epu8(places, last), places);
        let of = |entries, otherwise| {
            let found = _mm256_shuffle_epi8(entries, places);
            _mm256_blendv_epi8(otherwise, found, inside)
        };
        let codes = of(table.codes, table.placeholder_code);
        let lengths = of(table.lengths, table.placeholder_length);
        let marks = _mm256_shuffle_epi8(table.marks, places);
        let marks = _mm256_blendv_epi8(_mm256_set1_epi8(-1), marks, inside);
        let mut patched = _mm256_movemask_epi8(marks) as u32;
        while patched != 0 {
            let first = number * STEP_WEIGHTS + group * BLOCK;
            positions.push((first + patched.trailing_zeros() as usize) as u16);
            patched &= patched - 1;
        }
        match PEXT {
            true => append_by_pext(codes, lengths, &mut streams, rows),
            false => Together::of(codes, lengths).append(&mut streams, rows),
        }
    }
    streams.map(|stream| stream.bits())
}

/// Appends eight codes to each stream. Each mask in `masks` has as many ones as the codes have
/// bits.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn append_by_pext(
    codes: __m256i,
    masks: __m256i,
    streams: &mut [Stream; 4],
    rows: &mut [[u8; ROW_BYTES]; 4],
) {
    let (codes, masks) = (words(codes), words(masks));
    for lane in 0..4 {
        let (code, mask) = (codes[lane], masks[lane]);
        let (stream, row) = (&mut streams[lane], &mut rows[lane]);
        let length = mask.count_ones();
        if length <= APPENDABLE_BITS {
            stream.append(_pext_u64(code, mask), length, row);
        } else {
            let low = mask & 0xffff_ffff;
            stream.append(_pext_u64(code, low), low.count_ones(), row);
            stream.append(_pext_u64(code, mask - low), (mask - low).count_ones(), row);
        }
    }
}
