//! Decoding with AVX-512.
//!
//! ```text
//! 32 lanes = 4 vectors of 8 windows, one 64-bit element each.
//!
//!   window   bit 63                                     bit 0
//!            | 1 | ... the lane's next 57 bits or more ... | 1 is a marker: lzcnt(window) = used bits
//!
//! eight times, for each vector:   symbols = window.byte0 : symbols >> 8        (vpshrdq)
//!                                 window >>= length_of[window & 127]           (vpermi2b, vpsrlvq)
//! ```
//!
//! Seven bits determine a length, because the two codes of a pair of eight bits differ only in
//! their last bit. The eight bytes of `symbols` are then looked up at once. They become a lane's
//! eight values of this step.
//!
//! Eight codes of eight bits need 64 bits, but a window is only guaranteed to have 57. If a lane
//! needs more, the step is decoded again in two halves, with a fresh window for each. This happens
//! once in thousands of steps with trained weights.
//!
//! Where codes are short, two steps take their codes from the same windows.

use std::arch::x86_64::*;

use unweight_format::Patches;
use unweight_format::layout::{LANES, STEP_WEIGHTS};

use super::emit::{Bytes, Emit, VECTORS, Values, Vectors, Weights};
use super::{Elements, load, prefetch};
use crate::fast::checked::Checksums;
use crate::fast::decode_table::DecodeTable;
use crate::fast::lanes::{BUFFER_BYTES, LaneBuffer, MOST_STEPS};
use crate::fast::layout::Layout;
use crate::fast::output::Output;

/// Number of valid bits in a window for any bit offset in its first byte.
const WINDOW_BITS: i64 = 57;
/// Greatest average number of bits of two steps of the longest lane with which two steps share a
/// window. A lane then seldom needs more than `WINDOW_BITS`.
const PAIR_BITS: usize = 44;
/// Cache lines of the next record that are prefetched in a step. A chunk of 128 steps fetches 16
/// KB.
const RECORD_LINES: usize = 2;

/// Code lengths by 7 bits, held in registers.
#[derive(Clone, Copy)]
struct Lengths {
    table: [__m512i; 2],
    first_bytes: __mmask64,
}

impl Lengths {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(lengths: &[u8; 128]) -> Lengths {
        let (halves, _) = lengths.as_chunks();
        Lengths {
            table: [load(&halves[0]), load(&halves[1])],
            // If the compiler knew the mask, it would use a vector and one more instruction in the
            // longest dependency chain.
            first_bytes: std::hint::black_box(0x0101_0101_0101_0101),
        }
    }

    /// The lengths of the first codes in the windows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn of(&self, windows: __m512i) -> __m512i {
        let [low, high] = self.table;
        _mm512_maskz_permutex2var_epi8(self.first_bytes, low, windows, high)
    }
}

/// Loads 64 bits for each of eight lanes from these bit positions of the buffer on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn windows(buffer: &[u8; BUFFER_BYTES], bits: __m512i) -> __m512i {
    let mut bytes = Elements([0; 8]);
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_storeu_si512(bytes.0.as_mut_ptr().cast(), _mm512_srli_epi64::<3>(bits)) };
    let at = |element: usize| {
        // Volatile reads, so that the numbers come from memory. Extracting them from the vector has
        // one port, loads have several.
        // SAFETY: the index is within a local array.
        let byte = unsafe { (&raw const bytes.0[element]).read_volatile() };
        // SAFETY: no lane reads past BUFFER_BYTES - WINDOW_BYTES: see `LaneBuffer`.
        unsafe { buffer.as_ptr().add(byte as usize).cast::<f64>() }
    };
    let pair = |element: usize| {
        // SAFETY: eight bytes are there: see above.
        let low = unsafe { _mm_load_sd(at(element)) };
        // SAFETY: as above.
        _mm_castpd_si128(unsafe { _mm_loadh_pd(low, at(element + 1)) })
    };
    let low = _mm256_set_m128i(pair(2), pair(0));
    let high = _mm256_set_m128i(pair(6), pair(4));
    let whole = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
    let shifted = _mm512_srlv_epi64(whole, _mm512_and_si512(bits, _mm512_set1_epi64(7)));
    _mm512_or_si512(shifted, _mm512_set1_epi64(i64::MIN))
}

/// Optimization barrier: materializes the vector here.
///
/// Without it the compiler delays computing the symbols until it knows whether the step must be
/// decoded in halves. Until then it keeps all windows, most of them in memory, with some 20 stores
/// of 64 bytes for each step.
#[inline]
#[target_feature(enable = "avx512f")]
fn here(mut vector: __m512i) -> __m512i {
    // SAFETY: the assembly has no instruction.
    unsafe {
        core::arch::asm!("/* {0} */", inout(zmm_reg) vector, options(pure, nomem, nostack, preserves_flags));
    }
    vector
}

/// Takes `COUNT` symbols from the windows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
fn take<const COUNT: usize>(
    lengths: &Lengths,
    mut windows: Vectors,
    mut symbols: Vectors,
) -> (Vectors, Vectors) {
    for _ in 0..COUNT {
        for vector in 0..VECTORS {
            let window = windows[vector];
            symbols[vector] = here(_mm512_shrdi_epi64::<8>(symbols[vector], window));
            windows[vector] = here(_mm512_srlv_epi64(window, lengths.of(window)));
        }
    }
    (windows, symbols)
}

/// Decodes a step in two halves. Returns its symbols and the bit positions of the next step.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn step_in_halves(
    lengths: &Lengths,
    buffer: &[u8; BUFFER_BYTES],
    mut bits: Vectors,
) -> (Vectors, Vectors) {
    let mut symbols = [_mm512_setzero_si512(); VECTORS];
    for _ in 0..2 {
        let (left, more) = take::<4>(lengths, bits.map(|bits| windows(buffer, bits)), symbols);
        symbols = more;
        for (bits, window) in bits.iter_mut().zip(left) {
            *bits = _mm512_add_epi64(*bits, _mm512_lzcnt_epi64(window));
        }
    }
    (symbols, bits)
}

/// Returns the symbols of the next step, and advances `bits`.
///
/// There is one instance for each `E` and `SHORT`, each with a single caller, so that it is always
/// inlined.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn step<E: Emit, const SHORT: bool>(
    lengths: &Lengths,
    buffer: &[u8; BUFFER_BYTES],
    bits: &mut Vectors,
) -> Vectors {
    // `map` is not used: the compiler does not always see through it, and then keeps vectors in
    // memory.
    let [a, b, c, d] = *bits;
    let fresh = [
        windows(buffer, a),
        windows(buffer, b),
        windows(buffer, c),
        windows(buffer, d),
    ];
    let (left, symbols) = take::<8>(lengths, fresh, [_mm512_setzero_si512(); VECTORS]);
    let [e, f, g, h] = left;
    let (e, f) = (_mm512_lzcnt_epi64(e), _mm512_lzcnt_epi64(f));
    let (g, h) = (_mm512_lzcnt_epi64(g), _mm512_lzcnt_epi64(h));
    let most = _mm512_max_epu64(_mm512_max_epu64(e, f), _mm512_max_epu64(g, h));
    if _mm512_cmpgt_epu64_mask(most, _mm512_set1_epi64(WINDOW_BITS)) != 0 {
        let (symbols, after) = step_in_halves(lengths, buffer, *bits);
        *bits = after;
        return symbols;
    }
    let (a, b) = (_mm512_add_epi64(a, e), _mm512_add_epi64(b, f));
    let (c, d) = (_mm512_add_epi64(c, g), _mm512_add_epi64(d, h));
    *bits = [a, b, c, d];
    symbols
}

/// Returns the symbols of the next two steps, and advances `bits`. Both take their codes from the
/// same windows. If a lane needs more bits than a window has, both are decoded again in halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn two_steps(
    lengths: &Lengths,
    buffer: &[u8; BUFFER_BYTES],
    bits: &mut Vectors,
) -> (Vectors, Vectors) {
    let [a, b, c, d] = *bits;
    let fresh = [
        windows(buffer, a),
        windows(buffer, b),
        windows(buffer, c),
        windows(buffer, d),
    ];
    let (left, first) = take::<8>(lengths, fresh, [_mm512_setzero_si512(); VECTORS]);
    let (left, second) = take::<8>(lengths, left, [_mm512_setzero_si512(); VECTORS]);
    let [e, f, g, h] = left;
    let (e, f) = (_mm512_lzcnt_epi64(e), _mm512_lzcnt_epi64(f));
    let (g, h) = (_mm512_lzcnt_epi64(g), _mm512_lzcnt_epi64(h));
    let most = _mm512_max_epu64(_mm512_max_epu64(e, f), _mm512_max_epu64(g, h));
    if _mm512_cmpgt_epu64_mask(most, _mm512_set1_epi64(WINDOW_BITS)) != 0 {
        let (first, after) = step_in_halves(lengths, buffer, *bits);
        let (second, after) = step_in_halves(lengths, buffer, after);
        *bits = after;
        return (first, second);
    }
    let (a, b) = (_mm512_add_epi64(a, e), _mm512_add_epi64(b, f));
    let (c, d) = (_mm512_add_epi64(c, g), _mm512_add_epi64(d, h));
    *bits = [a, b, c, d];
    (first, second)
}

/// Decodes the lanes of a chunk of this many weights. Returns the bit position in the buffer at the
/// end of each lane's codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
fn decode<E: Emit>(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    weights: usize,
    mut emit: E,
) -> ([u32; LANES], E) {
    assert!(weights <= MOST_STEPS * STEP_WEIGHTS);
    let first_bits = lanes.first_bits().map(u64::from);
    let (eights, _) = first_bits.as_chunks::<8>();
    let mut bits: Vectors = [0, 1, 2, 3].map(|vector| {
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_loadu_si512(eights[vector].as_ptr().cast()) }
    });
    let lengths = Lengths::load(table.lengths());
    let buffer = lanes.bytes();
    let whole = weights / STEP_WEIGHTS * STEP_WEIGHTS;
    let mut next_record = lanes.behind();
    let steps = weights.div_ceil(STEP_WEIGHTS);
    let in_pairs = match 2 * lanes.longest_bits() <= PAIR_BITS * steps {
        true => whole / (2 * STEP_WEIGHTS) * 2 * STEP_WEIGHTS,
        false => 0,
    };
    for first in (0..in_pairs).step_by(2 * STEP_WEIGHTS) {
        prefetch::<{ 2 * RECORD_LINES }>(next_record);
        next_record = next_record.wrapping_add(2 * 64 * RECORD_LINES);
        let (one, two) = two_steps(&lengths, buffer, &mut bits);
        // SAFETY: this function has the target features.
        unsafe { emit.whole(first, one) };
        // SAFETY: as above.
        unsafe { emit.whole(first + STEP_WEIGHTS, two) };
    }
    for first in (in_pairs..whole).step_by(STEP_WEIGHTS) {
        prefetch::<RECORD_LINES>(next_record);
        next_record = next_record.wrapping_add(64 * RECORD_LINES);
        let symbols = step::<E, false>(&lengths, buffer, &mut bits);
        // SAFETY: this function has the target features.
        unsafe { emit.whole(first, symbols) };
    }
    if whole < weights {
        let symbols = step::<E, true>(&lengths, buffer, &mut bits);
        // SAFETY: as above.
        emit = unsafe { emit.short(whole, symbols) };
    }
    let mut end_bits = [0u64; LANES];
    for (bits, eight) in bits.into_iter().zip(end_bits.as_chunks_mut::<8>().0) {
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(eight.as_mut_ptr().cast(), bits) };
    }
    (end_bits.map(|bits| bits as u32), emit)
}

/// Decodes lanes into BF16 weights of which the exponent alone is coded. Returns the bit position
/// in the buffer at the end of each lane's codes.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn weights(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let patches = Patches::default();
    let emit = Weights::<false>::new(table, sign_mantissa, output, &patches, 0);
    decode(table, lanes, sign_mantissa.len(), emit).0
}

/// Same as `weights`, with patches and checksums.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn checked(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    sign_mantissa: &[u8],
    patches: &Patches<'_>,
    record_so_far: u32,
    output: &mut Output<'_>,
) -> ([u32; LANES], Checksums) {
    let emit = Weights::<true>::new(table, sign_mantissa, output, patches, record_so_far);
    let (ends, emit) = decode(table, lanes, sign_mantissa.len(), emit);
    // SAFETY: `decode` passes on all steps of as many weights as there are sign-mantissa bytes.
    (ends, unsafe { emit.checksums() })
}

/// Decodes lanes into weights of one byte with one coded field, with patches and checksums.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn bytes(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    layout: &Layout,
    plain: &[u8],
    patches: &Patches<'_>,
    record_so_far: u32,
    output: &mut Output<'_>,
) -> ([u32; LANES], Checksums) {
    let weights = output.len();
    let emit = Bytes::new(table, layout, plain, output, patches, record_so_far);
    let (ends, emit) = decode(table, lanes, weights, emit);
    // SAFETY: `decode` passes on all steps of the weights.
    (ends, unsafe { emit.checksums() })
}

/// Decodes lanes into values. Returns the bit position in the buffer at the end of each lane's
/// codes.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn values(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let weights = output.len();
    decode(table, lanes, weights, Values::new(table, output)).0
}
