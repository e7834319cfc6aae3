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

mod arrange;
mod checked;
mod palette;
mod tile;

use unweight_format::Palette;

pub use arrange::{PanelPatches, arrange_panels};
pub use checked::{ArrangedRef, BadArranged, check_tables};
pub use palette::{most_frequent, patch_count};

use crate::MatmulError;
use crate::exponent_tables::ExponentTables;

/// Rows of a row panel.
pub const PANEL_ROWS: u64 = 16;
/// Columns of a K tile.
pub const K_TILE_COLUMNS: u64 = 64;
/// Size of a K tile in bytes.
pub const K_TILE_BYTES: u64 = 1536;

/// The smallest number of weights for each patch. A patch takes 4 bytes and some ten instructions,
/// so a matrix with more patches is not worth converting to fragment form.
const WEIGHTS_PER_PATCH: u64 = 16;

/// Weights of a lane in a K tile.
const LANE_WEIGHTS: usize = 32;

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

    /// Returns an error for a matrix that has too many patches to be worth fragment form.
    ///
    /// # Errors
    /// [`MatmulError::TooManyPatches`] if more than one weight in 16 has a patch, or 32 bits do not
    /// count the patches.
    pub fn require_few_patches(self, patches: u64) -> Result<(), MatmulError> {
        let weights = self.weights();
        match patches <= weights / WEIGHTS_PER_PATCH && patches <= u32::MAX.into() {
            true => Ok(()),
            false => Err(MatmulError::TooManyPatches { patches, weights }),
        }
    }

    /// The bytes that a matrix takes in device memory in fragment form if its exponents have these
    /// counts. None if it has too many patches. [`Fragments::bytes`](crate::Fragments::bytes) is
    /// that of one in memory.
    pub fn fragments_bytes(self, exponents: &[u64; 256]) -> Option<u64> {
        let palette = most_frequent(exponents);
        let patches = patch_count(exponents, &palette);
        self.require_few_patches(patches).ok()?;
        Some(self.k_tile_bytes() + ExponentTables::bytes_of(&palette, patches, self.panels()))
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

/// Converts a row-major matrix to fragment form, on the caller's thread. `palette` is one of
/// exponents: of a field of 8 bits.
///
/// # Panics
/// If the length of `weights` does not match the shape.
pub fn arrange(weights: &[u16], shape: Shape, palette: &Palette) -> Arranged {
    assert_eq!(weights.len() as u64, shape.weights());
    let mut k_tiles = vec![0; shape.k_tile_bytes() as usize];
    let PanelPatches { patches, counts } =
        arrange_panels(weights, shape.columns, palette, &mut k_tiles);
    let ends = counts.into_iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    Arranged {
        k_tiles,
        patches,
        patch_ends: ends.collect(),
    }
}

/// Restores the matrix that [`arrange`] was given, on the caller's thread.
///
/// # Panics
/// If `arranged` is not a result of [`arrange`] for this shape.
pub fn restore(arranged: &Arranged, shape: Shape, palette: &Palette) -> Vec<u16> {
    let Arranged {
        k_tiles,
        patches,
        patch_ends,
    } = arranged;
    let checked = match ArrangedRef::new(shape, *palette, k_tiles, patches, patch_ends) {
        Ok(checked) => checked,
        Err(error) => panic!("{error}"),
    };
    let mut weights = vec![0; shape.weights() as usize];
    checked.restore_panels(0..shape.panels(), &mut weights);
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

    /// Weight by weight, as the head of the module says.
    fn arranged_weight_by_weight(weights: &[u16], shape: Shape, palette: &Palette) -> Arranged {
        let mut k_tiles = vec![0; shape.k_tile_bytes() as usize];
        let (mut patches, mut patch_ends) = (vec![], vec![]);
        for panel in 0..shape.panels() {
            for k_tile in 0..shape.k_tiles() {
                let start = (panel * shape.k_tiles() + k_tile) * K_TILE_BYTES;
                let bytes = &mut k_tiles[start as usize..][..K_TILE_BYTES as usize];
                for number in 0..LANE_WEIGHTS {
                    for lane in 0..32 {
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
                        let index = index.unwrap_or(0) as u32;
                        let (sign, mantissa) = (u32::from(weight >> 15), u32::from(weight & 0x7f));
                        let (step, pair, half) = (number / 8, number % 8 / 2, 16 * (number % 2));
                        let words = match pair {
                            0..3 => vec![(pair, (sign << 15 | index << 7 | mantissa) << half)],
                            _ => vec![
                                (0, index << (half + 11)),
                                (1, mantissa >> 3 << (half + 11)),
                                // The sign is in the other half.
                                (2, (mantissa & 7) << (half + 12) | sign << (27 - half)),
                            ],
                        };
                        for (word, bits) in words {
                            let at = 512 * word + 16 * lane + 4 * step;
                            let old = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                            bytes[at..at + 4].copy_from_slice(&(old | bits).to_le_bytes());
                        }
                    }
                }
            }
            patch_ends.push(patches.len() as u32);
        }
        Arranged {
            k_tiles,
            patches,
            patch_ends,
        }
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
                assert_eq!(
                    arranged,
                    arranged_weight_by_weight(&weights, shape, &palette)
                );
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
