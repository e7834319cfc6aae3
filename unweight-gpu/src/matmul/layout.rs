//! Fragment form: the order in which a matrix stands for the tensor cores. Pure functions; `kernels/fragments.cu` does the same on the device.
//!
//! A matrix of `rows` x `columns` weights is cut into **strips** of 16 rows (rows behind the last are zeros), a strip into **units** of 64 columns, a unit
//! into two **blocks** of 32. A lane of a warp, number 4g + t, has of a block columns 8t to 8t + 7 of rows g and g + 8: its 16 weights are the operands of
//! two `mma.sync.m16n8k16`, if x has its columns in the same order (PTX ISA, "Matrix Fragments for mma.m16n8k16").
//!
//! A unit takes 1,536 bytes, three times 16 for each lane:
//!
//! ```text
//! | sign-mantissa, block 0 | sign-mantissa, block 1 | indices            |
//! | lane 0 ... lane 31     | lane 0 ... lane 31     | lane 0 ... lane 31 |
//! ```
//!
//! Sign-mantissa bytes: eight of row g, eight of row g + 8, in order of columns. Indices: a word for row g and one for row g + 8 of block 0, then of block 1.
//! In a word, the index of column 2j stands at bit 4j and that of column 2j + 1 at bit 4j + 16, so that one shift puts both where their exponents belong.
//!
//! A weight whose exponent is not in the palette has index 0 and a **patch**, a word: unit << 18 | lane << 13 | place << 8 | exponent. Its place is
//! 16 * block + 4j + 2 * (1 if row g + 8) + (1 if an odd column). Patches stand by strip, in it by unit, then place, then lane.

use unweight_format::Palette;

use crate::GpuError;

/// Rows of a strip.
pub const STRIP_ROWS: u64 = 16;
/// Columns of a unit.
pub const UNIT_COLUMNS: u64 = 64;
/// Bytes of a unit.
pub const UNIT_BYTES: u64 = 1536;

const BLOCK_COLUMNS: usize = 32;
const LANE_COLUMNS: usize = 8;
/// Bytes of a third of a unit: 16 for each lane.
const PART_BYTES: usize = 512;

/// Units of a strip: a patch has 14 bits for the unit, and all ones mean none.
const MOST_UNITS: u64 = (1 << 14) - 1;
/// Units of a matrix, and its rows: launches number them with 32 bits.
const MOST_UNITS_IN_ALL: u64 = 1 << 31;
const MOST_ROWS: u64 = 1 << 30;

/// A matrix that has a fragment form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    rows: u64,
    columns: u64,
}

impl Shape {
    /// A matrix of `rows` outputs and `columns` inputs.
    ///
    /// # Errors
    /// [`GpuError::NoFragmentForm`] if its rows are not 1 to 2^30, its columns no multiple of 64 or not 64 to 1,048,512, or its weights more than 2^41.
    pub fn new(rows: u64, columns: u64) -> Result<Shape, GpuError> {
        let units = columns / UNIT_COLUMNS;
        let in_all = rows.div_ceil(STRIP_ROWS).saturating_mul(units.max(1));
        let fits = (1..=MOST_ROWS).contains(&rows)
            && columns.is_multiple_of(UNIT_COLUMNS)
            && (1..=MOST_UNITS).contains(&units)
            && in_all <= MOST_UNITS_IN_ALL;
        if fits {
            Ok(Shape { rows, columns })
        } else {
            Err(GpuError::NoFragmentForm { rows, columns })
        }
    }

    /// Rows.
    pub const fn rows(self) -> u64 {
        self.rows
    }

    /// Columns.
    pub const fn columns(self) -> u64 {
        self.columns
    }

    /// Weights.
    pub const fn weights(self) -> u64 {
        self.rows * self.columns
    }

    /// Strips.
    pub const fn strips(self) -> u64 {
        self.rows.div_ceil(STRIP_ROWS)
    }

    /// Units of a strip.
    pub const fn units(self) -> u64 {
        self.columns / UNIT_COLUMNS
    }

    /// Bytes of all units.
    pub const fn unit_bytes(self) -> u64 {
        self.strips() * self.units() * UNIT_BYTES
    }
}

/// A matrix in fragment form, in host memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arranged {
    /// Units, by strip, then by columns.
    pub units: Vec<u8>,
    /// Patches of all strips.
    pub patches: Vec<u32>,
    /// Where each strip's patches end.
    pub patch_ends: Vec<u32>,
}

/// Where a lane's weight stands.
struct Place {
    /// In the matrix.
    row: u64,
    column: u64,
    /// Its sign-mantissa byte, its index's word and bit, in the unit.
    byte: usize,
    word: usize,
    bit: u32,
}

/// Of weight `place` of a lane's 32.
fn place_of(strip: u64, unit: u64, lane: usize, place: usize) -> Place {
    let (block, lower) = (place / 16, place / 2 % 2);
    let (pair, odd) = (place % 16 / 4, place % 2);
    let within = lane % 4 * LANE_COLUMNS + 2 * pair + odd;
    Place {
        row: strip * STRIP_ROWS + (lane / 4 + 8 * lower) as u64,
        column: unit * UNIT_COLUMNS + (block * BLOCK_COLUMNS + within) as u64,
        byte: block * PART_BYTES + lane * 16 + lower * 8 + 2 * pair + odd,
        word: 2 * PART_BYTES + lane * 16 + block * 8 + lower * 4,
        bit: (4 * pair + 16 * odd) as u32,
    }
}

/// A row-major matrix in fragment form.
///
/// # Panics
/// If `weights` is not as long as the shape says.
pub fn arrange(weights: &[u16], shape: Shape, palette: &Palette) -> Arranged {
    assert_eq!(weights.len() as u64, shape.weights());
    let mut units = Vec::with_capacity(shape.unit_bytes() as usize);
    let (mut patches, mut patch_ends) = (vec![], vec![]);
    for strip in 0..shape.strips() {
        for unit in 0..shape.units() {
            let mut bytes = [0; UNIT_BYTES as usize];
            for place in 0..32 {
                for lane in 0..32 {
                    let at = place_of(strip, unit, lane, place);
                    if at.row >= shape.rows {
                        continue;
                    }
                    let weight = weights[(at.row * shape.columns + at.column) as usize];
                    let exponent = (weight >> 7) as u8;
                    bytes[at.byte] = ((weight >> 8) as u8 & 0x80) | (weight as u8 & 0x7f);
                    match palette.index_of(exponent) {
                        Some(index) => {
                            let word: &mut [u8; 4] =
                                (&mut bytes[at.word..at.word + 4]).try_into().expect("4");
                            *word = (u32::from_le_bytes(*word) | (index as u32) << at.bit)
                                .to_le_bytes();
                        }
                        None => patches.push(
                            (unit as u32) << 18
                                | (lane as u32) << 13
                                | (place as u32) << 8
                                | u32::from(exponent),
                        ),
                    }
                }
            }
            units.extend(bytes);
        }
        patch_ends.push(patches.len() as u32);
    }
    Arranged {
        units,
        patches,
        patch_ends,
    }
}

/// The matrix that [`arrange`] was given.
///
/// # Panics
/// If `arranged` is not what it gave for this shape.
pub fn restore(arranged: &Arranged, shape: Shape, palette: &Palette) -> Vec<u16> {
    let mut weights = vec![0; shape.weights() as usize];
    let mut set = |at: &Place, exponent: u8, byte: u8| {
        if at.row < shape.rows {
            weights[(at.row * shape.columns + at.column) as usize] =
                u16::from(byte & 0x80) << 8 | u16::from(exponent) << 7 | u16::from(byte & 0x7f);
        }
    };
    let mut patches = arranged.patches.as_slice();
    let mut before = 0;
    for (strip, &end) in (0..).zip(&arranged.patch_ends) {
        let unit_of = |unit: u64| {
            let start = (strip * shape.units() + unit) * UNIT_BYTES;
            &arranged.units[start as usize..][..UNIT_BYTES as usize]
        };
        for unit in 0..shape.units() {
            let bytes = unit_of(unit);
            for place in 0..32 {
                for lane in 0..32 {
                    let at = place_of(strip, unit, lane, place);
                    let word = u32::from_le_bytes(bytes[at.word..][..4].try_into().expect("4"));
                    let index = word >> at.bit & 15;
                    set(&at, palette.exponents()[index as usize], bytes[at.byte]);
                }
            }
        }
        let (own, others) = patches.split_at((end - before) as usize);
        for &patch in own {
            let (unit, lane, place) = (patch >> 18, patch >> 13 & 31, patch >> 8 & 31);
            let at = place_of(strip, unit.into(), lane as usize, place as usize);
            set(&at, patch as u8, unit_of(unit.into())[at.byte]);
        }
        (patches, before) = (others, end);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette_from(first: u8) -> Palette {
        Palette::new(std::array::from_fn(|i| first + i as u8)).unwrap()
    }

    /// Every pattern, none next to one like it.
    fn all_patterns(weights: u64) -> Vec<u16> {
        (0..weights).map(|i| (i * 40_503 % 65_536) as u16).collect()
    }

    #[test]
    fn every_pattern_comes_back_from_every_shape() {
        let spread = Palette::new(std::array::from_fn(|i| 17 * i as u8)).unwrap();
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
                assert_eq!(arranged.units.len() as u64, shape.unit_bytes());
                assert_eq!(restore(&arranged, shape, &palette), weights);
            }
        }
    }

    #[test]
    fn a_unit_is_laid_out_as_documented() {
        let shape = Shape::new(16, 64).unwrap();
        let palette = palette_from(100);
        let mut weights = vec![100 << 7; 1024];
        // Row 9 = 1 + 8, column 43 = 32 + 8 + 3: lane 4 * 1 + 1, block 1, the lower row, pair 1, odd.
        weights[9 * 64 + 43] = 0x8000 | 107 << 7 | 0x55;
        // And the even column before it has an exponent that the palette lacks.
        weights[9 * 64 + 42] = 200 << 7 | 1;
        let arranged = arrange(&weights, shape, &palette);
        assert_eq!(arranged.units[512 + 5 * 16 + 8 + 3], 0xd5);
        let word = &arranged.units[1024 + 5 * 16 + 8 + 4..][..4];
        assert_eq!(word, (7u32 << (4 + 16)).to_le_bytes());
        assert_eq!(arranged.patches, [5 << 13 | (16 + 4 + 2) << 8 | 200]);
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
                Err(GpuError::NoFragmentForm { .. })
            ));
        }
        assert!(Shape::new(1, (1 << 20) - 64).is_ok());
    }
}
