//! Joining plain bits and values into weights of any layout, 64 weights at a time.
//!
//! ```text
//!   plain plane   ... | plain bits of the next word | plain bits of a word |
//!   window        a word's plain bits from bit 0 on, and others above
//!   apart         halved until the plain bits of each weight begin where the weight does
//!   word          each run of plain bits at its place, and the constants
//!                 or each coded value, shifted to its field's place
//! ```
//!
//! Each of these is a loop over several blocks that the compiler makes vectors of. The loops of a
//! block follow each other at some distance, because a vector that is loaded right behind the
//! stores of its parts waits for them.
//!
//! The functions are `inline(always)` because the modules of the ISAs compile them again with their
//! target features.

use std::mem::MaybeUninit;

use unweight_format::layout::STEP_WEIGHTS;

use super::decode::{GROUP_WEIGHTS, GroupValues, first_weight, in_order};
use crate::fast::kernels::Parts;
use crate::fast::layout::{DepositKind, Layout, Place};
use crate::fast::output::Output;
use crate::fast::plain_bytes::{PlainBytes, STEP_BYTES};

/// Weights of a block: a group's step.
const BLOCK: usize = GROUP_WEIGHTS;
/// Blocks that are joined together.
const BLOCKS: usize = 8;
/// The most bytes of a weight.
const MOST_BYTES: usize = 8;

/// A weight of 1, 2, 4 or 8 bytes.
trait Weight: Copy {
    const BYTES: usize;

    /// Adds values of a field to weights.
    fn add(place: Place, values: &[u8; BLOCK], weights: &mut [u8]);

    /// Writes weights with values of another field.
    fn write(place: Place, values: &[u8; BLOCK], weights: &[u8], out: &mut [MaybeUninit<u8>]);
}

macro_rules! weight {
    ($($number:ty),*) => {$(
        impl Weight for $number {
            const BYTES: usize = size_of::<$number>();

            #[inline(always)]
            fn add(place: Place, values: &[u8; BLOCK], weights: &mut [u8]) {
                let (weights, _) = weights.as_chunks_mut();
                for (weight, &value) in weights.iter_mut().zip(values) {
                    let value = <$number>::from(value & place.greatest) << place.low;
                    *weight = (<$number>::from_le_bytes(*weight) | value).to_le_bytes();
                }
            }

            #[inline(always)]
            fn write(
                place: Place,
                values: &[u8; BLOCK],
                weights: &[u8],
                out: &mut [MaybeUninit<u8>],
            ) {
                let (weights, _) = weights.as_chunks();
                let (out, _) = out.as_chunks_mut::<{ size_of::<$number>() }>();
                for ((out, &weight), &value) in out.iter_mut().zip(weights).zip(values) {
                    let value = <$number>::from(value & place.greatest) << place.low;
                    let weight = (<$number>::from_le_bytes(weight) | value).to_le_bytes();
                    *out = weight.map(MaybeUninit::new);
                }
            }
        }
    )*};
}

weight!(u8, u16, u32, u64);

/// Writes the weights with these plain bytes and values.
#[inline(always)]
pub(in crate::fast) fn join(
    layout: &Layout,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
) {
    join_from(0, layout, plain, values, output);
}

/// Writes the weights from number `start` on, a multiple of 64.
#[inline(always)]
pub(in crate::fast) fn join_from(
    start: usize,
    layout: &Layout,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
) {
    of_type!(
        layout.weight_bytes,
        join_all(start, layout, plain, values, output)
    );
}

#[inline(always)]
fn join_all<T: Weight>(
    start: usize,
    layout: &Layout,
    plain: &[u8],
    values: &[&[u8]],
    output: &mut Output<'_>,
) {
    let plain = PlainBytes::new(plain);
    let mut piece = [0; BLOCKS * BLOCK * MOST_BYTES];
    let count = output.len() / T::BYTES;
    for first in (start..count).step_by(BLOCKS * BLOCK) {
        let blocks = (count - first).div_ceil(BLOCK).min(BLOCKS);
        let first = |block: usize| first + BLOCK * block;
        let piece = &mut piece[..blocks * BLOCK * T::BYTES];
        deposit::<T>(layout, &plain, piece, first);
        for (number, block) in piece.chunks_exact_mut(BLOCK * T::BYTES).enumerate() {
            let first = first(number);
            let (last, others) = match (layout.places(), values) {
                ([others @ .., place], [other_values @ .., values]) => {
                    let last = (*place, of_block(&values[first..]));
                    (last, others.iter().zip(other_values))
                }
                // A field without bits.
                _ => ((Place::default(), [0; BLOCK]), [].iter().zip(&[])),
            };
            for (&place, values) in others {
                T::add(place, &of_block(&values[first..]), block);
            }
            finish::<T>(last.0, &last.1, first, block, output);
        }
    }
}

/// The first values, as many as a block has. Zeros follow the last one.
#[inline(always)]
fn of_block(values: &[u8]) -> [u8; BLOCK] {
    let mut padded = [0; BLOCK];
    match values.first_chunk() {
        Some(values) => *values,
        None => {
            padded[..values.len()].copy_from_slice(values);
            padded
        }
    }
}

/// Writes the weights of a group of lanes: those with these values of the last coded field, and with
/// the other parts of the chunk. `number` is that of the group.
#[inline(always)]
pub(super) fn join_group(
    parts: &Parts<'_>,
    plain: &PlainBytes<'_>,
    number: usize,
    values: &GroupValues<'_>,
    output: &mut Output<'_>,
) {
    match parts.layout.weight_bytes {
        1 => join_bytes(parts, plain, number, values, output),
        2 => join_steps::<u16>(parts, plain, number, values, output),
        4 => join_steps::<u32>(parts, plain, number, values, output),
        _ => join_steps::<u64>(parts, plain, number, values, output),
    }
}

/// Same as `join_steps`, for weights of one byte. The group's values are at their places.
#[inline(always)]
fn join_bytes(
    parts: &Parts<'_>,
    plain: &PlainBytes<'_>,
    number: usize,
    group: &GroupValues<'_>,
    output: &mut Output<'_>,
) {
    const NIBBLES: u8 = DepositKind::Nibbles as u8;
    const SPARSE: u8 = DepositKind::Sparse as u8;
    const DENSE: u8 = DepositKind::Dense as u8;
    const ANY: u8 = DepositKind::Any as u8;
    let deposit = &parts.layout.deposit;
    match (parts.layout.deposit_kind(), parts.layout.plain_bits) {
        (DepositKind::Sparse, 3) if deposit.is_low() => {
            join_bytes_of::<SPARSE, 3>(parts, plain, number, group, output)
        }
        (DepositKind::Nibbles, _) => {
            join_bytes_of::<NIBBLES, 0>(parts, plain, number, group, output)
        }
        (DepositKind::Sparse, _) => join_bytes_of::<SPARSE, 0>(parts, plain, number, group, output),
        (DepositKind::Dense, _) => join_bytes_of::<DENSE, 0>(parts, plain, number, group, output),
        (DepositKind::Any, _) => join_bytes_of::<ANY, 0>(parts, plain, number, group, output),
    }
}

/// Same as `join_bytes`, for plain bits of one [kind](crate::fast::layout::Deposit::word).
#[inline(always)]
fn join_bytes_of<const KIND: u8, const BITS: usize>(
    parts: &Parts<'_>,
    plain: &PlainBytes<'_>,
    number: usize,
    group: &GroupValues<'_>,
    output: &mut Output<'_>,
) {
    let layout = parts.layout;
    let (_, other_places) = layout.places().split_last().expect("a coded field");
    let plain_bits = match BITS {
        0 => layout.plain_bits,
        _ => BITS,
    };
    let steps = steps_of(output.len(), number);
    for first_step in (0..steps).step_by(BLOCKS) {
        let blocks = (steps - first_step).min(BLOCKS);
        let mut values = [[0; BLOCK]; BLOCKS];
        let mut words = [[[0; 8]; BLOCK / 8]; BLOCKS];
        for (block, (values, words)) in values.iter_mut().zip(&mut words).enumerate().take(blocks) {
            let first = first_weight(number, first_step + block);
            *values = in_order(group.eights(first_step + block));
            for (&place, others) in other_places.iter().zip(parts.values) {
                let others = others[first..]
                    .first_chunk()
                    .expect("values of whole steps");
                u8::add(place, others, values);
            }
            load_words::<u8, KIND>(plain_bits, plain.from(plain_bits * first / 8), words);
        }
        move_bits::<u8, KIND, BITS>(layout, words[..blocks].as_flattened_mut());
        for (block, (values, words)) in values.iter().zip(&words).enumerate().take(blocks) {
            let at = first_weight(number, first_step + block);
            let (values, _) = values.as_chunks();
            let rest = output.len() - at;
            if rest >= BLOCK {
                let (out, _) = output.part(at, BLOCK).as_chunks_mut();
                for ((out, value), word) in out.iter_mut().zip(values).zip(words) {
                    *out = joined(*word, *value).map(MaybeUninit::new);
                }
            } else {
                let mut last = [0; BLOCK];
                let (out, _) = last.as_chunks_mut();
                for ((out, value), word) in out.iter_mut().zip(values).zip(words) {
                    *out = joined(*word, *value);
                }
                output.put_slice(at, &last[..rest]);
            }
        }
    }
}

/// Same as `join_group`, for weights of one byte of which one field is coded. `pdep` is PDEP with
/// the mask of a word's plain bits.
#[inline(always)]
pub(super) fn join_bytes_with_pdep(
    layout: &Layout,
    plain: &PlainBytes<'_>,
    number: usize,
    group: &GroupValues<'_>,
    output: &mut Output<'_>,
    pdep: impl Fn(u64) -> u64,
) {
    let plain_bits = layout.plain_bits;
    assert!(plain_bits <= 8);
    for step in 0..steps_of(output.len(), number) {
        let at = first_weight(number, step);
        let plain = plain.from(plain_bits * at / 8);
        let mut weights = [0; 8];
        for (lane, (weights, values)) in weights.iter_mut().zip(group.eights(step)).enumerate() {
            let plain = u64::from_le_bytes(*first_eight(&plain[plain_bits * lane..]));
            *weights = pdep(plain) | values.swap_bytes();
        }
        let rest = output.len() - at;
        if rest >= BLOCK {
            let (out, _) = output.part(at, BLOCK).as_chunks_mut::<8>();
            for (out, weights) in out.iter_mut().zip(weights) {
                *out = weights.to_le_bytes().map(MaybeUninit::new);
            }
        } else {
            let weights = weights.map(u64::to_le_bytes);
            output.put_slice(at, &weights.as_flattened()[..rest]);
        }
    }
}

/// Number of the steps of a group that have any of so many weights.
fn steps_of(weights: usize, number: usize) -> usize {
    let rest = weights.saturating_sub(first_weight(number, 0));
    rest.div_ceil(STEP_WEIGHTS)
}

/// The weights with these plain bits and values, both at their places.
#[inline(always)]
fn joined(plain: [u8; 8], values: [u8; 8]) -> [u8; 8] {
    (u64::from_le_bytes(plain) | u64::from_le_bytes(values)).to_le_bytes()
}

#[inline(always)]
fn join_steps<T: Weight>(
    parts: &Parts<'_>,
    plain: &PlainBytes<'_>,
    number: usize,
    group: &GroupValues<'_>,
    output: &mut Output<'_>,
) {
    let (&place, others) = parts.layout.places().split_last().expect("a coded field");
    let count = output.len() / T::BYTES;
    let mut piece = [0; BLOCKS * BLOCK * MOST_BYTES];
    let mut values = [[0; BLOCK]; BLOCKS];
    let steps = steps_of(count, number);
    for first_step in (0..steps).step_by(BLOCKS) {
        let blocks = (steps - first_step).min(BLOCKS);
        let first = |block: usize| first_weight(number, first_step + block);
        for (block, values) in values[..blocks].iter_mut().enumerate() {
            *values = in_order(group.eights(first_step + block));
        }
        let piece = &mut piece[..blocks * BLOCK * T::BYTES];
        deposit::<T>(parts.layout, plain, piece, first);
        for (number, block) in piece.chunks_exact_mut(BLOCK * T::BYTES).enumerate() {
            let first = first(number);
            for (&place, values) in others.iter().zip(parts.values) {
                let values = values[first..]
                    .first_chunk()
                    .expect("values of whole steps");
                T::add(place, values, block);
            }
            finish::<T>(place, &values[number], first, block, output);
        }
    }
}

/// Writes a block with values of the last field. Its first weight is number `first`.
#[inline(always)]
fn finish<T: Weight>(
    place: Place,
    values: &[u8; BLOCK],
    first: usize,
    block: &mut [u8],
    output: &mut Output<'_>,
) {
    let at = T::BYTES * first;
    let rest = output.len() - at;
    if rest >= block.len() {
        T::write(place, values, block, output.part(at, block.len()));
    } else {
        T::add(place, values, block);
        output.put_slice(at, &block[..rest]);
    }
}

/// Writes the plain bits and the constants of blocks. `first` tells the first weight of each.
#[inline(always)]
fn deposit<T: Weight>(
    layout: &Layout,
    plain: &PlainBytes<'_>,
    piece: &mut [u8],
    first: impl Fn(usize) -> usize,
) {
    match layout.deposit_kind() {
        DepositKind::Nibbles => {
            deposit_of::<T, { DepositKind::Nibbles as u8 }>(layout, plain, piece, first)
        }
        DepositKind::Sparse => {
            deposit_of::<T, { DepositKind::Sparse as u8 }>(layout, plain, piece, first)
        }
        DepositKind::Dense => {
            deposit_of::<T, { DepositKind::Dense as u8 }>(layout, plain, piece, first)
        }
        DepositKind::Any => {
            deposit_of::<T, { DepositKind::Any as u8 }>(layout, plain, piece, first)
        }
    }
}

#[inline(always)]
fn deposit_of<T: Weight, const KIND: u8>(
    layout: &Layout,
    plain: &PlainBytes<'_>,
    piece: &mut [u8],
    first: impl Fn(usize) -> usize,
) {
    let plain_bits = layout.plain_bits;
    let (words, _) = piece.as_chunks_mut();
    for (block, words) in words.chunks_exact_mut(BLOCK * T::BYTES / 8).enumerate() {
        let plain = plain.from(plain_bits * first(block) / 8);
        load_words::<T, KIND>(plain_bits, plain, words);
    }
    move_bits::<T, KIND, 0>(layout, words);
}

/// Loads the plain bits of the words of a block. Nibbles are the lowest bits of each weight, others
/// those of each word. Other bits are above them.
#[inline(always)]
fn load_words<T: Weight, const KIND: u8>(
    plain_bits: usize,
    plain: &[u8; STEP_BYTES],
    words: &mut [[u8; 8]],
) {
    assert!(plain_bits <= 8 * T::BYTES);
    if KIND == DepositKind::Nibbles as u8 {
        return load_nibbles::<T>(plain, words);
    }
    let load = |at: usize| u64::from_le_bytes(*first_eight(&plain[at..]));
    match T::BYTES {
        1 => {
            for (number, word) in words.iter_mut().enumerate() {
                *word = load(plain_bits * number).to_le_bytes();
            }
        }
        2 if plain_bits <= 8 => {
            for (number, [low, high]) in words.as_chunks_mut().0.iter_mut().enumerate() {
                let both = load(plain_bits * number);
                *low = both.to_le_bytes();
                *high = (both >> (4 * plain_bits)).to_le_bytes();
            }
        }
        2 => {
            for (number, [low, high]) in words.as_chunks_mut().0.iter_mut().enumerate() {
                let start = plain_bits * number;
                *low = load(start).to_le_bytes();
                *high = (load(start + plain_bits / 2) >> (4 * (plain_bits % 2))).to_le_bytes();
            }
        }
        _ => {
            let bits = 8 / T::BYTES * plain_bits;
            for (number, word) in words.iter_mut().enumerate() {
                let bit = bits * number;
                let mut window = load(bit / 8) >> (bit % 8);
                if bits > 57 {
                    window |= u64::from(plain[bit / 8 + 8]) << 1 << (63 - bit % 8);
                }
                *word = window.to_le_bytes();
            }
        }
    }
}

/// Loads four plain bits of each weight of a block of weights of one or two bytes.
#[inline(always)]
fn load_nibbles<T: Weight>(plain: &[u8; STEP_BYTES], words: &mut [[u8; 8]]) {
    // Copies, which the compiler knows not to overlap.
    let plain: [u8; BLOCK / 2] = *plain.first_chunk().expect("a block is shorter than a step");
    let weights = words.as_flattened_mut();
    if T::BYTES == 1 {
        let mut pairs = [0; BLOCK / 2];
        for (pair, byte) in pairs.iter_mut().zip(plain) {
            *pair = u16::from(byte) | u16::from(byte) << 4;
        }
        for (weights, pair) in weights.as_chunks_mut().0.iter_mut().zip(pairs) {
            *weights = pair.to_le_bytes();
        }
    } else {
        let mut pairs = [0; BLOCK / 2];
        for (pair, byte) in pairs.iter_mut().zip(plain) {
            *pair = u32::from(byte) | u32::from(byte) << 12;
        }
        for (weights, pair) in weights.as_chunks_mut().0.iter_mut().zip(pairs) {
            *weights = pair.to_le_bytes();
        }
    }
}

#[inline(always)]
fn first_eight(bytes: &[u8]) -> &[u8; 8] {
    bytes.first_chunk().expect("a block is shorter than a step")
}

/// Moves loaded plain bits to their places, and adds the constants.
#[inline(always)]
fn move_bits<T: Weight, const KIND: u8, const BITS: usize>(layout: &Layout, words: &mut [[u8; 8]]) {
    if KIND == DepositKind::Nibbles as u8 {
        return move_nibbles::<T>(layout, words);
    }
    let deposit = layout.deposit;
    let constants = layout.constants;
    for word in words {
        let bits = u64::from_le_bytes(*word);
        let moved = match T::BYTES {
            1 => deposit.word::<3, KIND, BITS>(bits),
            2 => deposit.word::<2, KIND, BITS>(bits),
            4 => deposit.word::<1, KIND, BITS>(bits),
            _ => deposit.word::<0, KIND, BITS>(bits),
        };
        *word = (moved | constants).to_le_bytes();
    }
}

/// Same as `move_bits`, for four plain bits of each weight of one or two bytes.
#[inline(always)]
fn move_nibbles<T: Weight>(layout: &Layout, words: &mut [[u8; 8]]) {
    let nibbles = layout.nibbles.expect("the kind is that of nibbles");
    if T::BYTES == 1 {
        for word in words {
            let moved = nibbles.deposit_bytes(u64::from_le_bytes(*word));
            *word = (moved | layout.constants).to_le_bytes();
        }
    } else {
        let (places, constants) = (layout.plain_mask as u16, layout.constants as u16);
        for weight in words.as_flattened_mut().as_chunks_mut().0 {
            let moved = nibbles.deposit_half(u16::from_le_bytes(*weight)) & places;
            *weight = (moved | constants).to_le_bytes();
        }
    }
}
