//! Decoding with AVX-512.
//!
//! ```text
//! 32 lanes = 4 vectors of 8 windows, one 64-bit element each. Element order within a vector: lanes 0 4 1 5 2 6 3 7,
//! so that a byte-wise unpack of the result with its sign-mantissa bytes gives 32 weights in their order.
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

use unweight_format::layout::{LANES, STEP_WEIGHTS};

use super::super::decode_table::DecodeTable;
use super::super::lanes::{BUFFER_BYTES, LaneBuffer, MOST_STEPS};
use super::super::output::Output;
use super::Elements;

/// Bits that a window holds whatever its first bit's place in its byte.
const WINDOW_BITS: i64 = 57;
const AHEAD: usize = 4096;
const VECTORS: usize = LANES / 8;
/// One element for each lane.
type Vectors = [__m512i; VECTORS];
/// Lane of each element of a vector.
const ELEMENT_LANES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// What a vector of symbols becomes.
trait Emit {
    /// Bytes for each weight.
    const BYTES: usize;
    /// Writes 64 weights.
    ///
    /// # Safety
    /// 64 bytes at `sign_mantissa` can be read, 64 · `BYTES` at `output` written.
    unsafe fn emit(exponents: __m512i, sign_mantissa: *const u8, output: *mut u8);
}

/// Exponents joined with their sign-mantissa bytes.
struct Weights;
/// Exponents as bytes.
struct Exponents;

impl Emit for Weights {
    const BYTES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn emit(exponents: __m512i, sign_mantissa: *const u8, output: *mut u8) {
        // SAFETY: the caller's promise.
        let sign_mantissa = unsafe { _mm512_loadu_si512(sign_mantissa.cast()) };
        let sign_mantissa =
            _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), sign_mantissa);
        let (low, high) = join(exponents, sign_mantissa);
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(output.cast(), _mm512_unpacklo_epi8(low, high)) };
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(output.add(64).cast(), _mm512_unpackhi_epi8(low, high)) };
    }
}

impl Emit for Exponents {
    const BYTES: usize = 1;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn emit(exponents: __m512i, _: *const u8, output: *mut u8) {
        let in_order =
            _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), exponents);
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(output.cast(), in_order) };
    }
}

/// The low and the high bytes of 64 weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn join(exponents: __m512i, sign_mantissa: __m512i) -> (__m512i, __m512i) {
    // Shifts of 16-bit elements carry bits of the neighbouring byte along; the selections drop them.
    let last_bit = _mm512_slli_epi16::<7>(exponents);
    let others = _mm512_srli_epi16::<1>(exponents);
    let sign = _mm512_set1_epi8(i8::MIN);
    // 0xCA: a ? b : c, bit by bit.
    let low = _mm512_ternarylogic_epi64::<0xCA>(sign, last_bit, sign_mantissa);
    let high = _mm512_ternarylogic_epi64::<0xCA>(sign, sign_mantissa, others);
    (low, high)
}

/// A code's tables and some constants, in registers.
#[derive(Clone, Copy)]
struct Registers {
    lengths: [__m512i; 2],
    exponents: [__m512i; 4],
    first_bytes: __mmask64,
}

impl Registers {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(table: &DecodeTable) -> Registers {
        let vector = |bytes: &[u8], at: usize| {
            let bytes: &[u8; 64] = bytes[64 * at..].first_chunk().expect("64 bytes are left");
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
        };
        let (lengths, exponents) = (table.lengths(), table.exponents());
        Registers {
            lengths: [vector(lengths, 0), vector(lengths, 1)],
            exponents: [0, 1, 2, 3].map(|at| vector(exponents, at)),
            // A mask that the compiler knows becomes a vector and an instruction more in the longest dependency.
            first_bytes: std::hint::black_box(0x0101_0101_0101_0101),
        }
    }

    /// The lengths of the codes that windows begin with.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn lengths(&self, windows: __m512i) -> __m512i {
        let [low, high] = self.lengths;
        _mm512_maskz_permutex2var_epi8(self.first_bytes, low, windows, high)
    }

    /// The exponents whose codes these bytes begin with.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn exponents(&self, symbols: __m512i) -> __m512i {
        let [a, b, c, d] = self.exponents;
        let low = _mm512_permutex2var_epi8(a, symbols, b);
        let high = _mm512_permutex2var_epi8(c, symbols, d);
        _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(symbols), high)
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
        unsafe {
            buffer
                .as_ptr()
                .add(byte as usize)
                .cast::<i64>()
                .read_unaligned()
        }
    };
    let pair = |element: usize| _mm_set_epi64x(at(element + 1), at(element));
    let low = _mm256_set_m128i(pair(2), pair(0));
    let high = _mm256_set_m128i(pair(6), pair(4));
    let whole = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
    let shifted = _mm512_srlv_epi64(whole, _mm512_and_si512(bits, _mm512_set1_epi64(7)));
    _mm512_or_si512(shifted, _mm512_set1_epi64(i64::MIN))
}

/// Takes `COUNT` symbols off windows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
fn take<const COUNT: usize>(
    table: &Registers,
    mut windows: Vectors,
    mut symbols: Vectors,
) -> (Vectors, Vectors) {
    for _ in 0..COUNT {
        for vector in 0..VECTORS {
            let window = windows[vector];
            symbols[vector] = _mm512_shrdi_epi64::<8>(symbols[vector], window);
            windows[vector] = _mm512_srlv_epi64(window, table.lengths(window));
        }
    }
    (windows, symbols)
}

/// A step in two halves: its symbols, and the bits where the next one begins.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn step_in_halves(
    table: &Registers,
    buffer: &[u8; BUFFER_BYTES],
    mut bits: Vectors,
) -> (Vectors, Vectors) {
    let mut symbols = [_mm512_setzero_si512(); VECTORS];
    for _ in 0..2 {
        let (left, more) = take::<4>(table, bits.map(|bits| windows(buffer, bits)), symbols);
        symbols = more;
        for (bits, window) in bits.iter_mut().zip(left) {
            *bits = _mm512_add_epi64(*bits, _mm512_lzcnt_epi64(window));
        }
    }
    (symbols, bits)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn decode<E: Emit>(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    weights: usize,
    sign_mantissa: Option<&[u8]>,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    assert!(weights <= MOST_STEPS * STEP_WEIGHTS);
    assert_eq!(output.len(), weights * E::BYTES);
    assert!(sign_mantissa.is_none_or(|bytes| bytes.len() == weights));
    let first_bits = lanes.first_bits();
    let mut bits: Vectors = [0, 1, 2, 3].map(|vector| {
        let lanes = ELEMENT_LANES.map(|lane| i64::from(first_bits[8 * vector + lane]));
        let [a, b, c, d, e, f, g, h] = lanes;
        _mm512_setr_epi64(a, b, c, d, e, f, g, h)
    });
    let table = Registers::load(table);
    let buffer = lanes.bytes();

    // A short last step reads and writes these.
    let full = weights / STEP_WEIGHTS * STEP_WEIGHTS;
    let mut last_sign_mantissa = [0; STEP_WEIGHTS];
    let mut last_output = [0; 2 * STEP_WEIGHTS];
    if let Some(bytes) = sign_mantissa {
        last_sign_mantissa[..weights - full].copy_from_slice(&bytes[full..]);
    }
    for first in (0..weights).step_by(STEP_WEIGHTS) {
        // Not with `map`: the compiler does not always see through it, and then keeps vectors in memory.
        let [a, b, c, d] = bits;
        let fresh = [
            windows(buffer, a),
            windows(buffer, b),
            windows(buffer, c),
            windows(buffer, d),
        ];
        let (left, mut symbols) = take::<8>(&table, fresh, [_mm512_setzero_si512(); VECTORS]);
        let [a, b, c, d] = left;
        let (a, b) = (_mm512_lzcnt_epi64(a), _mm512_lzcnt_epi64(b));
        let (c, d) = (_mm512_lzcnt_epi64(c), _mm512_lzcnt_epi64(d));
        let most = _mm512_max_epu64(_mm512_max_epu64(a, b), _mm512_max_epu64(c, d));
        if _mm512_cmpgt_epu64_mask(most, _mm512_set1_epi64(WINDOW_BITS)) == 0 {
            let [e, f, g, h] = bits;
            let (a, b) = (_mm512_add_epi64(a, e), _mm512_add_epi64(b, f));
            let (c, d) = (_mm512_add_epi64(c, g), _mm512_add_epi64(d, h));
            bits = [a, b, c, d];
        } else {
            (symbols, bits) = step_in_halves(&table, buffer, bits);
        }

        let (from, to) = if first < full {
            let from = sign_mantissa.map_or(std::ptr::null(), |bytes| bytes.as_ptr());
            // SAFETY: fewer bytes than the output has.
            (from.wrapping_add(first), unsafe {
                output.as_mut_ptr().add(first * E::BYTES)
            })
        } else {
            (last_sign_mantissa.as_ptr(), last_output.as_mut_ptr())
        };
        for line in 0..STEP_WEIGHTS * E::BYTES / 64 {
            _mm_prefetch::<_MM_HINT_ET0>(to.wrapping_add(AHEAD + 64 * line).cast());
        }
        for (vector, symbols) in symbols.into_iter().enumerate() {
            let from = from.wrapping_add(64 * vector);
            // SAFETY: a whole step is left in what `from` (unless nobody reads it) and `to` point into.
            unsafe {
                E::emit(
                    table.exponents(symbols),
                    from,
                    to.add(64 * vector * E::BYTES),
                )
            };
        }
    }
    output.put_slice(full * E::BYTES, &last_output[..(weights - full) * E::BYTES]);

    let mut end_bits = [0; LANES];
    for (vector, bits) in bits.into_iter().enumerate() {
        let mut elements = [0u64; 8];
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(elements.as_mut_ptr().cast(), bits) };
        for (bit, lane) in elements.into_iter().zip(ELEMENT_LANES) {
            end_bits[8 * vector + lane] = bit as u32;
        }
    }
    end_bits
}

/// Decodes lanes into weights, and gives the bit of the buffer where each lane's codes end.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
pub(super) fn weights(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
) -> [u32; LANES] {
    decode::<Weights>(
        table,
        lanes,
        sign_mantissa.len(),
        Some(sign_mantissa),
        output,
    )
}

/// Decodes lanes into exponents, and gives the bit of the buffer where each lane's codes end.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
pub(super) fn exponents(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    decode::<Exponents>(table, lanes, output.len(), None, output)
}
