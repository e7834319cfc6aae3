//! Decoding with AVX-512.
//!
//! ```text
//! 32 lanes = 4 vectors of 8 windows, one 64-bit element each.
//!
//!   window   bit 63                                     bit 0
//!            | 1 | ... the lane's next 57 bits or more ... |      the 1 is a marker: lzcnt(window) = bits consumed
//!
//! eight times, for each vector:   symbols = window.byte0 : symbols >> 8        (vpshrdq)
//!                                 window >>= length_of[window & 127]           (vpermi2b, vpsrlvq)
//! ```
//!
//! Seven bits settle a length: the two codes of a pair of eight bits differ in their last bit alone.
//! The eight bytes of `symbols` are then looked up all at once, and are a lane's eight exponents of this step.
//!
//! Eight codes of eight bits need 64 bits, of which a window holds only 57 for sure. A step in which some lane needs more than
//! that (one in thousands with trained weights) is done again in two halves, with a fresh window for each.

use std::arch::x86_64::*;

use unweight_format::Patches;
use unweight_format::layout::{LANES, STEP_WEIGHTS};

use super::emit::{Emit, Exponents, Weights};
use super::{Elements, load, prefetch};
use crate::fast::checked::Checksums;
use crate::fast::decode_table::DecodeTable;
use crate::fast::lanes::{BUFFER_BYTES, LaneBuffer, MOST_STEPS};
use crate::fast::output::Output;

/// Bits that a window holds whatever its first bit's place in its byte.
const WINDOW_BITS: i64 = 57;
/// Lines of the next record fetched in a step: those of 16 KB in a chunk of 128 steps.
const RECORD_LINES: usize = 2;
pub(super) const VECTORS: usize = LANES / 8;
/// One element for each lane.
pub(super) type Vectors = [__m512i; VECTORS];

/// Code lengths by 7 bits, in registers.
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
            // A mask that the compiler knows becomes a vector and an instruction more in the longest dependency.
            first_bytes: std::hint::black_box(0x0101_0101_0101_0101),
        }
    }

    /// The lengths of the codes that windows begin with.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn of(&self, windows: __m512i) -> __m512i {
        let [low, high] = self.table;
        _mm512_maskz_permutex2var_epi8(self.first_bytes, low, windows, high)
    }
}

/// 64 bits of each of eight lanes, from these bits of the buffer on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn windows(buffer: &[u8; BUFFER_BYTES], bits: __m512i) -> __m512i {
    let mut bytes = Elements([0; 8]);
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_storeu_si512(bytes.0.as_mut_ptr().cast(), _mm512_srli_epi64::<3>(bits)) };
    let at = |element: usize| {
        // Volatile, so that the numbers come out of memory: taking them out of the vector has one port, loads have many.
        // SAFETY: an element of a local array.
        let byte = unsafe { (&raw const bytes.0[element]).read_volatile() };
        // SAFETY: no lane gets further than BUFFER_BYTES - WINDOW_BYTES: see `LaneBuffer`.
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

/// This vector, made where this stands.
///
/// Otherwise the compiler puts off the symbols until it is known that a step need not be done in halves, and until then
/// keeps all windows, most of them in memory: some 20 stores of 64 bytes a step.
#[inline]
#[target_feature(enable = "avx512f")]
fn here(mut vector: __m512i) -> __m512i {
    // SAFETY: there is no instruction.
    unsafe {
        core::arch::asm!("/* {0} */", inout(zmm_reg) vector, options(pure, nomem, nostack, preserves_flags));
    }
    vector
}

/// Takes `COUNT` symbols off windows.
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

/// A step in two halves: its symbols, and the bits where the next one begins.
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

/// The next step's symbols. Moves `bits` on.
///
/// One for each `E` and `SHORT`, with one caller: such a function is always put in its place.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn step<E: Emit, const SHORT: bool>(
    lengths: &Lengths,
    buffer: &[u8; BUFFER_BYTES],
    bits: &mut Vectors,
) -> Vectors {
    // Not with `map`: the compiler does not always see through it, and then keeps vectors in memory.
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

/// Decodes the lanes of a chunk of so many weights, and gives the bit of the buffer where each lane's codes end.
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
    for first in (0..whole).step_by(STEP_WEIGHTS) {
        prefetch::<RECORD_LINES>(next_record);
        next_record = next_record.wrapping_add(64 * RECORD_LINES);
        let symbols = step::<E, false>(&lengths, buffer, &mut bits);
        // SAFETY: this function has the features.
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

/// Decodes lanes into weights, and gives the bit of the buffer where each lane's codes end.
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

/// The same, with patches and checksums.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn checked(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    sign_mantissa: &[u8],
    patches: &Patches<'_>,
    chunk_so_far: u32,
    output: &mut Output<'_>,
) -> ([u32; LANES], Checksums) {
    let emit = Weights::<true>::new(table, sign_mantissa, output, patches, chunk_so_far);
    let (ends, emit) = decode(table, lanes, sign_mantissa.len(), emit);
    // SAFETY: `decode` takes all steps of as many weights as there are sign-mantissa bytes.
    (ends, unsafe { emit.checksums() })
}

/// Decodes lanes into exponents, and gives the bit of the buffer where each lane's codes end.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn exponents(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let weights = output.len();
    decode(table, lanes, weights, Exponents::new(table, output)).0
}
