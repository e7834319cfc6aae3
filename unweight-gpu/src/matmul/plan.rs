//! Schedule of a matmul over a device: pure functions, tested without a GPU.

use super::Kernel;
use super::layout::{STRIP_ROWS, Shape, UNIT_BYTES, UNIT_COLUMNS};

/// A kernel of `kernels/matmul/small_batch_matmul.cu` or `kernels/matmul/planes_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SmallKernel {
    /// The most rows of x that the kernel takes. They are part of its name.
    pub(super) rows: u32,
    /// Stages of its rings.
    stages: u32,
    /// Size of a K tile in shared memory.
    unit_bytes: u32,
}

const fn small(rows: u32, stages: u32, unit_bytes: u64) -> SmallKernel {
    SmallKernel {
        rows,
        stages,
        unit_bytes: unit_bytes as u32,
    }
}

/// The small-batch kernels, from the fewest rows of x on.
pub(super) const SMALL_KERNELS: [SmallKernel; 4] = [
    small(8, 3, UNIT_BYTES),
    small(16, 3, UNIT_BYTES),
    small(32, 3, UNIT_BYTES),
    small(64, 2, UNIT_BYTES),
];

/// Size of a K tile's weights in both planes, in bytes.
const UNIT_PLANE_BYTES: u64 = 2 * STRIP_ROWS * UNIT_COLUMNS;

/// The kernels that read planes, in the same order as `SMALL_KERNELS`.
pub(super) const PLANES_KERNELS: [SmallKernel; 4] = [
    small(8, 3, UNIT_PLANE_BYTES),
    small(16, 3, UNIT_PLANE_BYTES),
    small(32, 3, UNIT_PLANE_BYTES),
    small(64, 2, UNIT_PLANE_BYTES),
];

/// The most rows of x for a small-batch kernel and for a kernel that reads planes.
pub(super) const MOST_SMALL_ROWS: u32 = SMALL_KERNELS[SMALL_KERNELS.len() - 1].rows;
pub(super) const MOST_PLANES_ROWS: u32 = PLANES_KERNELS[PLANES_KERNELS.len() - 1].rows;
pub(super) const SMALL_THREADS: u32 = 512;
const WARPS: u32 = 16;
const SPLITS: u32 = 4;
const GROUP_ROWS: u32 = 64;

impl SmallKernel {
    /// Shared memory of a block: rings of weights and of x, and the splits' sums, whose rows are 4
    /// longer than a group.
    pub(super) const fn shared_bytes(self) -> u32 {
        let weights = WARPS * self.stages * self.unit_bytes;
        let x = SPLITS * self.stages * UNIT_COLUMNS as u32 * self.rows * 2;
        let sums = SPLITS * self.rows * (GROUP_ROWS + 4) * 4;
        weights + x + sums
    }

    /// Size of the partial sums in bytes: two slots for each block.
    pub(super) const fn partial_bytes(self, blocks: u32) -> usize {
        2 * blocks as usize * (self.rows * GROUP_ROWS * 4) as usize
    }
}

/// A kernel of `kernels/matmul/large_batch_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LargeKernel {
    /// Rows of x in one block's tile. They are part of the kernel's name.
    pub(super) tile: u32,
    pub(super) shared_bytes: u32,
    /// Cycles of a multiprocessor for one K tile of a block's rows, as measured on an H200.
    unit_cycles: u64,
}

const fn large(tile: u32, shared_bytes: u32, unit_cycles: u64) -> LargeKernel {
    LargeKernel {
        tile,
        shared_bytes,
        unit_cycles,
    }
}

pub(super) const LARGE_KERNELS: [LargeKernel; 4] = [
    large(32, 206_048, 480),
    large(64, 222_400, 565),
    large(128, 189_568, 830),
    large(256, 197_728, 1375),
];

pub(super) const LARGE_THREADS: u32 = 384;
const BLOCK_STRIPS: u32 = 8;
const BLOCK_ROWS: u32 = BLOCK_STRIPS * STRIP_ROWS as u32;
/// Cycles as measured on an H200: for a block to wait for the sums of other blocks, to add those of
/// one block, and to publish or add the sums of one row of x in a tile.
const WAIT_CYCLES: u64 = 3000;
const ADD_CYCLES: u64 = 350;
const SUM_ROW_CYCLES: u64 = 10;
/// Bytes of weights that memory delivers in a cycle (2,300 on an H200, 1,700 on an H100), and the
/// size of a K tile of a block's rows.
const MEMORY_BYTES: u64 = 2000;
const BLOCK_UNIT_BYTES: u64 = BLOCK_STRIPS as u64 * UNIT_BYTES;
/// The most rows of x in one launch, so that 32 bits are enough for tile numbers.
pub(super) const MOST_ROWS: u32 = 4096;

impl LargeKernel {
    /// Whether the kernel takes matrices of this shape.
    pub(super) const fn takes(shape: Shape) -> bool {
        shape.rows().is_multiple_of(8)
    }

    /// The kernel's name in a choice.
    pub(super) const fn name(self) -> Kernel {
        Kernel::ManyRows { tile: self.tile }
    }

    /// Whether the tile is not much too small or too large for this many rows of x.
    pub(super) const fn suits(self, batch: u32) -> bool {
        let smallest = LARGE_KERNELS[0].tile;
        self.tile == smallest && batch <= 2 * smallest
            || self.tile <= 2 * batch && batch <= 8 * self.tile
    }

    /// The division with the shortest estimated time on this many multiprocessors.
    pub(super) fn division(self, shape: Shape, batch: u32, multiprocessors: u32) -> Division {
        let most = u64::from(multiprocessors);
        let tiles = Tiles {
            units: shape.units(),
            x_tiles: batch.div_ceil(self.tile).into(),
            count: shape.rows().div_ceil(BLOCK_ROWS.into()) * u64::from(batch.div_ceil(self.tile)),
        };
        let whole = self.whole(tiles, tiles.count.div_ceil(tiles.count.div_ceil(most)));
        // The tiles of the last wave do not occupy all multiprocessors. They are divided into the
        // same number of ranges each, or into one range for every multiprocessor.
        let rest = tiles.count % most;
        let line = rest * tiles.units;
        let alike = (2..=most / rest.max(1)).map(|each| each * rest);
        let shared = alike
            .chain([most])
            .filter(|&parts| rest > 0 && parts <= line && u32::try_from(line).is_ok());
        let shared = shared.map(|parts| self.shared(tiles, rest, parts, most));
        // `min_by_key` returns the first of equal minima, so the undivided schedule is preferred.
        let divisions = std::iter::once(whole).chain(shared);
        let fastest = divisions.min_by_key(|division| division.cycles);
        fastest.expect("there is one")
    }

    fn whole(self, tiles: Tiles, blocks: u64) -> Division {
        Division {
            blocks: blocks as u32,
            whole: tiles.count as u32,
            line: 0,
            parts: 0,
            cycles: tiles.count.div_ceil(blocks) * tiles.units * self.cycles_of_unit(tiles, blocks),
        }
    }

    /// A division with the last tiles in this many ranges and the others whole.
    fn shared(self, tiles: Tiles, shared: u64, parts: u64, most: u64) -> Division {
        let (line, whole) = (shared * tiles.units, tiles.count - shared);
        let part = line.div_ceil(parts);
        let others = match parts % shared {
            0 => parts / shared - 1,
            _ => tiles.units.div_ceil(part),
        };
        let sum = u64::from(self.tile) * SUM_ROW_CYCLES;
        let adding = WAIT_CYCLES + sum + others * (ADD_CYCLES + sum);
        Division {
            blocks: if whole == 0 { parts } else { most } as u32,
            whole: whole as u32,
            line: line as u32,
            parts: parts as u32,
            cycles: whole / most * tiles.units * self.cycles_of_unit(tiles, most)
                + part * self.cycles_of_unit(tiles, parts)
                + adding,
        }
    }

    /// Cycles for a K tile while this many blocks run. Memory delivers weights once for all rows of
    /// x.
    fn cycles_of_unit(self, tiles: Tiles, blocks: u64) -> u64 {
        let bytes = BLOCK_UNIT_BYTES * blocks / tiles.x_tiles;
        self.unit_cycles.max(bytes / MEMORY_BYTES)
    }

    /// Size of the partial sums in bytes.
    pub(super) const fn partial_bytes(self, blocks: u32) -> usize {
        blocks as usize * (self.tile * BLOCK_ROWS * 4) as usize
    }

    /// The number of counters, one for each row panel of a shared tile. Fewer tiles are shared than
    /// there are blocks.
    pub(super) const fn counters(blocks: u32) -> u32 {
        BLOCK_STRIPS * blocks
    }
}

/// The tiles of a matmul.
#[derive(Clone, Copy)]
struct Tiles {
    /// K tiles in one tile.
    units: u64,
    /// Tiles for the same rows of W.
    x_tiles: u64,
    count: u64,
}

/// The division of a matmul's tiles among blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Division {
    pub(super) blocks: u32,
    /// Number of tiles that a single block computes.
    pub(super) whole: u32,
    /// Number of K tiles in the other tiles, which the stream-K schedule divides.
    pub(super) line: u32,
    /// Number of tile ranges of the stream-K schedule, of equal length.
    pub(super) parts: u32,
    /// Estimated cycles, for the choice between kernels.
    pub(super) cycles: u64,
}

/// The stream-K schedule: the division of all K tiles among blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) multiprocessors: u32,
    pub(super) groups: u32,
    pub(super) blocks: u32,
    /// The number of K tiles of every block.
    pub(super) part: u32,
    /// The number of blocks, from the first on, that have one K tile more.
    pub(super) longer_parts: u32,
}

impl Parts {
    /// The number of blocks that share a group, rounded down.
    pub(super) const fn sharing_a_group(self) -> u32 {
        self.blocks / self.groups
    }

    /// The schedule with a block for each multiprocessor, or fewer if there are fewer K tiles.
    pub(super) fn new(shape: Shape, multiprocessors: u32) -> Parts {
        // A shape has at most 2^31 K tiles.
        let groups = shape.rows().div_ceil(GROUP_ROWS.into()) as u32;
        let line = groups * shape.units() as u32;
        let blocks = multiprocessors.min(line);
        Parts {
            multiprocessors,
            groups,
            blocks,
            part: line / blocks,
            longer_parts: line % blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_line_and_none_is_empty() {
        for (rows, columns) in [
            (1, 64),
            (64, 64),
            (65, 128),
            (14_336, 4096),
            (4096, 14_336),
            (1, 1 << 19),
        ] {
            let shape = Shape::new(rows, columns).unwrap();
            for multiprocessors in [1, 2, 108, 132, 1000] {
                let parts = Parts::new(shape, multiprocessors);
                assert!(parts.part > 0 && parts.longer_parts < parts.blocks);
                assert!(parts.blocks <= multiprocessors);
                assert_eq!(
                    u64::from(parts.part) * u64::from(parts.blocks) + u64::from(parts.longer_parts),
                    rows.div_ceil(64) * columns / 64
                );
            }
        }
    }

    /// Measurements on an H200: each choice is the fastest of all, or slower by at most a twelfth.
    #[test]
    fn the_estimate_chooses_what_was_fastest() {
        let wide = [
            (32, 112, 0),
            (64, 112, 0),
            (128, 112, 0),
            (256, 0, 132),
            (256, 132, 132),
            (256, 396, 132),
        ];
        let narrow = [
            (32, 0, 96),
            (64, 0, 96),
            (128, 0, 128),
            (256, 0, 128),
            (256, 0, 128),
            (256, 128, 0),
        ];
        let square = [
            (32, 0, 96),
            (64, 0, 96),
            (128, 0, 128),
            (128, 0, 128),
            (256, 0, 128),
            (256, 128, 0),
        ];
        for ((rows, columns), fastest) in [
            ((14_336, 4096), wide),
            ((4096, 14_336), narrow),
            ((4096, 4096), square),
        ] {
            let shape = Shape::new(rows, columns).unwrap();
            let chosen = [32, 64, 128, 256, 512, 1024].map(|batch| {
                let divisions =
                    LARGE_KERNELS.map(|kernel| (kernel.division(shape, batch, 132), kernel));
                let fastest = divisions
                    .into_iter()
                    .min_by_key(|(division, _)| division.cycles);
                let (division, kernel) = fastest.unwrap();
                (kernel.tile, division.whole, division.parts)
            });
            assert_eq!(chosen, fastest, "{rows} x {columns}");
        }
    }

    #[test]
    fn parts_of_tiles_are_not_longer_than_one_and_none_is_empty() {
        for (rows, columns) in [
            (8, 64),
            (136, 1 << 19),
            (14_336, 4096),
            (4096, 14_336),
            (1 << 24, 64),
        ] {
            let shape = Shape::new(rows, columns).unwrap();
            for (kernel, batch) in LARGE_KERNELS.into_iter().zip([1, 100, 1024, 4096]) {
                for multiprocessors in [1, 2, 108, 132] {
                    let division = kernel.division(shape, batch, multiprocessors);
                    let tiles = rows.div_ceil(128) * u64::from(batch.div_ceil(kernel.tile));
                    let shared = tiles - u64::from(division.whole);
                    assert_eq!(u64::from(division.line), shared * shape.units());
                    let parts = u64::from(division.parts);
                    assert!(parts >= shared && parts <= division.line.into());
                    assert!(parts <= division.blocks.into());
                    assert!((1..=multiprocessors).contains(&division.blocks));
                }
            }
        }
    }

    #[test]
    fn every_batch_has_kernels_that_suit_it_and_few_that_do_not() {
        let tiles = |batch| {
            let suiting = LARGE_KERNELS.iter().filter(|kernel| kernel.suits(batch));
            let mut tiles: Vec<u32> = suiting.map(|kernel| kernel.tile).collect();
            tiles.dedup();
            tiles
        };
        assert_eq!(tiles(1), [32]);
        assert_eq!(tiles(32), [32, 64]);
        assert_eq!(tiles(64), [32, 64, 128]);
        assert_eq!(tiles(1024), [128, 256]);
    }

    #[test]
    fn a_block_of_the_first_kernel_fits_any_device_and_of_all_a_hopper() {
        assert!(SMALL_KERNELS[0].shared_bytes() <= 99 << 10);
        assert!(
            (SMALL_KERNELS.iter().chain(&PLANES_KERNELS))
                .all(|kernel| kernel.shared_bytes() <= 227 << 10)
        );
    }
}
