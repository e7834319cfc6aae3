//! Conversion of row panels to fragment form.

use unweight_format::Palette;

use super::tile::{self, PAIR_BITS, Pairs, Rows};
use super::{
    K_TILE_BYTES, K_TILE_COLUMNS, LANE_WEIGHTS, PANEL_ROWS, PATCH_K_TILE_SHIFT, PATCH_LANE_SHIFT,
    PATCH_WEIGHT_SHIFT, position_of,
};

/// A bit that no pair of 12-bit weights has: the palette lacks the exponent.
const LACKING: u16 = 0x4000;

/// Patches of consecutive row panels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PanelPatches {
    /// The patches.
    pub patches: Vec<u32>,
    /// The number of patches of each row panel.
    pub counts: Vec<u32>,
}

/// Converts consecutive row panels to fragment form. Threads may convert different row panels of a
/// matrix.
///
/// `weights` are the rows of these row panels, of `columns` weights each. Only the last row panel of
/// a matrix may have fewer than 16 rows. `k_tiles` gets their K tiles.
///
/// # Panics
/// If the lengths do not match, or `palette` is not one of exponents (a field of 8 bits).
pub fn arrange_panels(
    weights: &[u16],
    columns: u64,
    palette: &Palette,
    k_tiles: &mut [u8],
) -> PanelPatches {
    assert_eq!(palette.width(), u8::BITS);
    assert!(columns > 0 && columns.is_multiple_of(K_TILE_COLUMNS));
    assert!((weights.len() as u64).is_multiple_of(columns));
    let panel_weights = (PANEL_ROWS * columns) as usize;
    let panel_bytes = (columns / K_TILE_COLUMNS * K_TILE_BYTES) as usize;
    let panels = weights.len().div_ceil(panel_weights);
    assert_eq!(k_tiles.len(), panels * panel_bytes);

    let indices = indices(palette);
    let mut done = PanelPatches::default();
    for (weights, k_tiles) in weights
        .chunks(panel_weights)
        .zip(k_tiles.chunks_exact_mut(panel_bytes))
    {
        let before = done.patches.len();
        let (k_tiles, _) = k_tiles.as_chunks_mut();
        for (k_tile, bytes) in k_tiles.iter_mut().enumerate() {
            let rows = rows(weights, columns as usize, k_tile);
            let mut pairs = tile::to_steps(&rows);
            if index(&mut pairs, &indices) {
                let row_count = weights.len() / columns as usize;
                push_patches(&mut done.patches, &rows, row_count, k_tile, &indices);
            }
            tile::write(&pairs, bytes);
        }
        done.counts.push((done.patches.len() - before) as u32);
    }
    done
}

/// The field of the palette index for each exponent, or [`LACKING`].
fn indices(palette: &Palette) -> [u16; 256] {
    let mut indices = [LACKING; 256];
    for (index, &exponent) in (0..).zip(palette.values()) {
        indices[usize::from(exponent)] = index << 7;
    }
    indices
}

/// The weights of a K tile; zeros in rows after the last.
fn rows(weights: &[u16], columns: usize, k_tile: usize) -> Rows {
    let mut rows = Rows::default();
    for (row, weights) in rows.iter_mut().zip(weights.chunks_exact(columns)) {
        let weights = &weights[k_tile * K_TILE_COLUMNS as usize..][..K_TILE_COLUMNS as usize];
        for (pair, &[even, odd]) in row.iter_mut().zip(weights.as_chunks().0) {
            *pair = u32::from(even) | u32::from(odd) << 16;
        }
    }
    rows
}

/// Replaces exponents by their palette indices. Returns whether the palette lacks some, which may
/// be those of rows after the last.
fn index(pairs: &mut Pairs, indices: &[u16; 256]) -> bool {
    let mut found = 0;
    for pair in pairs.as_flattened_mut() {
        let even = indices[usize::from((*pair >> 7) as u8)];
        let odd = indices[usize::from((*pair >> 23) as u8)];
        let both = u32::from(even) | u32::from(odd) << 16;
        found |= both;
        *pair = *pair & 0x807f_807f | both & PAIR_BITS;
    }
    found & !PAIR_BITS != 0
}

/// Adds the patches of a K tile with `row_count` rows.
#[cold]
fn push_patches(
    patches: &mut Vec<u32>,
    rows: &Rows,
    row_count: usize,
    k_tile: usize,
    indices: &[u16; 256],
) {
    for number in 0..LANE_WEIGHTS {
        for lane in 0..32 {
            let (row, column) = position_of(0, 0, lane, number);
            let (row, column) = (row as usize, column as usize);
            let exponent = (rows[row][column / 2] >> (7 + 16 * (column % 2))) as u8;
            if row < row_count && indices[usize::from(exponent)] == LACKING {
                patches.push(
                    (k_tile as u32) << PATCH_K_TILE_SHIFT
                        | (lane as u32) << PATCH_LANE_SHIFT
                        | (number as u32) << PATCH_WEIGHT_SHIFT
                        | u32::from(exponent),
                );
            }
        }
    }
}
