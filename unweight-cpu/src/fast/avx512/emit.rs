//! Output stages for decoded symbols: values, weights of one byte, BF16 weights, or BF16 weights
//! with checksums.
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
use super::plain::Plain;
use super::{load, prefetch};
use crate::fast::bf16::weight;
use crate::fast::checked::Checksums;
use crate::fast::decode_table::DecodeTable;
use crate::fast::layout::{Layout, Place};
use crate::fast::output::Output;

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

    /// Receives the symbols of the step that begins with weight `first`.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW, VBMI and VPCLMULQDQ.
    unsafe fn whole(&mut self, first: usize, symbols: Vectors);

    /// Receives the symbols of a short last step. Takes `self` by value, so that the loop's state
    /// stays in registers.
    ///
    /// # Safety
    /// Same as for [`whole`](Emit::whole).
    unsafe fn short(self, first: usize, symbols: Vectors) -> Self;
}

/// Values as bytes.
pub(super) struct Values<'a, 'o> {
    table: Symbols,
    output: &'a mut Output<'o>,
}

impl<'a, 'o> Values<'a, 'o> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(table: &DecodeTable, output: &'a mut Output<'o>) -> Self {
        let table = Symbols::load(table.values());
        Values { table, output }
    }
}

impl Emit for Values<'_, '_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn whole(&mut self, first: usize, symbols: Vectors) {
        let (blocks, _) = self.output.part(first, STEP_WEIGHTS).as_chunks_mut();
        for (block, symbols) in blocks.iter_mut().zip(symbols) {
            let block: &mut [_; BLOCK] = block;
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), self.table.look_up(symbols)) };
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn short(self, first: usize, symbols: Vectors) -> Self {
        let mut values = [0u8; STEP_WEIGHTS];
        let (blocks, _) = values.as_chunks_mut();
        for (block, symbols) in blocks.iter_mut().zip(symbols) {
            let block: &mut [_; BLOCK] = block;
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), self.table.look_up(symbols)) };
        }
        let rest = self.output.len() - first;
        self.output.put_slice(first, &values[..rest]);
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
    unsafe fn whole(&mut self, first: usize, symbols: Vectors) {
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

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn short(mut self, first: usize, symbols: Vectors) -> Self {
        let rest = self.sign_mantissa.len() - first;
        let mut sign_mantissa = [0; STEP_WEIGHTS];
        sign_mantissa[..rest].copy_from_slice(&self.sign_mantissa[first..]);
        let mut weights = [0u8; 2 * STEP_WEIGHTS];
        let (blocks, _) = weights.as_chunks_mut::<{ 2 * BLOCK }>();
        let (sign_mantissa, _) = sign_mantissa.as_chunks();
        for (vector, block) in blocks.iter_mut().enumerate() {
            let [one, two] = join(&self.table, symbols[vector], load(&sign_mantissa[vector]));
            // SAFETY: 128 bytes are there.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), one) };
            // SAFETY: as above.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().add(BLOCK).cast(), two) };
        }
        self.output.put_slice(2 * first, &weights[..2 * rest]);
        if CHECKED {
            self.patches = self
                .patches
                .put(first + rest, self.sign_mantissa, self.output);
        }
        self
    }
}

/// Weights of one byte with one coded field, with patches and checksums.
pub(super) struct Bytes<'a, 'o> {
    /// Values at the place of their field.
    table: Symbols,
    place: Place,
    bits: Plain,
    plain: &'a [u8],
    output: &'a mut Output<'o>,
    patches: Pending<'a>,
    record_so_far: u32,
    over_weights: Folded<2>,
}

impl<'a, 'o> Bytes<'a, 'o> {
    /// `record_so_far` is the record's checksum up to the plain bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn new(
        table: &DecodeTable,
        layout: &Layout,
        plain: &'a [u8],
        output: &'a mut Output<'o>,
        patches: &'a Patches<'a>,
        record_so_far: u32,
    ) -> Self {
        let place = layout.places()[0];
        let bits = Plain::of(layout).expect("eight weights have at most 56 plain bits");
        assert!(layout.weight_bytes == 1 && bits.is_simple());
        Bytes {
            table: Symbols::load(&table.values().map(|value| value << place.low)),
            place,
            bits,
            plain,
            output,
            patches: Pending::of(patches),
            record_so_far,
            over_weights: Folded::behind(0),
        }
    }

    /// Returns the checksums.
    ///
    /// # Safety
    /// All steps of the chunk must have been received.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn checksums(self) -> Checksums {
        let whole = self.output.len() / STEP_WEIGHTS * STEP_WEIGHTS;
        // SAFETY: the caller guarantees that the steps have filled the output.
        let weights = unsafe { self.output.written() };
        Checksums {
            record: self.record_so_far,
            weights: self.over_weights.finish(),
        }
        .and(self.plain, &weights[whole..])
    }

    /// Weights from the symbols of vector `number` of the chunk.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn join(&self, number: usize, symbols: __m512i) -> __m512i {
        let plain = self.bits.vector::<true>(self.plain, number);
        _mm512_or_si512(plain, self.table.look_up(symbols))
    }

    /// Applies the patches before weight `end`.
    ///
    /// # Safety
    /// All these weights must have been written.
    #[cold]
    #[inline(never)]
    unsafe fn patch(&mut self, end: usize) {
        let Place { low, greatest } = self.place;
        while self.patches.is_before(end) {
            let value = self.patches.value() << low;
            let field = greatest << low;
            let at = self.patches.position;
            // SAFETY: the caller guarantees that the byte has been written.
            unsafe { self.output.replace(at, |weight| weight & !field | value) };
            self.patches.advance();
        }
    }
}

impl Emit for Bytes<'_, '_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn whole(&mut self, first: usize, symbols: Vectors) {
        let part = self.output.part(first, STEP_WEIGHTS);
        let ahead = part.as_ptr().wrapping_add(AHEAD);
        for block in 0..STEP_WEIGHTS / BLOCK {
            _mm_prefetch::<_MM_HINT_ET0>(ahead.wrapping_add(BLOCK * block).cast());
        }
        self.bits.prefetch(self.plain, first / BLOCK);
        let start = part.as_mut_ptr().cast::<u8>();
        let is_patched = self.patches.is_before(first + STEP_WEIGHTS);
        for (vector, symbols) in symbols.into_iter().enumerate() {
            let weights = self.join(first / BLOCK + vector, symbols);
            // SAFETY: the part has as many vectors as a step has symbols.
            unsafe { _mm512_storeu_si512(start.add(BLOCK * vector).cast(), weights) };
            if !is_patched {
                self.over_weights.add(vector % 2, weights);
            }
        }
        if is_patched {
            // SAFETY: this step and all before have been written.
            unsafe { self.patch(first + STEP_WEIGHTS) };
            let part = self.output.part(first, STEP_WEIGHTS);
            for (number, block) in part.as_chunks::<BLOCK>().0.iter().enumerate() {
                // SAFETY: 64 bytes are readable, because they have just been written.
                let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
                self.over_weights.add(number % 2, block);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,vpclmulqdq")]
    unsafe fn short(mut self, first: usize, symbols: Vectors) -> Self {
        let mut weights = [0u8; STEP_WEIGHTS];
        let (blocks, _) = weights.as_chunks_mut::<BLOCK>();
        let rest = self.output.len() - first;
        for (vector, block) in blocks.iter_mut().enumerate() {
            if BLOCK * vector < rest {
                let joined = self.join(first / BLOCK + vector, symbols[vector]);
                // SAFETY: 64 bytes are there.
                unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), joined) };
            }
        }
        self.output.put_slice(first, &weights[..rest]);
        // SAFETY: all weights have been written.
        unsafe { self.patch(first + rest) };
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
