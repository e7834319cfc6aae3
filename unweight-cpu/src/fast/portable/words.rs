//! Splitting weights of any layout, a word of eight bytes at a time.
//!
//! ```text
//!   word          | weight .. weight |
//!                            | extract (PEXT)
//!   plain plane   | plain bits of a word | plain bits of the next word | ...
//! ```
//!
//! The functions are `inline(always)` because the modules of the ISAs compile them again with their
//! target features, and with PEXT where it is fast.

use crate::fast::layout::{Layout, Nibbles, Place, in_each_weight};

/// Bytes of the weights that are joined or split at a time, in the L1 cache. Their plain bits fill
/// bytes.
const PIECE_BYTES: usize = 2048;
/// The most bytes of the plain plane in a piece, with what a block writes behind its own.
const PACKED_BYTES: usize = PIECE_BYTES + 16;

/// A weight of 1, 2, 4 or 8 bytes.
trait Weight: Copy {
    const BYTES: usize;
    fn load(bytes: &[u8]) -> Self;
    fn value(self, low: u32) -> u8;
}

macro_rules! weight {
    ($($number:ty),*) => {$(
        impl Weight for $number {
            const BYTES: usize = size_of::<$number>();

            #[inline(always)]
            fn load(bytes: &[u8]) -> Self {
                <$number>::from_le_bytes(*bytes.first_chunk().expect("bytes of a weight"))
            }

            #[inline(always)]
            fn value(self, low: u32) -> u8 {
                (self >> low) as u8
            }
        }
    )*};
}

weight!(u8, u16, u32, u64);

/// Splits little-endian weights into plain bytes and values. `extract` is [`Layout::extract`], or
/// as good.
#[inline(always)]
pub(in crate::fast) fn split(
    layout: &Layout,
    weights: &[u8],
    plain: &mut [u8],
    values: &mut [&mut [u8]],
    extract: impl Fn(u64) -> u64,
) {
    let size = layout.weight_bytes;
    let mut packed = [0; PACKED_BYTES];
    for (number, piece) in weights.chunks(PIECE_BYTES).enumerate() {
        let (first, count) = (number * PIECE_BYTES / size, piece.len() / size);
        for (&place, values) in layout.places().iter().zip(&mut *values) {
            field_values(size, place, piece, &mut values[first..first + count]);
        }
        let plain = &mut plain[layout.plain_bytes(first)..][..layout.plain_bytes(count)];
        split_plain(layout, piece, plain, &mut packed, &extract);
    }
}

/// The values of a field of little-endian weights of `size` bytes.
#[inline(always)]
pub(in crate::fast) fn field_values(size: usize, place: Place, weights: &[u8], values: &mut [u8]) {
    of_type!(size, split_values(place, weights, values));
}

#[inline(always)]
fn split_values<T: Weight>(place: Place, weights: &[u8], values: &mut [u8]) {
    for (value, weight) in values.iter_mut().zip(weights.chunks_exact(T::BYTES)) {
        *value = T::load(weight).value(place.low) & place.greatest;
    }
}

/// Writes the plain bits of the weights of a piece. `packed` is a buffer.
#[inline(always)]
fn split_plain(
    layout: &Layout,
    piece: &[u8],
    plain: &mut [u8],
    packed: &mut [u8; PACKED_BYTES],
    extract: impl Fn(u64) -> u64,
) {
    if let Some(nibbles) = layout.nibbles {
        return extract_nibbles(layout, nibbles, piece, plain);
    }
    match layout.weight_bytes {
        _ if layout.word_bits().is_multiple_of(8) => pack_words(layout, piece, packed, extract),
        2 => pack_blocks::<2>(layout, piece, packed, extract),
        4 => pack_blocks::<4>(layout, piece, packed, extract),
        _ => pack_blocks::<8>(layout, piece, packed, extract),
    }
    plain.copy_from_slice(&packed[..plain.len()]);
}

/// Same as `split_plain`, for weights of one or two bytes with four plain bits.
#[inline(always)]
fn extract_nibbles(layout: &Layout, nibbles: Nibbles, piece: &[u8], plain: &mut [u8]) {
    // The last byte has the bits of one weight alone if their number is odd.
    let last = if layout.weight_bytes == 1 {
        let (pairs, last) = piece.as_chunks();
        for (plain, &pair) in plain.iter_mut().zip(pairs) {
            *plain = nibbles.extract_bytes(u16::from_le_bytes(pair));
        }
        last.first().map(|&last| nibbles.extract_bytes(last.into()))
    } else {
        let (pairs, last) = piece.as_chunks();
        for (plain, &pair) in plain.iter_mut().zip(pairs) {
            *plain = nibbles.extract_halves(u32::from_le_bytes(pair));
        }
        let last = last.first_chunk().map(|&last| u16::from_le_bytes(last));
        last.map(|last| nibbles.extract_halves(last.into()))
    };
    if let (Some(plain), Some(last)) = (plain.last_mut(), last) {
        *plain = last;
    }
}

/// Packs the plain bits of weights whose words have whole bytes of them.
#[inline(always)]
fn pack_words(
    layout: &Layout,
    piece: &[u8],
    packed: &mut [u8; PACKED_BYTES],
    extract: impl Fn(u64) -> u64,
) {
    let bytes = layout.word_bits() / 8;
    let mut pack = |number: usize, word: [u8; 8]| {
        // The next word overwrites what is behind its plain bits.
        let bits = extract(u64::from_le_bytes(word));
        packed[bytes * number..][..8].copy_from_slice(&bits.to_le_bytes());
    };
    let (words, rest) = piece.as_chunks::<8>();
    for (number, &word) in words.iter().enumerate() {
        pack(number, word);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        pack(words.len(), last);
    }
}

/// Packs the plain bits of weights of `SIZE` bytes, a block of eight weights at a time: `SIZE`
/// words, whose plain bits fill bytes.
#[inline(always)]
fn pack_blocks<const SIZE: usize>(
    layout: &Layout,
    piece: &[u8],
    packed: &mut [u8; PACKED_BYTES],
    extract: impl Fn(u64) -> u64,
) {
    let mut pack = |number: usize, words: &[[u8; 8]; SIZE]| {
        let out = &mut packed[layout.plain_bits * number..];
        pack_block(layout.word_bits(), words, out, &extract);
    };
    let (words, rest) = piece.as_chunks::<8>();
    let (blocks, few) = words.as_chunks::<SIZE>();
    for (number, block) in blocks.iter().enumerate() {
        pack(number, block);
    }
    if !few.is_empty() || !rest.is_empty() {
        let mut last = [[0; 8]; SIZE];
        let bytes = last.as_flattened_mut();
        let start = few.as_flattened().len();
        bytes[..start].copy_from_slice(few.as_flattened());
        bytes[start..start + rest.len()].copy_from_slice(rest);
        pack(blocks.len(), &last);
    }
}

/// Writes the plain bits of words one after another, and zeros behind them: at most 16 bytes more
/// than they fill, which the next block overwrites.
#[inline(always)]
fn pack_block<const SIZE: usize>(
    bits: usize,
    words: &[[u8; 8]; SIZE],
    out: &mut [u8],
    extract: impl Fn(u64) -> u64,
) {
    let word = |number: usize| extract(u64::from_le_bytes(words[number]));
    // Two words have at most 128 bits, and at most 7 bits of the words before are in their first
    // byte: those of four bytes have at most 116 bits, those of eight at most 122.
    let mut before = 0u128;
    for first in (0..SIZE).step_by(2) {
        let pair = u128::from(word(first)) | u128::from(word(first + 1)) << bits;
        let (start, shift) = (first * bits / 8, first * bits % 8);
        let shifted = pair << shift | before;
        out[start..start + 16].copy_from_slice(&shifted.to_le_bytes());
        let whole_bytes = (2 * bits + shift) / 8;
        before = shifted.checked_shr(8 * whole_bytes as u32).unwrap_or(0);
    }
}

/// The bits in which any of these little-endian weights of `size` bytes differs from `weight`, as
/// bits of a weight.
pub(in crate::fast) fn differing_bits(size: usize, weight: u64, weights: &[u8]) -> u64 {
    let (words, rest) = weights.as_chunks::<8>();
    let same = in_each_weight(weight, size);
    let mut last = same.to_le_bytes();
    last[..rest.len()].copy_from_slice(rest);
    let differing = |word: [u8; 8]| u64::from_le_bytes(word) ^ same;
    let words = words
        .iter()
        .fold(differing(last), |bits, &word| bits | differing(word));
    let of_weight = |at: usize| words >> (8 * at) & (u64::MAX >> (64 - 8 * size));
    (0..8)
        .step_by(size)
        .fold(0, |bits, at| bits | of_weight(at))
}
