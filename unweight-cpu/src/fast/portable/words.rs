//! Splitting and joining weights of any layout, a word of eight bytes at a time.
//!
//! ```text
//!   plain plane   | plain bits of a word | plain bits of the next word | ...
//!                            | deposit (PDEP)
//!   word          | weight .. weight |, with zeros in the places of fields
//!                   or the constants, or each coded value, shifted to its field's place
//! ```
//!
//! The functions are `inline(always)` because the modules of the ISAs compile them again with their
//! target features, and with PDEP and PEXT where there are fast ones.

use crate::fast::layout::{Layout, Nibbles, Place, in_each_weight};
use crate::fast::output::Output;

/// Bytes of the weights that are joined or split at a time, in the L1 cache. Their plain bits fill
/// bytes.
const PIECE_BYTES: usize = 2048;
/// Bytes that are read from the start of a word's plain bits on: at most 7 bits of the word before,
/// and at most 64 bits.
const WINDOW_BYTES: usize = 9;
/// The most bytes of the plain plane in a piece, with a window behind.
const PLAIN_BYTES: usize = PIECE_BYTES + WINDOW_BYTES;

/// The most bytes of the plain plane in a piece, with what a block writes behind its own.
const PACKED_BYTES: usize = PIECE_BYTES + 16;

/// A weight of 1, 2, 4 or 8 bytes.
trait Weight: Copy {
    const BYTES: usize;
    fn load(bytes: &[u8]) -> Self;
    fn store(self, bytes: &mut [u8]);
    fn of_value(value: u8, low: u32) -> Self;
    fn value(self, low: u32) -> u8;
    fn or(self, other: Self) -> Self;
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
            fn store(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            #[inline(always)]
            fn of_value(value: u8, low: u32) -> Self {
                <$number>::from(value) << low
            }

            #[inline(always)]
            fn value(self, low: u32) -> u8 {
                (self >> low) as u8
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
        }
    )*};
}

weight!(u8, u16, u32, u64);

/// Calls a function of the type of a layout's weights.
macro_rules! of_type {
    ($weight_bytes:expr, $function:ident($($argument:expr),*)) => {
        match $weight_bytes {
            1 => $function::<u8>($($argument),*),
            2 => $function::<u16>($($argument),*),
            4 => $function::<u32>($($argument),*),
            _ => $function::<u64>($($argument),*),
        }
    };
}

/// Writes the weights with these plain bytes and values. `pdep` is PDEP with the mask of a word's
/// plain bits, where it is fast.
#[inline(always)]
pub(in crate::fast) fn join(
    layout: &Layout,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
    pdep: Option<impl Fn(u64) -> u64>,
) {
    join_from(0, layout, plain, values, output, pdep);
}

/// Writes the weights from number `start` on, a multiple of 8.
#[inline(always)]
pub(in crate::fast) fn join_from(
    start: usize,
    layout: &Layout,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
    pdep: Option<impl Fn(u64) -> u64>,
) {
    let size = layout.weight_bytes;
    let count = output.len() / size;
    let mut piece = [0; PIECE_BYTES];
    for first in (start..count).step_by(PIECE_BYTES / size) {
        let weights = (PIECE_BYTES / size).min(count - first);
        let bytes = weights * size;
        let piece = &mut piece[..bytes.next_multiple_of(8)];
        let plain = &plain[layout.plain_bytes(first)..];
        join_plain(layout, plain, piece, pdep.as_ref());
        for (&place, values) in layout.places().iter().zip(values) {
            let values = &values[first..first + weights];
            of_type!(size, join_values(place, values, piece));
        }
        output.put_slice(first * size, &piece[..bytes]);
    }
}

/// Writes the plain bits and the constants of whole words.
#[inline(always)]
fn join_plain(layout: &Layout, plain: &[u8], piece: &mut [u8], pdep: Option<impl Fn(u64) -> u64>) {
    if let Some(nibbles) = layout.nibbles {
        return deposit_nibbles(layout, nibbles, plain, piece);
    }
    let (words, _) = piece.as_chunks_mut();
    let needed = (words.len() * layout.word_bits()).div_ceil(8) + WINDOW_BYTES;
    if plain.len() >= needed {
        return deposit_all(layout, plain, words, pdep);
    }
    let mut copy = [0; PLAIN_BYTES];
    copy[..plain.len()].copy_from_slice(plain);
    deposit_all(layout, &copy, words, pdep);
}

/// Same as `join_plain`, for weights of one or two bytes with four plain bits.
#[inline(always)]
fn deposit_nibbles(layout: &Layout, nibbles: Nibbles, plain: &[u8], piece: &mut [u8]) {
    if layout.weight_bytes == 1 {
        let constants = layout.constants as u16;
        for (pair, &plain) in piece.as_chunks_mut().0.iter_mut().zip(plain) {
            *pair = (nibbles.deposit_bytes(plain) | constants).to_le_bytes();
        }
    } else {
        let constants = layout.constants as u32;
        for (pair, &plain) in piece.as_chunks_mut().0.iter_mut().zip(plain) {
            *pair = (nibbles.deposit_halves(plain) | constants).to_le_bytes();
        }
    }
}

#[inline(always)]
fn deposit_all(
    layout: &Layout,
    plain: &[u8],
    words: &mut [[u8; 8]],
    pdep: Option<impl Fn(u64) -> u64>,
) {
    let bits = layout.word_bits();
    let window = |number: usize| match bits <= 56 {
        true => window(plain, number * bits),
        // The last bits of a window may be behind its first eight bytes.
        false => {
            let bit = number * bits;
            let above = u64::from(plain[bit / 8 + 8]) << 1 << (63 - bit % 8);
            window(plain, bit) | above
        }
    };
    if let Some(pdep) = pdep {
        for (number, word) in words.iter_mut().enumerate() {
            *word = (pdep(window(number)) | layout.constants).to_le_bytes();
        }
        return;
    }
    for (number, word) in words.iter_mut().enumerate() {
        *word = window(number).to_le_bytes();
    }
    // The compiler makes vectors of a loop that only deposits.
    for word in words {
        let window = u64::from_le_bytes(*word);
        *word = (layout.deposit(window) | layout.constants).to_le_bytes();
    }
}

/// At least 57 bits from this bit on.
#[inline(always)]
fn window(plain: &[u8], bit: usize) -> u64 {
    let bytes = plain[bit / 8..].first_chunk();
    u64::from_le_bytes(*bytes.expect("a window is behind the plain bits")) >> (bit % 8)
}

/// Adds the values of a field to weights.
#[inline(always)]
fn join_values<T: Weight>(place: Place, values: &[u8], piece: &mut [u8]) {
    for (weight, &value) in piece.chunks_exact_mut(T::BYTES).zip(values) {
        let value = T::of_value(value & place.greatest, place.low);
        T::load(weight).or(value).store(weight);
    }
}

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
