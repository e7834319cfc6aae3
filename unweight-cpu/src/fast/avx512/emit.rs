//! Output stages for decoded symbols: values, weights of many layouts, BF16 weights of which the
//! exponent alone is coded; weights also with checksums.
//!
//! For BF16 the table has exponents rotated right by one, `x EEEEEEE` with the last bit x on top,
//! so that a weight needs no shift:
//!
//! ```text
//!   high byte  S EEEEEEE   the sign of the sign-mantissa byte, the rest from the table
//!   low byte   x MMMMMMM   the other way round
//! ```

use std::arch::x86_64::*;

use unweight_format::Patches;
use unweight_format::layout::{LANES, STEP_WEIGHTS};

use super::checksum::Folded;
use super::plain::{self, Plain};
use super::{load, prefetch, words};
use crate::fast::bf16::weight;
use crate::fast::checked::{Checksums, continued};
use crate::fast::decode_table::DecodeTable;
use crate::fast::kernels::Parts;
use crate::fast::layout::Place;
use crate::fast::output::Output;
use crate::fast::plain_bytes::{PlainBytes, STEP_BYTES};

pub(super) const VECTORS: usize = LANES / 8;
/// Vectors with one element for each lane.
pub(super) type Vectors = [__m512i; VECTORS];
/// Prefetch distance of the output before its stores.
const AHEAD: usize = 4096;
const BLOCK: usize = 64;
const STEP_BLOCKS: usize = 2 * STEP_WEIGHTS / BLOCK;

/// Lanes of a vector in the order in which an interleaving of bytes, which does not cross 128 bits,
/// gives the weights of the first four and then those of the last four.
const HALVES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Values by symbols of 8 bits, held in registers.
///
/// A code of more than 6 bits begins with three ones: at most 16 codes of at least 7 bits take at
/// most an eighth of the code space, and canonical order puts them last. So the first 6 bits of a
/// symbol tell its value, or it begins with three ones and the last 6 bits do.
#[derive(Clone, Copy)]
struct Symbols {
    by_first: __m512i,
    by_last: __m512i,
}

impl Symbols {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(values: &[u8; 256]) -> Symbols {
        Symbols {
            by_first: load(values.first_chunk().expect("64 values")),
            by_last: load(&std::array::from_fn(|last| values[last << 2 | 3])),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn look_up(&self, symbols: __m512i) -> __m512i {
        let ones = _mm512_set1_epi8(7);
        let begins_with_ones = _mm512_cmpeq_epi8_mask(_mm512_and_si512(symbols, ones), ones);
        let values = _mm512_permutexvar_epi8(symbols, self.by_first);
        // A look-up takes the lowest 6 bits of a byte: those that come from the byte above do not
        // matter.
        let last = _mm512_srli_epi16::<2>(symbols);
        _mm512_mask_permutexvar_epi8(values, begins_with_ones, last, self.by_last)
    }
}

/// Receives the steps of a chunk in order.
pub(super) trait Emit: Sized {
    /// The order in which each vector of symbols has its eight lanes.
    const ORDER: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    /// Receives the symbols of the step that begins with weight `first`; the last may be short.
    /// Takes `self` by value, so that the loop's state stays in registers.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW, VBMI and VPCLMULQDQ.
    unsafe fn step(self, first: usize, symbols: Vectors) -> Self;
}

/// Values as bytes.
pub(super) struct Values<'a, 'o> {
    table: Symbols,
    output: &'a mut Output<'o>,
    /// The values of a short last step.
    last: &'a mut [u8; STEP_WEIGHTS],
}

impl<'a, 'o> Values<'a, 'o> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(
        table: &DecodeTable,
        output: &'a mut Output<'o>,
        last: &'a mut [u8; STEP_WEIGHTS],
    ) -> Self {
        Values {
            table: Symbols::load(table.values()),
            output,
            last,
        }
    }
}

impl Emit for Values<'_, '_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn step(self, first: usize, symbols: Vectors) -> Self {
        let rest = self.output.len() - first;
        let start = match rest >= STEP_WEIGHTS {
            true => self.output.part(first, STEP_WEIGHTS).as_mut_ptr().cast(),
            false => self.last.as_mut_ptr(),
        };
        for (vector, symbols) in symbols.into_iter().enumerate() {
            let values = self.table.look_up(symbols);
            // SAFETY: a step has so many bytes: `every_number_of_weights_around_a_step`.
            unsafe { _mm512_storeu_si512(start.add(BLOCK * vector).cast(), values) };
        }
        if rest < STEP_WEIGHTS {
            self.output.put_slice(first, &self.last[..rest]);
        }
        self
    }
}

/// BF16 weights of which the exponent alone is coded. If `CHECKED`, patches are applied and
/// checksums are computed.
pub(super) struct Weights<'a, 'o, const CHECKED: bool> {
    table: Symbols,
    sign_mantissa: &'a [u8],
    output: &'a mut Output<'o>,
    patches: Pending<'a>,
    over_sign_mantissa: Folded<1>,
    over_weights: Folded<2>,
}

impl<'a, 'o, const CHECKED: bool> Weights<'a, 'o, CHECKED> {
    /// `record_so_far` is the checksum of the record up to the sign-mantissa bytes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(
        table: &DecodeTable,
        sign_mantissa: &'a [u8],
        output: &'a mut Output<'o>,
        patches: &'a Patches<'a>,
        record_so_far: u32,
    ) -> Self {
        assert_eq!(output.len(), 2 * sign_mantissa.len());
        Weights {
            table: Symbols::load(table.rotated_values()),
            sign_mantissa,
            output,
            patches: Pending::of(patches),
            over_sign_mantissa: Folded::behind(record_so_far),
            over_weights: Folded::behind(0),
        }
    }

    /// Returns the checksums.
    ///
    /// # Safety
    /// All steps of the chunk must have been received.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn checksums(self) -> Checksums {
        let whole = self.sign_mantissa.len() / STEP_WEIGHTS * STEP_WEIGHTS;
        // SAFETY: the caller guarantees that the steps have filled the output.
        let weights = unsafe { self.output.written() };
        Checksums {
            record: self.over_sign_mantissa.finish(),
            weights: self.over_weights.finish(),
        }
        .and(&self.sign_mantissa[whole..], &weights[2 * whole..])
    }
}

/// The bytes of 64 BF16 weights, from a table of rotated exponents and symbols in [`HALVES`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn join(table: &Symbols, symbols: __m512i, sign_mantissa: __m512i) -> [__m512i; 2] {
    let [a, b, c, d, e, f, g, h] = HALVES.map(|place| place as i64);
    let order = _mm512_set_epi64(h, g, f, e, d, c, b, a);
    let values = table.look_up(symbols);
    let sign_mantissa = _mm512_permutexvar_epi64(order, sign_mantissa);
    let sign = _mm512_set1_epi8(i8::MIN);
    // 0xCA: a ? b : c, bit by bit.
    let low = _mm512_ternarylogic_epi64::<0xCA>(sign, values, sign_mantissa);
    let high = _mm512_ternarylogic_epi64::<0xCA>(sign, sign_mantissa, values);
    [
        _mm512_unpacklo_epi8(low, high),
        _mm512_unpackhi_epi8(low, high),
    ]
}

impl<const CHECKED: bool> Emit for Weights<'_, '_, CHECKED> {
    const ORDER: [usize; 8] = HALVES;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn step(mut self, first: usize, symbols: Vectors) -> Self {
        if self.sign_mantissa.len() - first < STEP_WEIGHTS {
            let patches = short(
                self.table,
                self.sign_mantissa,
                self.output,
                self.patches,
                symbols,
            );
            self.patches = patches;
            return self;
        }
        self.whole(first, symbols);
        self
    }
}

impl<const CHECKED: bool> Weights<'_, '_, CHECKED> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    fn whole(&mut self, first: usize, symbols: Vectors) {
        let sign_mantissa: &[u8; STEP_WEIGHTS] = self.sign_mantissa[first..]
            .first_chunk()
            .expect("a whole step is left");
        let part = self.output.part(2 * first, 2 * STEP_WEIGHTS);
        let ahead = part.as_ptr().wrapping_add(AHEAD);
        for block in 0..STEP_BLOCKS {
            _mm_prefetch::<_MM_HINT_ET0>(ahead.wrapping_add(BLOCK * block).cast());
        }
        prefetch::<{ STEP_WEIGHTS / BLOCK }>(sign_mantissa.as_ptr().wrapping_add(AHEAD));
        let is_patched = CHECKED && self.patches.is_before(first + STEP_WEIGHTS);
        let (sign_mantissa, _) = sign_mantissa.as_chunks();
        let (blocks, _) = part.as_chunks_mut::<{ 2 * BLOCK }>();
        for vector in 0..VECTORS {
            let sign_mantissa = load(&sign_mantissa[vector]);
            let [one, two] = join(&self.table, symbols[vector], sign_mantissa);
            let block = blocks[vector].as_mut_ptr().cast::<u8>();
            // SAFETY: 128 bytes are there.
            unsafe { _mm512_storeu_si512(block.cast(), one) };
            // SAFETY: as above.
            unsafe { _mm512_storeu_si512(block.add(BLOCK).cast(), two) };
            if CHECKED {
                self.over_sign_mantissa.add(0, sign_mantissa);
            }
            if CHECKED && !is_patched {
                self.over_weights.add(0, one);
                self.over_weights.add(1, two);
            }
        }
        if is_patched {
            let end = first + STEP_WEIGHTS;
            self.patches = self.patches.put(end, self.sign_mantissa, self.output);
            let part = self.output.part(2 * first, 2 * STEP_WEIGHTS);
            for (number, block) in part.as_chunks::<BLOCK>().0.iter().enumerate() {
                // SAFETY: 64 bytes are readable, because they have just been written.
                let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
                self.over_weights.add(number % 2, block);
            }
        }
    }
}

/// Emits a short last step, applies its patches, and returns those that are left.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
fn short<'a>(
    table: Symbols,
    sign_mantissa: &[u8],
    output: &mut Output<'_>,
    patches: Pending<'a>,
    symbols: Vectors,
) -> Pending<'a> {
    let first = sign_mantissa.len() / STEP_WEIGHTS * STEP_WEIGHTS;
    let rest = sign_mantissa.len() - first;
    let mut last = [0; STEP_WEIGHTS];
    last[..rest].copy_from_slice(&sign_mantissa[first..]);
    let mut weights = [0u8; 2 * STEP_WEIGHTS];
    let (blocks, _) = weights.as_chunks_mut::<{ 2 * BLOCK }>();
    let (last, _) = last.as_chunks();
    for (vector, block) in blocks.iter_mut().enumerate() {
        let [one, two] = join(&table, symbols[vector], load(&last[vector]));
        // SAFETY: 128 bytes are there.
        unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), one) };
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(block.as_mut_ptr().add(BLOCK).cast(), two) };
    }
    output.put_slice(2 * first, &weights[..2 * rest]);
    patches.put(first + rest, sign_mantissa, output)
}

/// Weights of `SIZE` bytes, of a layout that [`fits`](plain::fits) and
/// [is simple](plain::is_simple). The symbols are those of the last coded
/// field. Patches are applied, and checksums are computed if `CHECKED`.
pub(super) struct Joined<'a, 'o, const SIZE: usize> {
    table: Symbols,
    place: Place,
    bits: Plain,
    plain: &'a PlainBytes<'a>,
    /// The values of the other coded fields.
    others: &'a [&'a [u8]],
    other_places: &'a [Place],
    output: &'a mut Output<'o>,
    /// The weights of a short last step.
    last: &'a mut [u8; STEP_BYTES],
    patches: Pending<'a>,
    over_weights: Folded<2>,
}

impl<'a, 'o, const SIZE: usize> Joined<'a, 'o, SIZE> {
    /// `bytes` has the plain bytes of `parts`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn new(
        table: &DecodeTable,
        parts: &Parts<'a>,
        bytes: &'a PlainBytes<'a>,
        output: &'a mut Output<'o>,
        last: &'a mut [u8; STEP_BYTES],
    ) -> Self {
        let (layout, others) = (parts.layout, parts.values);
        let bits = Plain::of(layout).expect("the layout fits");
        let (&place, other_places) = layout.places().split_last().expect("a coded field");
        assert!(layout.weight_bytes == SIZE && plain::is_simple(layout));
        let whole_steps = (output.len() / SIZE).next_multiple_of(STEP_WEIGHTS);
        assert!(others.len() == other_places.len());
        assert!(others.iter().all(|values| values.len() >= whole_steps));
        Joined {
            table: Symbols::load(table.values()),
            place,
            bits,
            plain: bytes,
            others,
            other_places,
            output,
            last,
            patches: Pending::of(parts.patches),
            over_weights: Folded::behind(0),
        }
    }

    /// Returns the weights' CRC-32.
    ///
    /// # Safety
    /// All steps of the chunk must have been received.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn checksum(self) -> u32 {
        let step = SIZE * STEP_WEIGHTS;
        let whole = self.output.len() / step * step;
        // SAFETY: the caller guarantees that the steps have filled the output.
        let weights = unsafe { self.output.written() };
        continued(self.over_weights.finish(), &weights[whole..])
    }

    /// The weights of the step that begins with weight `first`, in vectors.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn join(&self, first: usize, symbols: Vectors) -> [[__m512i; SIZE]; VECTORS] {
        let mut weights = [[_mm512_setzero_si512(); SIZE]; VECTORS];
        let plain = self.plain.from(self.bits.stride() * SIZE * first / BLOCK);
        for vector in 0..VECTORS {
            let values = self.table.look_up(symbols[vector]);
            for (part, weights) in weights[vector].iter_mut().enumerate() {
                let plain = self.bits.vector_of_step(plain, SIZE * vector + part);
                let values = spread::<SIZE>(self.place, part, values);
                *weights = _mm512_or_si512(plain, values);
            }
        }
        for (&place, values) in self.other_places.iter().zip(self.others) {
            let values: &[u8; STEP_WEIGHTS] = values[first..].first_chunk().expect("a whole step");
            let parts = values.chunks_exact(BLOCK / SIZE);
            for (weights, values) in weights.as_flattened_mut().iter_mut().zip(parts) {
                *weights = _mm512_or_si512(*weights, words::spread::<SIZE>(place, values));
            }
        }
        weights
    }

    /// Applies the patches before weight `end`, and returns those that are left.
    ///
    /// # Safety
    /// All these weights must have been written.
    #[cold]
    #[inline(never)]
    unsafe fn patch(
        mut patches: Pending<'a>,
        end: usize,
        place: Place,
        output: &mut Output<'_>,
    ) -> Pending<'a> {
        let field = (u64::from(place.greatest) << place.low).to_le_bytes();
        while patches.is_before(end) {
            let value = (u64::from(patches.value()) << place.low).to_le_bytes();
            for byte in 0..SIZE {
                let (field, value) = (field[byte], value[byte]);
                // SAFETY: the caller guarantees that the byte has been written.
                unsafe {
                    output.replace(SIZE * patches.position + byte, |weight| {
                        weight & !field | value
                    })
                };
            }
            patches.advance();
        }
        patches
    }
}

/// Values of part `part` of 64 weights at their place in a vector of weights of `SIZE` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn spread<const SIZE: usize>(place: Place, part: usize, values: __m512i) -> __m512i {
    let of_byte = |byte: usize| (BLOCK / SIZE * part + byte / SIZE) as u8;
    let order = load(&std::array::from_fn(of_byte));
    match SIZE {
        // The table has the values at their place.
        1 => values,
        2 => {
            let values = _mm512_maskz_permutexvar_epi8(0x5555_5555_5555_5555, order, values);
            _mm512_sllv_epi16(values, _mm512_set1_epi16(place.low as i16))
        }
        _ => {
            let values = _mm512_maskz_permutexvar_epi8(0x1111_1111_1111_1111, order, values);
            _mm512_sllv_epi32(values, _mm512_set1_epi32(place.low as i32))
        }
    }
}

impl<const SIZE: usize> Emit for Joined<'_, '_, SIZE> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn step(mut self, first: usize, symbols: Vectors) -> Self {
        let weights = self.join(first, symbols);
        let at = SIZE * first;
        let bytes = (self.output.len() - at).min(SIZE * STEP_WEIGHTS);
        let is_whole = bytes == SIZE * STEP_WEIGHTS;
        let start = match is_whole {
            true => self.output.part(at, bytes).as_mut_ptr().cast(),
            false => self.last.as_mut_ptr(),
        };
        for block in 0..SIZE * VECTORS {
            _mm_prefetch::<_MM_HINT_ET0>(start.wrapping_add(AHEAD + BLOCK * block).cast());
        }
        for part in 0..SIZE {
            let number = at / BLOCK + VECTORS * part;
            self.bits.prefetch(self.plain.bytes(), number);
        }
        let end = first + bytes / SIZE;
        let is_patched = self.patches.is_before(end);
        for vector in 0..VECTORS {
            for part in 0..SIZE {
                let (number, weights) = (SIZE * vector + part, weights[vector][part]);
                // SAFETY: a step has so many bytes, and `last` has no fewer:
                // `every_number_of_weights_around_a_step`.
                unsafe { _mm512_storeu_si512(start.add(BLOCK * number).cast(), weights) };
                if is_whole && !is_patched {
                    self.over_weights.add(number % 2, weights);
                }
            }
        }
        if !is_whole {
            self.output.put_slice(at, &self.last[..bytes]);
        }
        if is_patched {
            // SAFETY: this step and all before have been written.
            self.patches = unsafe { Self::patch(self.patches, end, self.place, self.output) };
        }
        if is_patched && is_whole {
            // `start` may not be used any more: the output has been borrowed for the patches.
            let part = self.output.part(at, bytes);
            for (number, block) in part.as_chunks::<BLOCK>().0.iter().enumerate() {
                // SAFETY: 64 bytes are readable, because they have just been written.
                let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
                self.over_weights.add(number % 2, block);
            }
        }
        self
    }
}

/// Patches that have not been applied yet.
#[derive(Clone, Copy)]
struct Pending<'a> {
    patches: &'a Patches<'a>,
    next: usize,
    /// Position of the next patch, or a position past any chunk if there is none.
    position: usize,
}

impl<'a> Pending<'a> {
    fn of(patches: &'a Patches<'a>) -> Pending<'a> {
        let pending = |next| Pending {
            patches,
            next,
            position: position(patches, next),
        };
        pending(0)
    }

    /// Whether the next patch is at a weight before `end`.
    fn is_before(&self, end: usize) -> bool {
        self.position < end
    }

    /// The value of the next patch, which must exist.
    fn value(&self) -> u8 {
        self.patches
            .number(self.next)
            .map_or(0, |patch| patch.value)
    }

    /// Moves on to the patch after the next.
    fn advance(&mut self) {
        self.next += 1;
        self.position = position(self.patches, self.next);
    }

    /// Applies the patches before weight `end`. All these weights must have been written. Takes
    /// `self` by value, so that the loop's state can stay in registers.
    #[cold]
    #[inline(never)]
    fn put(mut self, end: usize, sign_mantissa: &[u8], output: &mut Output<'_>) -> Self {
        while self.position < end {
            let patch = self.patches.number(self.next);
            if let Some(patch) = patch {
                let weight = weight(sign_mantissa[self.position], patch.value);
                output.put(2 * self.position, weight.to_le_bytes());
            }
            self.next += 1;
            self.position = position(self.patches, self.next);
        }
        self
    }
}

fn position(patches: &Patches<'_>, number: usize) -> usize {
    let patch = patches.number(number);
    patch.map_or(usize::MAX, |patch| patch.position.into())
}
