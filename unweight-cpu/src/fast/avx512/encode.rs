//! Encoding with AVX-512.
//!
//! ```text
//! 64 values = the 8 codes of 8 lanes in one step
//!
//!   code 7 .. code 0 (8 bits each) -> 4 x 16 bits -> 2 x 32 bits -> 1 x 64 bits, and its length
//! ```
//!
//! One look-up gives all 64 codes, one byte each. Codes are joined in pairs, and the result is
//! appended to 8 streams. A stream has a pending byte of 0 to 7 bits, and writes 8 bytes at a time
//! at its end.

use std::arch::x86_64::*;

use unweight_format::layout::{LANES, STEP_WEIGHTS};

use super::checksum::Folded;
use super::{Elements, Table, load, prefetch};
use crate::fast::encode_table::{EncodeTable, PATCHED};
use crate::fast::kernels::Ahead;
use crate::fast::lanes::{ROW_BYTES, Rows};
use crate::fast::portable;

const BLOCK: usize = 64;
const VECTORS: usize = LANES / 8;
/// Greatest number of bits in one append. Fewer than 8 bits are pending.
const APPENDABLE_BITS: i64 = 56;

/// Splits little-endian BF16 weights into sign-mantissa bytes and exponents.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
pub(super) fn split(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) {
    split_into::<false>(weights, sign_mantissa, exponents);
}

/// Splits little-endian BF16 weights and returns their CRC-32.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
pub(super) fn split_checked(weights: &[u8], sign_mantissa: &mut [u8], exponents: &mut [u8]) -> u32 {
    split_into::<true>(weights, sign_mantissa, exponents)
}

/// Splits little-endian BF16 weights, and returns their CRC-32 if `CHECKED`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
fn split_into<const CHECKED: bool>(
    weights: &[u8],
    sign_mantissa: &mut [u8],
    exponents: &mut [u8],
) -> u32 {
    assert_eq!(weights.len(), 2 * sign_mantissa.len());
    assert_eq!(exponents.len(), sign_mantissa.len());
    let even = _mm512_set_epi64(
        0x7e7c_7a78_7674_7270,
        0x6e6c_6a68_6664_6260,
        0x5e5c_5a58_5654_5250,
        0x4e4c_4a48_4644_4240,
        0x3e3c_3a38_3634_3230,
        0x2e2c_2a28_2624_2220,
        0x1e1c_1a18_1614_1210,
        0x0e0c_0a08_0604_0200,
    );
    let odd = _mm512_or_si512(even, _mm512_set1_epi8(1));
    let (blocks, rest) = weights.as_chunks::<{ 2 * BLOCK }>();
    let (sm_blocks, sm_rest) = sign_mantissa.as_chunks_mut::<BLOCK>();
    let (exponent_blocks, exponent_rest) = exponents.as_chunks_mut::<BLOCK>();
    let mut checksum = Folded::<2>::behind(0);
    for ((block, sign_mantissa), exponents) in blocks.iter().zip(sm_blocks).zip(exponent_blocks) {
        let (halves, _) = block.as_chunks();
        let (first, second) = (load(&halves[0]), load(&halves[1]));
        if CHECKED {
            checksum.add(0, first);
            checksum.add(1, second);
        }
        let low = _mm512_permutex2var_epi8(first, even, second);
        let high = _mm512_permutex2var_epi8(first, odd, second);
        // 0xCA: a ? b : c, bit by bit.
        let sign = _mm512_set1_epi8(i8::MIN);
        let joined = _mm512_ternarylogic_epi64::<0xCA>(sign, high, low);
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(sign_mantissa.as_mut_ptr().cast(), joined) };
        // The exponent's lowest bit is the highest bit of the weight's low byte.
        let last = _mm512_and_si512(_mm512_srli_epi16::<7>(low), _mm512_set1_epi8(1));
        let others = _mm512_add_epi8(high, high);
        // SAFETY: as above.
        unsafe {
            _mm512_storeu_si512(exponents.as_mut_ptr().cast(), _mm512_or_si512(others, last))
        };
    }
    portable::encode::split(rest, sm_rest, exponent_rest);
    if !CHECKED {
        return 0;
    }
    let mut hasher = crc32fast::Hasher::new_with_initial(checksum.finish());
    hasher.update(rest);
    hasher.finalize()
}

/// Streams of eight lanes.
#[derive(Clone, Copy)]
struct Streams {
    /// The offset in the rows of each stream's next byte.
    at: __m512i,
    pending: __m512i,
    pending_bits: __m512i,
}

impl Streams {
    /// Appends codes of at most `APPENDABLE_BITS` bits.
    ///
    /// # Safety
    /// The caller must be allowed to write eight bytes at each offset `at` of the rows.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn append(&mut self, codes: __m512i, lengths: __m512i, rows: *mut u8) {
        let bytes = _mm512_or_si512(self.pending, _mm512_sllv_epi64(codes, self.pending_bits));
        let (mut places, mut contents) = (Elements([0; 8]), Elements([0; 8]));
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(places.0.as_mut_ptr().cast(), self.at) };
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(contents.0.as_mut_ptr().cast(), bytes) };
        for element in 0..8 {
            // Volatile reads, so that both values are loaded from memory and not extracted from the
            // vectors one by one.
            // SAFETY: the index is within a local array.
            let place = unsafe { (&raw const places.0[element]).read_volatile() } as usize;
            // SAFETY: as above.
            let content = unsafe { (&raw const contents.0[element]).read_volatile() };
            // SAFETY: the caller guarantees eight writable bytes.
            unsafe { rows.add(place).cast::<u64>().write_unaligned(content) };
        }
        let bits = _mm512_add_epi64(self.pending_bits, lengths);
        self.at = _mm512_add_epi64(self.at, _mm512_srli_epi64::<3>(bits));
        let seven = _mm512_set1_epi64(7);
        self.pending = _mm512_srlv_epi64(bytes, _mm512_andnot_si512(seven, bits));
        self.pending_bits = _mm512_and_si512(bits, seven);
    }
}

/// Packs the codes of values of whole steps into the rows. Returns each lane's number of bits, and
/// appends the positions of values without a code. Prefetches two bytes of weights and one of the
/// plain plane for each value. Without the latter, splitting the next chunk takes twice as long:
/// its stores wait for the memory (a Xeon with AMX, 19,400 and 8,900 cycles a chunk).
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn pack(
    table: &EncodeTable,
    values: &[u8],
    ahead: Ahead,
    rows: &mut Rows,
    positions: &mut Vec<u16>,
) -> [u32; LANES] {
    let (codes, lengths) = (Table::load(table.bits()), Table::load(table.lengths()));
    let (steps, _) = values.as_chunks::<STEP_WEIGHTS>();
    // A step takes at most 8 bytes of a row, and the last step's write stays within the row.
    assert!(8 * steps.len() + 8 <= ROW_BYTES);
    let rows = rows.as_flattened_mut().as_mut_ptr();
    let first_lane = [0, 1, 2, 3].map(|vector| {
        let lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
        let lanes = _mm512_add_epi64(lanes, _mm512_set1_epi64(8 * vector));
        first_bytes_of(lanes)
    });
    let mut streams: [Streams; VECTORS] = first_lane.map(|at| Streams {
        at,
        pending: _mm512_setzero_si512(),
        pending_bits: _mm512_setzero_si512(),
    });
    for (number, step) in steps.iter().enumerate() {
        let done = STEP_WEIGHTS * number;
        prefetch::<{ 2 * STEP_WEIGHTS / 64 }>(ahead.weights.wrapping_add(2 * done));
        prefetch::<{ STEP_WEIGHTS / 64 }>(ahead.plain.wrapping_add(done));
        let (blocks, _) = step.as_chunks::<BLOCK>();
        for (vector, streams) in streams.iter_mut().enumerate() {
            let values = load(&blocks[vector]);
            let lengths = lengths.look_up(values);
            let patched = _mm512_movepi8_mask(lengths);
            if patched != 0 {
                note_patches(patched, number * STEP_WEIGHTS + vector * BLOCK, positions);
            }
            let lengths = _mm512_andnot_si512(_mm512_set1_epi8(PATCHED as i8), lengths);
            let (codes, lengths) = pair_up(codes.look_up(values), lengths);
            let low = _mm512_set1_epi64(0xffff_ffff);
            let halves = [codes, lengths]
                .map(|pair| [_mm512_and_si512(pair, low), _mm512_srli_epi64::<32>(pair)]);
            let [[first, second], [first_length, second_length]] = halves;
            let length = _mm512_add_epi64(first_length, second_length);
            let too_many = _mm512_cmpgt_epi64_mask(length, _mm512_set1_epi64(APPENDABLE_BITS));
            if too_many == 0 {
                let whole = _mm512_or_si512(first, _mm512_sllv_epi64(second, first_length));
                // SAFETY: a row has at most 8 · `number` + 7 bytes before the last of `number` + 1
                // steps, and it has room for 8 more: the `assert`, and
                // `a_chunk_of_the_longest_codes_fills_its_lanes_and_no_more`.
                unsafe { streams.append(whole, length, rows) };
            } else {
                // SAFETY: as above.
                unsafe { streams.append(first, first_length, rows) };
                // SAFETY: as above: half a step is at most 4 bytes.
                unsafe { streams.append(second, second_length, rows) };
            }
        }
    }
    let mut ends = [0; LANES];
    for (vector, (streams, first)) in streams.into_iter().zip(first_lane).enumerate() {
        let bytes = _mm512_sub_epi64(streams.at, first);
        let bits = _mm512_add_epi64(_mm512_slli_epi64::<3>(bytes), streams.pending_bits);
        let mut elements = [0u64; 8];
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(elements.as_mut_ptr().cast(), bits) };
        ends[8 * vector..8 * vector + 8].copy_from_slice(&elements.map(|bits| bits as u32));
    }
    ends
}

/// The first byte of these rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn first_bytes_of(lanes: __m512i) -> __m512i {
    _mm512_mul_epu32(lanes, _mm512_set1_epi64(ROW_BYTES as i64))
}

/// Concatenates the eight codes of each lane into two elements of 32 bits, with their lengths.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pair_up(codes: __m512i, lengths: __m512i) -> (__m512i, __m512i) {
    let low = _mm512_set1_epi16(0xff);
    let first_length = _mm512_and_si512(lengths, low);
    let second = _mm512_sllv_epi16(_mm512_srli_epi16::<8>(codes), first_length);
    let codes = _mm512_or_si512(_mm512_and_si512(codes, low), second);
    let lengths = _mm512_add_epi16(first_length, _mm512_srli_epi16::<8>(lengths));

    let low = _mm512_set1_epi32(0xffff);
    let first_length = _mm512_and_si512(lengths, low);
    let second = _mm512_sllv_epi32(_mm512_srli_epi32::<16>(codes), first_length);
    let codes = _mm512_or_si512(_mm512_and_si512(codes, low), second);
    let lengths = _mm512_add_epi32(first_length, _mm512_srli_epi32::<16>(lengths));
    (codes, lengths)
}

#[cold]
fn note_patches(mut patched: u64, first: usize, positions: &mut Vec<u16>) {
    while patched != 0 {
        positions.push((first + patched.trailing_zeros() as usize) as u16);
        patched &= patched - 1;
    }
}

/// Writes palette indices of values, two to a byte. `indices` maps values to indices. Appends the
/// positions of values whose index is marked.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn index(indices: &[u8; 256], values: &[u8], body: &mut [u8], positions: &mut Vec<u16>) {
    let table = Table::load(indices);
    let (blocks, _) = values.as_chunks::<BLOCK>();
    let (outputs, _) = body.as_chunks_mut::<{ BLOCK / 2 }>();
    for (number, (block, output)) in blocks.iter().zip(outputs).enumerate() {
        let found = table.look_up(load(block));
        let patched = _mm512_movepi8_mask(found);
        if patched != 0 {
            note_patches(patched, number * BLOCK, positions);
        }
        let found = _mm512_and_si512(found, _mm512_set1_epi8(15));
        // 0x0b0a -> 0x..ba
        let pairs = _mm512_or_si512(found, _mm512_srli_epi16::<4>(found));
        // SAFETY: 32 bytes are there.
        unsafe { _mm256_storeu_si256(output.as_mut_ptr().cast(), _mm512_cvtepi16_epi8(pairs)) };
    }
}
