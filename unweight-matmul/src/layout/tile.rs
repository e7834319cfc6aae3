//! K tiles: the words of all lanes, and the pairs of weights in them.
//!
//! A pair is a word with one weight in each half, the even column in the lower one. `pairs[p][i]`
//! is pair `p` of MMA step `i % 4` of lane `i / 4`: the order of a K tile's words.

use super::K_TILE_BYTES;

/// MMA steps of all lanes.
const STEPS: usize = 128;
/// Pairs of an MMA step.
const STEP_PAIRS: usize = 4;
/// Bytes of a K tile that have one word of each MMA step.
const WORD_BYTES: usize = 512;

/// The four pairs of each MMA step.
pub(super) type Pairs = [[u32; STEPS]; STEP_PAIRS];
/// The pairs of a K tile by row and column.
pub(super) type Rows = [[u32; 32]; 16];

/// Masks of the fourth pair's thirds: the index, the upper mantissa, and the lower mantissa with
/// the sign.
const THIRDS: [u32; 3] = [0x0780_0780, 0x0078_0078, 0x8007_8007];
/// Mask of the bits that a pair of 12-bit weights takes.
pub(super) const PAIR_BITS: u32 = 0x87ff_87ff;

/// Packs four pairs of signs, indices and mantissas into three words.
fn pack([first, second, third, fourth]: [u32; STEP_PAIRS]) -> [u32; 3] {
    [
        first | (fourth & THIRDS[0]) << 4,
        second | (fourth & THIRDS[1]) << 8,
        third | (fourth & THIRDS[2]).rotate_left(12),
    ]
}

fn unpack(words: [u32; 3]) -> [u32; STEP_PAIRS] {
    let [first, second, third] = words.map(|word| word & PAIR_BITS);
    let fourth = words[0] >> 4 & THIRDS[0]
        | words[1] >> 8 & THIRDS[1]
        | words[2].rotate_right(12) & THIRDS[2];
    [first, second, third, fourth]
}

/// Writes the K tile of these pairs of signs, indices and mantissas.
pub(super) fn write(pairs: &Pairs, k_tile: &mut [u8; K_TILE_BYTES as usize]) {
    let (words, _) = k_tile.as_chunks_mut::<4>();
    let (first, rest) = words.split_at_mut(STEPS);
    let (second, third) = rest.split_at_mut(STEPS);
    for step in 0..STEPS {
        let packed = pack(pairs.each_ref().map(|pairs| pairs[step]));
        first[step] = packed[0].to_le_bytes();
        second[step] = packed[1].to_le_bytes();
        third[step] = packed[2].to_le_bytes();
    }
}

/// The pairs of signs, indices and mantissas of a K tile.
pub(super) fn read(k_tile: &[u8; K_TILE_BYTES as usize]) -> Pairs {
    let mut pairs = [[0; STEPS]; STEP_PAIRS];
    let (words, _) = k_tile.as_chunks::<4>();
    for step in 0..STEPS {
        let of = |word| u32::from_le_bytes(words[word * WORD_BYTES / 4 + step]);
        let unpacked = unpack([of(0), of(1), of(2)]);
        for (pairs, pair) in pairs.iter_mut().zip(unpacked) {
            pairs[step] = pair;
        }
    }
    pairs
}

/// Reorders pairs by row and column.
pub(super) fn to_rows(pairs: &Pairs) -> Rows {
    let mut rows = [[0; 32]; 16];
    for (pair, pairs) in pairs.iter().enumerate() {
        let (first_row, first) = (8 * (pair % 2), 4 * (pair / 2));
        for (row, steps) in rows[first_row..][..8].iter_mut().zip(pairs.as_chunks().0) {
            let steps: &[u32; 16] = steps;
            for step in 0..4 {
                for thread in 0..4 {
                    row[8 * step + first + thread] = steps[4 * thread + step];
                }
            }
        }
    }
    rows
}

/// Reorders pairs by MMA step: the inverse of [`to_rows`].
pub(super) fn to_steps(rows: &Rows) -> Pairs {
    let mut pairs = [[0; STEPS]; STEP_PAIRS];
    for (pair, pairs) in pairs.iter_mut().enumerate() {
        let (first_row, first) = (8 * (pair % 2), 4 * (pair / 2));
        for (row, steps) in rows[first_row..][..8].iter().zip(pairs.as_chunks_mut().0) {
            let steps: &mut [u32; 16] = steps;
            for step in 0..4 {
                for thread in 0..4 {
                    steps[4 * thread + step] = row[8 * step + first + thread];
                }
            }
        }
    }
    pairs
}
