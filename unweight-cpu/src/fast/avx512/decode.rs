//! Decoding with AVX-512.
//!
//! ```text
//! 32 lanes = 2 groups of 16 lanes, one 32-bit element each. Each group has the next 128 bits of
//! its lanes in 4 vectors.
//!
//!   vector 3 | vector 2 | vector 1 | vector 0     an element of each: the next bits of a lane
//!                                  | 1 | ... |    vector 0 with a marker in bit 31: `next`
//!
//! four times:   symbols = next.byte0 : symbols >> 8                                  (vpshrdd)
//!               next >>= length_of[next & 127]                            (vpermi2b, vpshrdvd)
//!
//! then:         the leading zeros of `next` are the used bits, by which the four vectors move
//! ```
//!
//! Seven bits determine a length, because the two codes of a pair of eight bits differ only in
//! their last bit. The symbols are then looked up, 64 at a time. Two times four symbols are a
//! lane's eight values of a step.
//!
//! The windows of 128 bits are loaded once for several steps, as many as a lane's codes usually
//! leave room for. If a lane needs more bits, or four codes have 32 bits, which leave no marker, the
//! step is decoded again from fresh windows, two codes at a time. This happens once in thousands of
//! steps with trained weights.

use std::arch::x86_64::*;

use unweight_format::Patches;
use unweight_format::layout::{LANES, STEP_WEIGHTS};

use super::emit::{Emit, Joined, Values, Vectors, Weights};
use super::{load, prefetch};
use crate::fast::checked::Checksums;
use crate::fast::decode_table::DecodeTable;
use crate::fast::kernels::Parts;
use crate::fast::lanes::{BUFFER_BYTES, LaneBuffer, MOST_STEPS};
use crate::fast::output::Output;
use crate::fast::plain_bytes::{PlainBytes, STEP_BYTES};

/// Groups of lanes.
const GROUPS: usize = LANES / 16;
/// A vector for each group, with an element of 32 bits for each lane.
type Groups = [__m512i; GROUPS];
/// Greatest average number of bits that the longest lane uses of a window. A lane then seldom needs
/// more than 121, which a window has for any bit offset in its first byte.
const WINDOW_BITS: usize = 96;
/// The most steps that share windows.
const MOST_SHARING: usize = 8;
/// Cache lines of the next record that are prefetched in a step. A chunk of 128 steps fetches 16
/// KB.
const RECORD_LINES: usize = 2;

/// Code lengths by 7 bits, held in registers.
#[derive(Clone, Copy)]
struct Lengths([__m512i; 2]);

impl Lengths {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(lengths: &[u8; 128]) -> Lengths {
        let (halves, _) = lengths.as_chunks();
        Lengths([load(&halves[0]), load(&halves[1])])
    }

    /// The lengths of the first codes of the elements, in their lowest bytes. The other bytes are
    /// not lengths.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn of(&self, next: __m512i) -> __m512i {
        let [low, high] = self.0;
        _mm512_permutex2var_epi8(low, next, high)
    }
}

/// The elements of a group's vectors in memory. They are aligned because a store across two cache
/// lines does not forward to later loads.
#[repr(align(64))]
struct Elements([u32; 16]);

/// The next bits of the lanes of a group: element *i* of vector *j* has bits 32 *j* to 32 *j* + 31
/// of lane *i*.
#[derive(Clone, Copy)]
struct Window([__m512i; 4]);

impl Window {
    /// Loads 128 bits for each lane from the bytes on that have these bit positions. Those in front
    /// of the bit positions are dropped, and zeros are behind.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
    fn load(buffer: &[u8; BUFFER_BYTES], bits: __m512i) -> Window {
        let mut bytes = Elements([0; 16]);
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(bytes.0.as_mut_ptr().cast(), _mm512_srli_epi32::<3>(bits)) };
        let of_lane = |element: usize| {
            // Volatile reads, so that the numbers come from memory. Extracting them from the vector
            // has one port, loads have several.
            // SAFETY: the index is within a local array.
            let byte = unsafe { (&raw const bytes.0[element]).read_volatile() };
            // SAFETY: no lane reads past BUFFER_BYTES - WINDOW_BYTES: see `LaneBuffer` and
            // `every_code_has_runs_within_bounds`.
            unsafe { _mm_loadu_si128(buffer.as_ptr().add(byte as usize).cast()) }
        };
        // Lanes number *first*, *first* + 4, *first* + 8 and *first* + 12.
        let four_lanes = |first: usize| {
            let vector = _mm512_castsi128_si512(of_lane(first));
            let vector = _mm512_inserti32x4::<1>(vector, of_lane(first + 4));
            let vector = _mm512_inserti32x4::<2>(vector, of_lane(first + 8));
            _mm512_inserti32x4::<3>(vector, of_lane(first + 12))
        };
        let [a, b, c, d] = [four_lanes(0), four_lanes(1), four_lanes(2), four_lanes(3)];
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        Window([
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ])
        .after(_mm512_and_si512(bits, _mm512_set1_epi32(7)))
    }

    /// The window after so many bits, at most 31.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi2")]
    fn after(self, bits: __m512i) -> Window {
        let [a, b, c, d] = self.0;
        Window([
            _mm512_shrdv_epi32(a, b, bits),
            _mm512_shrdv_epi32(b, c, bits),
            _mm512_shrdv_epi32(c, d, bits),
            _mm512_shrdv_epi32(d, _mm512_setzero_si512(), bits),
        ])
    }
}

/// Optimization barrier: materializes the vector here.
///
/// Without it the compiler delays computing the symbols until it knows whether the step must be
/// decoded again, and keeps what they are made of in memory until then.
#[inline]
#[target_feature(enable = "avx512f")]
fn here(mut vector: __m512i) -> __m512i {
    // SAFETY: the assembly has no instruction.
    unsafe {
        core::arch::asm!("/* {0} */", inout(zmm_reg) vector, options(pure, nomem, nostack, preserves_flags));
    }
    vector
}

/// Takes `COUNT` symbols of at most 31 bits together from the windows. The symbols become the
/// highest bytes of the elements of `symbols`. Returns them and the used bits. Where the codes have
/// 32 bits, these are 32, and the last symbol may be wrong.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn take<const COUNT: usize>(
    lengths: &Lengths,
    windows: &[Window; GROUPS],
    mut symbols: Groups,
) -> (Groups, Groups) {
    let marker = _mm512_set1_epi32(i32::MIN);
    let [a, b] = windows;
    let mut next = [
        _mm512_or_si512(a.0[0], marker),
        _mm512_or_si512(b.0[0], marker),
    ];
    for _ in 0..COUNT {
        for group in 0..GROUPS {
            let from = next[group];
            symbols[group] = here(_mm512_shrdi_epi32::<8>(symbols[group], from));
            // This shift takes the lowest five bits of a length, and ignores the bytes above.
            let after = _mm512_shrdv_epi32(from, _mm512_setzero_si512(), lengths.of(from));
            next[group] = here(after);
        }
    }
    let [a, b] = next;
    (symbols, [_mm512_lzcnt_epi32(a), _mm512_lzcnt_epi32(b)])
}

/// The symbols of a step: the first and the last four of each lane.
type Halves = [Groups; 2];

/// The symbols of a step in vectors of eight lanes; [`element`] tells where those of a lane are.
#[inline]
#[target_feature(enable = "avx512f")]
fn together([first, last]: Halves) -> Vectors {
    [
        _mm512_unpacklo_epi32(first[0], last[0]),
        _mm512_unpackhi_epi32(first[0], last[0]),
        _mm512_unpacklo_epi32(first[1], last[1]),
        _mm512_unpackhi_epi32(first[1], last[1]),
    ]
}

/// The group, and the element in its vectors, of a lane whose symbols are element number `place` of
/// vector number `vector`.
const fn element(vector: usize, place: usize) -> (usize, usize) {
    (vector / 2, place / 2 * 4 + vector % 2 * 2 + place % 2)
}

/// The bits that lanes have used.
struct Lanes {
    windows: [Window; GROUPS],
    /// Bit positions of the first bytes that were loaded into the windows.
    loaded: Groups,
    /// Used bits from there on.
    used: Groups,
}

impl Lanes {
    /// Loads windows from these bit positions on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
    fn load(buffer: &[u8; BUFFER_BYTES], [a, b]: Groups) -> Lanes {
        let in_byte = _mm512_set1_epi32(7);
        Lanes {
            windows: [Window::load(buffer, a), Window::load(buffer, b)],
            loaded: [
                _mm512_andnot_si512(in_byte, a),
                _mm512_andnot_si512(in_byte, b),
            ],
            used: [_mm512_and_si512(in_byte, a), _mm512_and_si512(in_byte, b)],
        }
    }

    /// The bit positions of the next codes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn bits(&self) -> Groups {
        sum(self.loaded, self.used)
    }

    /// Goes on by these bits, at most 31.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi2")]
    fn go_on(&mut self, taken: Groups) {
        let ([a, b], [taken_a, taken_b]) = (self.windows, taken);
        self.windows = [a.after(taken_a), b.after(taken_b)];
        self.used = sum(self.used, taken);
    }

    /// Whether the bits that were used need not be those of the lanes: a window has no more, or
    /// four codes, after which the lanes went on by so many bits, had none left for the marker.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn have_too_few_bits(&self, taken: Groups, taken_then: Groups) -> bool {
        // 0xFE: a | b | c, bit by bit.
        let or = |a, b, c| _mm512_ternarylogic_epi32::<0xFE>(a, b, c);
        let both = _mm512_or_si512(taken_then[0], taken_then[1]);
        // 32 bits become 128.
        let taken = _mm512_slli_epi32::<2>(or(taken[0], taken[1], both));
        let most = or(self.used[0], self.used[1], taken);
        _mm512_test_epi32_mask(most, _mm512_set1_epi32(128)) != 0
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum([a, b]: Groups, [c, d]: Groups) -> Groups {
    [_mm512_add_epi32(a, c), _mm512_add_epi32(b, d)]
}

/// Decodes a step two symbols at a time. Returns its symbols, and the lanes behind it.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2")]
fn step_again(lengths: &Lengths, buffer: &[u8; BUFFER_BYTES], bits: Groups) -> (Halves, Lanes) {
    let mut symbols = [[_mm512_setzero_si512(); GROUPS]; 2];
    let mut lanes = Lanes::load(buffer, bits);
    for half in &mut symbols {
        for _ in 0..2 {
            let (more, taken) = take::<2>(lengths, &lanes.windows, *half);
            *half = more;
            lanes.go_on(taken);
        }
    }
    (symbols, Lanes::load(buffer, lanes.bits()))
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
    let lane_of = |vector: usize, place: usize| 8 * vector + E::ORDER[place];
    let first_bits = lanes.first_bits();
    let mut in_groups = [Elements([0; 16]), Elements([0; 16])];
    for vector in 0..LANES / 8 {
        for place in 0..8 {
            let (group, element) = element(vector, place);
            in_groups[group].0[element] = first_bits[lane_of(vector, place)];
        }
    }
    let bits = in_groups.each_ref().map(|bits| {
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_loadu_si512(bits.0.as_ptr().cast()) }
    });
    let lengths = Lengths::load(table.lengths());
    let buffer = lanes.bytes();
    let steps = weights.div_ceil(STEP_WEIGHTS);
    let sharing = WINDOW_BITS * steps / lanes.longest_bits().max(1);
    let sharing = sharing.clamp(1, MOST_SHARING);
    let mut next_record = lanes.behind();
    let mut lanes = Lanes::load(buffer, bits);
    let mut left = sharing;
    let nothing = [_mm512_setzero_si512(); GROUPS];
    for first in (0..weights).step_by(STEP_WEIGHTS) {
        prefetch::<RECORD_LINES>(next_record);
        next_record = next_record.wrapping_add(64 * RECORD_LINES);
        if left == 0 {
            lanes = Lanes::load(buffer, lanes.bits());
            left = sharing;
        }
        left -= 1;
        let (loaded, used) = (lanes.loaded, lanes.used);
        let (mut symbols_first, taken) = take::<4>(&lengths, &lanes.windows, nothing);
        lanes.go_on(taken);
        let (mut symbols_last, taken_then) = take::<4>(&lengths, &lanes.windows, nothing);
        lanes.go_on(taken_then);
        if lanes.have_too_few_bits(taken, taken_then) {
            ([symbols_first, symbols_last], lanes) =
                step_again(&lengths, buffer, sum(loaded, used));
        }
        let symbols = together([symbols_first, symbols_last]);
        // SAFETY: this function has the target features.
        emit = unsafe { emit.step(first, symbols) };
    }
    for (bits, elements) in lanes.bits().into_iter().zip(&mut in_groups) {
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(elements.0.as_mut_ptr().cast(), bits) };
    }
    let mut end_bits = [0; LANES];
    for vector in 0..LANES / 8 {
        for place in 0..8 {
            let (group, element) = element(vector, place);
            end_bits[lane_of(vector, place)] = in_groups[group].0[element];
        }
    }
    (end_bits, emit)
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

/// Decodes lanes into values of the last coded field, joins them with all else, and applies patches.
/// Also returns the weights' CRC-32.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn joined(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    parts: &Parts<'_>,
    output: &mut Output<'_>,
) -> ([u32; LANES], u32) {
    match parts.layout.weight_bytes {
        1 => decode_joined::<1>(table, lanes, parts, output),
        2 => decode_joined::<2>(table, lanes, parts, output),
        _ => decode_joined::<4>(table, lanes, parts, output),
    }
}

/// Same as `joined`, for weights of `SIZE` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
fn decode_joined<const SIZE: usize>(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    parts: &Parts<'_>,
    output: &mut Output<'_>,
) -> ([u32; LANES], u32) {
    let weights = output.len() / SIZE;
    let (plain, mut last) = (PlainBytes::new(parts.plain), [0; STEP_BYTES]);
    let emit = Joined::<SIZE>::new(table, parts, &plain, output, &mut last);
    let (ends, emit) = decode(table, lanes, weights, emit);
    // SAFETY: `decode` passes on all steps of the weights.
    (ends, unsafe { emit.checksum() })
}

/// Decodes lanes into values. Returns the bit position in the buffer at the end of each lane's
/// codes.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512vbmi,avx512vbmi2,vpclmulqdq")]
pub(super) fn values(
    table: &DecodeTable,
    lanes: &LaneBuffer,
    output: &mut Output<'_>,
) -> [u32; LANES] {
    let (weights, mut last) = (output.len(), [0; STEP_WEIGHTS]);
    let emit = Values::new(table, output, &mut last);
    decode(table, lanes, weights, emit).0
}
