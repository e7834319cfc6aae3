//! Fragment form: the order of a matrix for the tensor cores. The functions are pure;
//! `kernels/matmul/fragments.cu` does the same on the device.
//!
//! A matrix of `rows` x `columns` weights is divided into **row panels** of 16 rows (rows after the
//! last are zeros). A row panel is divided into **K tiles** of 64 columns, and a K tile into four
//! **MMA steps** of 16 columns. Lane 4g + t of a warp has the eight weights of each MMA step that
//! it passes to an `mma.sync.m16n8k16` (PTX ISA, "Matrix Fragments for mma.m16n8k16"). These are
//! four pairs, in this order: columns 2t and 2t + 1 of row g, the same of row g + 8, columns 2t + 8
//! and 2t + 9 of row g, the same of row g + 8.
//!
//! A weight takes 12 bits: its sign, the palette index of its exponent, and its mantissa. Four
//! pairs take three words. The first three pairs are in the tensor cores' layout, with indices in
//! the lowest bits of the exponents' fields, and one weight in each half of a word. The fourth pair
//! uses the four bits that each of the others leaves free:
//!
//! ```text
//!         15  14 13 12 11  10 9 8 7  6 ... 0
//! word 0 | S |  index     |  index  | mantissa |   free bits: the fourth weight's index
//! word 1 | S |  m6 ... m3 |  index  | mantissa |              its upper mantissa
//! word 2 | S | m2 m1 m0 S'|  index  | mantissa |              its lower mantissa
//! ```
//!
//! S' is the sign of the fourth pair's weight in the other half.
//!
//! A shift, or a rotation by 12 for word 2, moves each third of the fourth pair into position. A K
//! tile takes 1,536 bytes, which is three times 16 bytes for each lane:
//!
//! ```text
//! | word 0 of each step | word 1 of each step | word 2 of each step |
//! | lane 0 ... lane 31  | lane 0 ... lane 31  | lane 0 ... lane 31  |
//! ```
//!
//! A weight whose exponent is not in the palette has index 0 and a **patch**. A patch is a word:
//! `k_tile << 18 | lane << 13 | number << 8 | exponent`. The number of a lane's weight in a K tile
//! is 8 * step + 2 * pair + (1 if an odd column). Patches are in order of the row panel, then the K
//! tile, the number and the lane.

use unweight_format::Palette;

use crate::MatmulError;

/// Rows of a row panel.
pub const PANEL_ROWS: u64 = 16;
/// Columns of a K tile.
pub const K_TILE_COLUMNS: u64 = 64;
/// Size of a K tile in bytes.
pub const K_TILE_BYTES: u64 = 1536;

/// MMA steps of a K tile, and pairs of an MMA step.
const MMA_STEPS: usize = 4;
const STEP_PAIRS: usize = 4;
/// Weights of a lane in a K tile.
const LANE_WEIGHTS: usize = MMA_STEPS * 2 * STEP_PAIRS;
/// Size in bytes of the pieces that a K tile has of all lanes for one word: 16 for each lane.
const PIECES_BYTES: usize = 512;

/// Positions of a patch's fields; the exponent is in the lowest bits.
const PATCH_K_TILE_SHIFT: u32 = 18;
const PATCH_LANE_SHIFT: u32 = 13;
const PATCH_WEIGHT_SHIFT: u32 = 8;

/// The most K tiles of a row panel. A patch has 14 bits for the K tile, and all ones mean no patch.
const MOST_K_TILES: u64 = (1 << 14) - 1;
/// The most K tiles and rows of a matrix. Launches number them with 32 bits.
const MOST_K_TILES_IN_ALL: u64 = 1 << 31;
const MOST_ROWS: u64 = 1 << 30;

/// The shape of a matrix that has a fragment form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    rows: u64,
    columns: u64,
}

impl Shape {
    /// The shape of a matrix with `rows` outputs and `columns` inputs.
    ///
    /// # Errors
    /// [`MatmulError::NoFragmentForm`] unless it has 1 to 2^30 rows, 64 to 1,048,512 columns (a
    /// multiple of 64), and at most 2^41 weights.
    pub fn new(rows: u64, columns: u64) -> Result<Shape, MatmulError> {
        let k_tiles = columns / K_TILE_COLUMNS;
        let in_all = rows.div_ceil(PANEL_ROWS).saturating_mul(k_tiles.max(1));
        let fits = (1..=MOST_ROWS).contains(&rows)
            && columns.is_multiple_of(K_TILE_COLUMNS)
            && (1..=MOST_K_TILES).contains(&k_tiles)
            && in_all <= MOST_K_TILES_IN_ALL;
        if fits {
            Ok(Shape { rows, columns })
        } else {
            Err(MatmulError::NoFragmentForm { rows, columns })
        }
    }

    /// The number of rows.
    pub const fn rows(self) -> u64 {
        self.rows
    }

    /// The number of columns.
    pub const fn columns(self) -> u64 {
        self.columns
    }

    /// The number of weights.
    pub const fn weights(self) -> u64 {
        self.rows * self.columns
    }

    /// The number of row panels.
    pub const fn panels(self) -> u64 {
        self.rows.div_ceil(PANEL_ROWS)
    }

    /// The number of K tiles in a row panel.
    pub const fn k_tiles(self) -> u64 {
        self.columns / K_TILE_COLUMNS
    }

    /// Size of all K tiles in bytes.
    pub const fn k_tile_bytes(self) -> u64 {
        self.panels() * self.k_tiles() * K_TILE_BYTES
    }
}

/// A matrix in fragment form, in host memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arranged {
    /// The K tiles, by row panel, then by columns.
    pub k_tiles: Vec<u8>,
    /// The patches of all row panels.
    pub patches: Vec<u32>,
    /// The end of each row panel's patches.
    pub patch_ends: Vec<u32>,
}

/// The row and the column in the matrix of weight `number` among a lane's 32.
fn position_of(panel: u64, k_tile: u64, lane: usize, number: usize) -> (u64, u64) {
    let (step, pair, odd) = (number / 8, number % 8 / 2, number % 2);
    let row = lane / 4 + 8 * (pair % 2);
    let column = 16 * step + 8 * (pair / 2) + 2 * (lane % 4) + odd;
    (
        panel * PANEL_ROWS + row as u64,
        k_tile * K_TILE_COLUMNS + column as u64,
    )
}

/// The offset in a K tile of word `word` of a lane's MMA step.
const fn word_of(lane: usize, step: usize, word: usize) -> usize {
    word * PIECES_BYTES + lane * 16 + step * 4
}

/// Masks of the fourth pair's thirds: the index, the upper mantissa, and the lower mantissa with
/// the sign.
const THIRDS: [u32; 3] = [0x0780_0780, 0x0078_0078, 0x8007_8007];
/// Mask of the bits that a pair of 12-bit weights takes.
const PAIR_BITS: u32 = 0x87ff_87ff;

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
    let fourth = [words[0] >> 4, words[1] >> 8, words[2].rotate_right(12)];
    let fourth = fourth.iter().zip(THIRDS).map(|(word, bits)| word & bits);
    [first, second, third, fourth.sum()]
}

/// Converts a row-major matrix to fragment form. `palette` is one of exponents: of a field of 8
/// bits.
///
/// # Panics
/// If the length of `weights` does not match the shape.
pub fn arrange(weights: &[u16], shape: Shape, palette: &Palette) -> Arranged {
    assert_eq!(weights.len() as u64, shape.weights());
    let mut k_tiles = Vec::with_capacity(shape.k_tile_bytes() as usize);
    let (mut patches, mut patch_ends) = (vec![], vec![]);
    for panel in 0..shape.panels() {
        for k_tile in 0..shape.k_tiles() {
            let mut pairs = [[[0u32; STEP_PAIRS]; MMA_STEPS]; 32];
            for number in 0..LANE_WEIGHTS {
                for (lane, pairs) in pairs.iter_mut().enumerate() {
                    let (row, column) = position_of(panel, k_tile, lane, number);
                    if row >= shape.rows {
                        continue;
                    }
                    let weight = weights[(row * shape.columns + column) as usize];
                    let exponent = (weight >> 7) as u8;
                    let index = palette.index_of(exponent);
                    if index.is_none() {
                        patches.push(
                            (k_tile as u32) << PATCH_K_TILE_SHIFT
                                | (lane as u32) << PATCH_LANE_SHIFT
                                | (number as u32) << PATCH_WEIGHT_SHIFT
                                | u32::from(exponent),
                        );
                    }
                    let bits = u32::from(weight & 0x807f) | (index.unwrap_or(0) as u32) << 7;
                    pairs[number / 8][number % 8 / 2] |= bits << (16 * (number % 2));
                }
            }
            let mut bytes = [0; K_TILE_BYTES as usize];
            for (lane, pairs) in pairs.into_iter().enumerate() {
                for (step, pairs) in pairs.into_iter().enumerate() {
                    for (word_number, word) in pack(pairs).into_iter().enumerate() {
                        bytes[word_of(lane, step, word_number)..][..4]
                            .copy_from_slice(&word.to_le_bytes());
                    }
                }
            }
            k_tiles.extend(bytes);
        }
        patch_ends.push(patches.len() as u32);
    }
    Arranged {
        k_tiles,
        patches,
        patch_ends,
    }
}

/// Restores the matrix that [`arrange`] was given.
///
/// # Panics
/// If `arranged` is not a result of [`arrange`] for this shape.
pub fn restore(arranged: &Arranged, shape: Shape, palette: &Palette) -> Vec<u16> {
    let mut weights = vec![0; shape.weights() as usize];
    let mut set = |(row, column), exponent: u8, bits: u32| {
        if row < shape.rows {
            weights[(row * shape.columns + column) as usize] =
                u16::from(exponent) << 7 | bits as u16 & 0x807f;
        }
    };
    let mut patches = arranged.patches.as_slice();
    let mut before = 0;
    for (panel, &end) in (0..).zip(&arranged.patch_ends) {
        // Unpacks weight `number` of a lane into sign, index and mantissa.
        let bits_of = |k_tile: u64, lane: usize, number: usize| {
            let start = (panel * shape.k_tiles() + k_tile) * K_TILE_BYTES;
            let k_tile = &arranged.k_tiles[start as usize..][..K_TILE_BYTES as usize];
            let words = std::array::from_fn(|word| {
                let bytes = &k_tile[word_of(lane, number / 8, word)..][..4];
                u32::from_le_bytes(bytes.try_into().expect("4"))
            });
            unpack(words)[number % 8 / 2] >> (16 * (number % 2))
        };
        for k_tile in 0..shape.k_tiles() {
            for number in 0..LANE_WEIGHTS {
                for lane in 0..32 {
                    let bits = bits_of(k_tile, lane, number);
                    let exponent = palette.padded()[(bits >> 7 & 15) as usize];
                    set(position_of(panel, k_tile, lane, number), exponent, bits);
                }
            }
        }
        let (own, others) = patches.split_at((end - before) as usize);
        for &patch in own {
            let k_tile = u64::from(patch >> PATCH_K_TILE_SHIFT);
            let lane = (patch >> PATCH_LANE_SHIFT & 31) as usize;
            let number = (patch >> PATCH_WEIGHT_SHIFT & 31) as usize;
            let at = position_of(panel, k_tile, lane, number);
            set(at, patch as u8, bits_of(k_tile, lane, number));
        }
        (patches, before) = (others, end);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette_from(first: u8) -> Palette {
        Palette::new(8, std::array::from_fn(|i| first + i as u8)).unwrap()
    }

    /// All bit patterns, in an order without similar neighbours.
    fn all_patterns(weights: u64) -> Vec<u16> {
        (0..weights).map(|i| (i * 40_503 % 65_536) as u16).collect()
    }

    #[test]
    fn every_pattern_comes_back_from_every_shape() {
        let spread = Palette::new(8, std::array::from_fn(|i| 17 * i as u8)).unwrap();
        for (rows, columns) in [
            (1, 64),
            (15, 64),
            (16, 128),
            (17, 192),
            (1024, 64),
            (33, 4096),
        ] {
            let shape = Shape::new(rows, columns).unwrap();
            for palette in [palette_from(0), palette_from(240), spread] {
                let weights = all_patterns(shape.weights());
                let arranged = arrange(&weights, shape, &palette);
                assert_eq!(arranged.k_tiles.len() as u64, shape.k_tile_bytes());
                assert_eq!(restore(&arranged, shape, &palette), weights);
            }
        }
    }

    #[test]
    fn a_k_tile_is_laid_out_as_documented() {
        let shape = Shape::new(16, 64).unwrap();
        let palette = palette_from(100);
        let mut weights = vec![100 << 7; 1024];
        // Row 9 = 1 + 8, column 43 = 2 * 16 + 8 + 2 * 1 + 1: lane 4 * 1 + 1, step 2, pair 3, odd
        // column.
        weights[9 * 64 + 43] = 0x8000 | 107 << 7 | 0x55;
        // Row 1 and the same column: pair 2.
        weights[64 + 43] = 103 << 7 | 0x2a;
        // The even column before it has an exponent that the palette lacks.
        weights[64 + 42] = 0x8000 | 200 << 7 | 1;
        let arranged = arrange(&weights, shape, &palette);
        let word = |part: usize| {
            let at = part * 512 + 5 * 16 + 2 * 4;
            u32::from_le_bytes(arranged.k_tiles[at..at + 4].try_into().unwrap())
        };
        // The upper half has, of the fourth pair's odd weight, the index and the parts 1010 and 101
        // of the mantissa 1010101. The lower half has its sign.
        assert_eq!(word(0), 7 << (16 + 11));
        assert_eq!(word(1), 0b1010 << (16 + 11));
        let third = (3 << 7 | 0x2a) << 16 | 0x8001;
        assert_eq!(word(2), 0b101 << (16 + 12) | 1 << 11 | third);
        assert_eq!(arranged.patches, [5 << 13 | (16 + 4) << 8 | 200]);
        assert_eq!(arranged.patch_ends, [1]);
    }

    #[test]
    fn shapes_without_a_fragment_form_are_errors() {
        for (rows, columns) in [
            (0, 64),
            (1, 0),
            (1, 63),
            (1, 65),
            (1, 1 << 20),
            ((1 << 30) + 1, 64),
            (1 << 30, 4096),
            (u64::MAX, 64),
        ] {
            assert!(matches!(
                Shape::new(rows, columns),
                Err(MatmulError::NoFragmentForm { .. })
            ));
        }
        assert!(Shape::new(1, (1 << 20) - 64).is_ok());
    }
}
