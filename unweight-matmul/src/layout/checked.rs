//! Matrices in fragment form that were checked, and their restoration.

use std::fmt;
use std::ops::Range;

use unweight_format::Palette;

use super::tile::{self, Pairs};
use super::{
    K_TILE_BYTES, K_TILE_COLUMNS, PANEL_ROWS, PATCH_K_TILE_SHIFT, PATCH_LANE_SHIFT,
    PATCH_WEIGHT_SHIFT, Shape, position_of,
};

/// Why memory is not a matrix in fragment form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadArranged {
    /// The palette is not one of exponents: it is of a field of this many bits.
    PaletteWidth(u32),
    /// The K tiles have another length in bytes than the shape.
    KTileBytes {
        /// The length.
        found: u64,
        /// The length that the shape needs.
        expected: u64,
    },
    /// There is not one end of patches for each row panel.
    PatchEnds {
        /// The number of ends.
        found: u64,
        /// The number of row panels.
        expected: u64,
    },
    /// The end of a row panel's patches is below the one before it, or above their number.
    PatchEnd {
        /// The row panel.
        panel: u64,
        /// Its end.
        end: u32,
    },
    /// There are patches behind the end of the last row panel.
    PatchesBehindTheEnd {
        /// The number of patches.
        found: u64,
        /// The last end.
        expected: u64,
    },
    /// A patch is of no weight of its row panel.
    PatchOutside {
        /// The row panel.
        panel: u64,
        /// The patch.
        patch: u32,
    },
    /// A patch is not behind the one before it, in the order of the K tile, the number and the lane.
    PatchOrder {
        /// The row panel.
        panel: u64,
        /// The patch.
        patch: u32,
    },
}

impl fmt::Display for BadArranged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadArranged::PaletteWidth(width) => {
                write!(
                    f,
                    "found a palette of {width} bits, expected one of exponents (8 bits)"
                )
            }
            BadArranged::KTileBytes { found, expected } => {
                write!(
                    f,
                    "found {found} bytes of K tiles, the shape needs {expected}"
                )
            }
            BadArranged::PatchEnds { found, expected } => {
                write!(
                    f,
                    "found {found} ends of patches, expected one for each of {expected} row panels"
                )
            }
            BadArranged::PatchEnd { panel, end } => write!(
                f,
                "the patches of row panel {panel} end at {end}, expected an end from that of the panel before to the number of patches"
            ),
            BadArranged::PatchesBehindTheEnd { found, expected } => {
                write!(
                    f,
                    "found {found} patches, expected {expected}, the end of the last row panel"
                )
            }
            BadArranged::PatchOutside { panel, patch } => {
                write!(
                    f,
                    "patch {patch:#010x} of row panel {panel} is of no weight of the matrix"
                )
            }
            BadArranged::PatchOrder { panel, patch } => {
                write!(
                    f,
                    "patch {patch:#010x} of row panel {panel} is out of order"
                )
            }
        }
    }
}

impl std::error::Error for BadArranged {}

/// Checks all of a matrix but its K tiles, whose every value is valid.
///
/// # Errors
/// What is wrong with the palette, an end or a patch.
pub fn check_tables(
    shape: Shape,
    palette: &Palette,
    patches: &[u32],
    patch_ends: &[u32],
) -> Result<(), BadArranged> {
    if palette.width() != u8::BITS {
        return Err(BadArranged::PaletteWidth(palette.width()));
    }
    let (found, expected) = (patch_ends.len() as u64, shape.panels());
    if found != expected {
        return Err(BadArranged::PatchEnds { found, expected });
    }
    let mut before = 0;
    for (panel, &end) in (0..).zip(patch_ends) {
        let of_panel = patches
            .get(before as usize..end as usize)
            .ok_or(BadArranged::PatchEnd { panel, end })?;
        check_patches(shape, panel, of_panel)?;
        before = end;
    }
    let (found, expected) = (patches.len() as u64, u64::from(before));
    if found != expected {
        return Err(BadArranged::PatchesBehindTheEnd { found, expected });
    }
    Ok(())
}

/// A matrix in fragment form, in host memory, that was checked.
#[derive(Clone, Copy, Debug)]
pub struct ArrangedRef<'a> {
    shape: Shape,
    palette: Palette,
    k_tiles: &'a [u8],
    patches: &'a [u32],
    patch_ends: &'a [u32],
}

impl<'a> ArrangedRef<'a> {
    /// The matrix in this memory: the fields of [`Arranged`](super::Arranged). Every value of K
    /// tiles is valid.
    ///
    /// # Errors
    /// What is wrong with a length, an end or a patch.
    pub fn new(
        shape: Shape,
        palette: Palette,
        k_tiles: &'a [u8],
        patches: &'a [u32],
        patch_ends: &'a [u32],
    ) -> Result<ArrangedRef<'a>, BadArranged> {
        let (found, expected) = (k_tiles.len() as u64, shape.k_tile_bytes());
        if found != expected {
            return Err(BadArranged::KTileBytes { found, expected });
        }
        check_tables(shape, &palette, patches, patch_ends)?;
        Ok(ArrangedRef {
            shape,
            palette,
            k_tiles,
            patches,
            patch_ends,
        })
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Restores the rows of some row panels. Threads may restore different row panels.
    ///
    /// # Panics
    /// If the matrix lacks some of the row panels, or `weights` has another length than their rows.
    pub fn restore_panels(&self, panels: Range<u64>, weights: &mut [u16]) {
        let shape = self.shape;
        assert!(panels.start <= panels.end && panels.end <= shape.panels());
        let row_of = |panel: u64| (panel * PANEL_ROWS).min(shape.rows());
        let rows = row_of(panels.end) - row_of(panels.start);
        assert_eq!(weights.len() as u64, rows * shape.columns());

        let columns = shape.columns() as usize;
        let panel_bytes = (shape.k_tiles() * K_TILE_BYTES) as usize;
        for (panel, weights) in panels.zip(weights.chunks_mut(PANEL_ROWS as usize * columns)) {
            let (k_tiles, _) =
                self.k_tiles[panel as usize * panel_bytes..][..panel_bytes].as_chunks();
            for (k_tile, bytes) in k_tiles.iter().enumerate() {
                let mut pairs = tile::read(bytes);
                expand(&mut pairs, &self.palette);
                let rows = tile::to_rows(&pairs);
                for (row, weights) in rows.iter().zip(weights.chunks_exact_mut(columns)) {
                    let at = k_tile * K_TILE_COLUMNS as usize;
                    let (weights, _) = weights[at..][..K_TILE_COLUMNS as usize].as_chunks_mut();
                    for (weights, &pair) in weights.iter_mut().zip(row) {
                        *weights = [pair as u16, (pair >> 16) as u16];
                    }
                }
            }
            for &patch in self.patches_of(panel) {
                let (k_tile, lane, number) = fields(patch);
                let (row, column) = position_of(0, k_tile, lane, number);
                let weight = &mut weights[row as usize * columns + column as usize];
                *weight = *weight & 0x807f | u16::from(patch as u8) << 7;
            }
        }
    }

    fn patches_of(&self, panel: u64) -> &'a [u32] {
        let panel = panel as usize;
        let start = panel
            .checked_sub(1)
            .map_or(0, |before| self.patch_ends[before]);
        &self.patches[start as usize..self.patch_ends[panel] as usize]
    }
}

/// The K tile, the lane and the number of a patch's weight.
fn fields(patch: u32) -> (u64, usize, usize) {
    (
        u64::from(patch >> PATCH_K_TILE_SHIFT),
        (patch >> PATCH_LANE_SHIFT & 31) as usize,
        (patch >> PATCH_WEIGHT_SHIFT & 31) as usize,
    )
}

fn check_patches(shape: Shape, panel: u64, patches: &[u32]) -> Result<(), BadArranged> {
    let mut before = None;
    for &patch in patches {
        let (k_tile, lane, number) = fields(patch);
        let (row, _) = position_of(panel, k_tile, lane, number);
        if k_tile >= shape.k_tiles() || row >= shape.rows() {
            return Err(BadArranged::PatchOutside { panel, patch });
        }
        let place = Some((k_tile, number, lane));
        if place <= before {
            return Err(BadArranged::PatchOrder { panel, patch });
        }
        before = place;
    }
    Ok(())
}

/// Replaces palette indices by exponents.
fn expand(pairs: &mut Pairs, palette: &Palette) {
    match palette.base() {
        // An index and the base are at most 255 together, so nothing is carried into the sign.
        Some(base) => {
            let base = u32::from(base) << 7;
            for pair in pairs.as_flattened_mut() {
                *pair += base | base << 16;
            }
        }
        None => {
            let exponents = palette.padded().map(|exponent| u32::from(exponent) << 7);
            for pair in pairs.as_flattened_mut() {
                let even = exponents[(*pair >> 7 & 15) as usize];
                let odd = exponents[(*pair >> 23 & 15) as usize];
                *pair = *pair & 0x807f_807f | even | odd << 16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Arranged, arrange};

    /// 20 rows, two K tiles, and an exponent without a palette index in each row panel.
    fn arranged() -> (Shape, Palette, Arranged) {
        let shape = Shape::new(20, 128).unwrap();
        let palette = Palette::new(8, std::array::from_fn(|i| 100 + i as u8)).unwrap();
        let mut weights = vec![100 << 7; 20 * 128];
        for at in [0, 1, 70, 17 * 128] {
            weights[at] = 200 << 7;
        }
        (shape, palette, arrange(&weights, shape, &palette))
    }

    /// The error after a change.
    fn error_after(change: impl FnOnce(&mut Arranged)) -> BadArranged {
        let (shape, palette, mut arranged) = arranged();
        assert_eq!(arranged.patch_ends, [3, 4]);
        change(&mut arranged);
        let Arranged {
            k_tiles,
            patches,
            patch_ends,
        } = &arranged;
        ArrangedRef::new(shape, palette, k_tiles, patches, patch_ends).unwrap_err()
    }

    #[test]
    fn rejects_lengths_of_another_shape() {
        let found = error_after(|of| of.k_tiles.truncate(100));
        let expected = 2 * 2 * K_TILE_BYTES;
        assert_eq!(
            found,
            BadArranged::KTileBytes {
                found: 100,
                expected
            }
        );
        let found = error_after(|of| of.patch_ends.push(4));
        assert_eq!(
            found,
            BadArranged::PatchEnds {
                found: 3,
                expected: 2
            }
        );
    }

    #[test]
    fn rejects_ends_of_no_patches() {
        for (panel, end) in [(0, 5), (1, 2), (1, 5), (0, u32::MAX)] {
            let found = error_after(|of| of.patch_ends[panel as usize] = end);
            assert_eq!(found, BadArranged::PatchEnd { panel, end });
        }
        let found = error_after(|of| of.patches.push(0));
        assert_eq!(
            found,
            BadArranged::PatchesBehindTheEnd {
                found: 5,
                expected: 4
            }
        );
    }

    #[test]
    fn rejects_patches_of_no_weight() {
        // K tile 2 of 2; row 16 + 8 of 20, which is lane 0 and pair 1.
        for patch in [2 << PATCH_K_TILE_SHIFT, 2 << PATCH_WEIGHT_SHIFT, u32::MAX] {
            let found = error_after(|of| of.patches[3] = patch);
            assert_eq!(found, BadArranged::PatchOutside { panel: 1, patch });
        }
    }

    #[test]
    fn rejects_patches_out_of_order() {
        let found = error_after(|of| of.patches.swap(0, 1));
        assert!(matches!(found, BadArranged::PatchOrder { panel: 0, .. }));
        let found = error_after(|of| of.patches[1] = of.patches[0]);
        assert!(matches!(found, BadArranged::PatchOrder { panel: 0, .. }));
    }

    #[test]
    fn rejects_a_palette_of_another_field() {
        let (shape, _, of) = arranged();
        let found = ArrangedRef::new(
            shape,
            Palette::lowest(4),
            &of.k_tiles,
            &of.patches,
            &of.patch_ends,
        );
        assert_eq!(found.unwrap_err(), BadArranged::PaletteWidth(4));
    }

    #[test]
    fn restores_row_panels_one_by_one() {
        let (shape, palette, of) = arranged();
        let checked =
            ArrangedRef::new(shape, palette, &of.k_tiles, &of.patches, &of.patch_ends).unwrap();
        let mut weights = vec![0; 20 * 128];
        let (first, second) = weights.split_at_mut(16 * 128);
        checked.restore_panels(1..2, second);
        checked.restore_panels(0..1, first);
        checked.restore_panels(2..2, &mut []);
        let expected = |at| {
            if [0, 1, 70, 17 * 128].contains(&at) {
                200 << 7
            } else {
                100 << 7
            }
        };
        assert!(
            weights
                .iter()
                .enumerate()
                .all(|(at, &weight)| weight == expected(at))
        );
    }
}
