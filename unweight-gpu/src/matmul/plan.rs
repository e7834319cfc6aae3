//! How a product is laid out over a device: pure functions, tested without a GPU.

use super::Kernel;
use super::layout::{STRIP_ROWS, Shape, UNIT_BYTES, UNIT_COLUMNS};

/// A kernel of `kernels/small_batch_matmul.cu` or `kernels/planes_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SmallKernel {
    /// The most rows of x that it takes. Its name has them.
    pub(super) rows: u32,
    /// Of its rings.
    stages: u32,
    /// Of a unit in shared memory.
    unit_bytes: u32,
}

const fn small(rows: u32, stages: u32, unit_bytes: u64) -> SmallKernel {
    SmallKernel {
        rows,
        stages,
        unit_bytes: unit_bytes as u32,
    }
}

/// From the fewest rows of x on.
pub(super) const SMALL_KERNELS: [SmallKernel; 4] = [
    small(8, 3, UNIT_BYTES),
    small(16, 3, UNIT_BYTES),
    small(32, 3, UNIT_BYTES),
    small(64, 2, UNIT_BYTES),
];

/// Bytes of a unit's weights in both planes.
const UNIT_PLANE_BYTES: u64 = 2 * STRIP_ROWS * UNIT_COLUMNS;

/// As `SMALL_KERNELS`.
pub(super) const PLANES_KERNELS: [SmallKernel; 4] = [
    small(8, 3, UNIT_PLANE_BYTES),
    small(16, 3, UNIT_PLANE_BYTES),
    small(32, 3, UNIT_PLANE_BYTES),
    small(64, 2, UNIT_PLANE_BYTES),
];

/// Of x, that a small kernel takes at most, and one that reads planes.
pub(super) const MOST_SMALL_ROWS: u32 = SMALL_KERNELS[SMALL_KERNELS.len() - 1].rows;
pub(super) const MOST_PLANES_ROWS: u32 = PLANES_KERNELS[PLANES_KERNELS.len() - 1].rows;
pub(super) const SMALL_THREADS: u32 = 512;
const WARPS: u32 = 16;
const SPLITS: u32 = 4;
const GROUP_ROWS: u32 = 64;

impl SmallKernel {
    /// Shared memory of a block: rings of weights and of x, and the splits' sums, whose rows are 4 longer than a group.
    pub(super) const fn shared_bytes(self) -> u32 {
        let weights = WARPS * self.stages * self.unit_bytes;
        let x = SPLITS * self.stages * UNIT_COLUMNS as u32 * self.rows * 2;
        let sums = SPLITS * self.rows * (GROUP_ROWS + 4) * 4;
        weights + x + sums
    }

    /// Bytes of partial sums: two slots for each block.
    pub(super) const fn partial_bytes(self, blocks: u32) -> usize {
        2 * blocks as usize * (self.rows * GROUP_ROWS * 4) as usize
    }
}

/// A kernel of `kernels/large_batch_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LargeKernel {
    /// Rows of x that a block multiplies together. Its name has them, and splits and teams.
    pub(super) tile: u32,
    /// Blocks that share the columns of a tile.
    pub(super) splits: u32,
    /// Of a block, which share its columns.
    pub(super) teams: u32,
    stages: u32,
    pub(super) shared_bytes: u32,
    /// Of a multiprocessor, for a unit of a block's rows, as measured on an H100.
    unit_cycles: u64,
}

const fn large(tile: u32, stages: u32, splits: u32, teams: u32, shared_bytes: u32) -> LargeKernel {
    LargeKernel {
        tile,
        splits,
        teams,
        stages,
        shared_bytes,
        unit_cycles: match (tile, teams) {
            (32, 1) => 460,
            (32, _) => 380,
            (64, 1) => 530,
            (64, _) => 430,
            (128, 1) => 805,
            (128, _) => 700,
            _ => 1075,
        },
    }
}

pub(super) const LARGE_KERNELS: [LargeKernel; 12] = [
    large(32, 12, 1, 1, 206_016),
    large(32, 12, 2, 2, 206_016),
    large(32, 12, 4, 2, 206_016),
    large(64, 10, 1, 1, 222_368),
    large(64, 10, 2, 2, 214_176),
    large(64, 10, 3, 2, 214_176),
    large(64, 10, 4, 2, 214_176),
    large(128, 6, 1, 1, 189_536),
    large(128, 6, 2, 2, 189_536),
    large(128, 6, 3, 1, 185_440),
    large(256, 4, 1, 1, 197_696),
    large(256, 4, 2, 1, 197_696),
];

const TEAM_THREADS: u32 = 256;
const COPYING_THREADS: u32 = 128;
const BLOCK_ROWS: u64 = 128;
/// For splits to add each other's sums, and for a block's teams, as measured on an H100.
const SPLIT_CYCLES: u64 = 6000;
const TEAM_CYCLES: u64 = 3000;
/// Bytes of weights that an H100's memory brings in a cycle, and of a unit of a block's rows.
const MEMORY_BYTES: u64 = 1735;
const BLOCK_UNIT_BYTES: u64 = BLOCK_ROWS / STRIP_ROWS * UNIT_BYTES;
/// Rows of x that are multiplied at a time, so that tiles are numbered with 32 bits.
pub(super) const MOST_ROWS: u32 = 4096;

impl LargeKernel {
    /// Whether it takes matrices of this shape.
    pub(super) fn takes(self, shape: Shape) -> bool {
        let least = if self.splits * self.teams == 1 {
            1
        } else {
            self.splits * self.stages
        };
        shape.rows().is_multiple_of(8) && shape.units() >= least.into()
    }

    /// What a choice calls it.
    pub(super) const fn name(self) -> Kernel {
        Kernel::ManyRows {
            tile: self.tile,
            splits: self.splits,
            teams: self.teams,
        }
    }

    /// Whether its tile is not far too small or too large for so many rows of x.
    pub(super) const fn suits(self, batch: u32) -> bool {
        let smallest = LARGE_KERNELS[0].tile;
        self.tile == smallest && batch <= 2 * smallest
            || self.tile <= 2 * batch && batch <= 8 * self.tile
    }

    /// Threads of a block.
    pub(super) const fn threads(self) -> u32 {
        self.teams * TEAM_THREADS + COPYING_THREADS
    }

    /// How many clusters to launch where so many fit the device: as few as take as many turns.
    pub(super) fn clusters(self, shape: Shape, batch: u32, fitting: u32) -> u32 {
        let tiles = self.tiles(shape, batch);
        tiles.div_ceil(tiles.div_ceil(fitting.into())) as u32
    }

    /// An estimate, to choose between kernels.
    pub(super) fn cycles(self, shape: Shape, batch: u32, fitting: u32) -> u64 {
        let tiles = self.tiles(shape, batch);
        let turns = tiles.div_ceil(fitting.into());
        let blocks = tiles.div_ceil(turns) * u64::from(self.splits);
        // Memory brings units to all blocks that run at a time.
        let unit = self
            .unit_cycles
            .max(BLOCK_UNIT_BYTES * blocks / MEMORY_BYTES);
        let adding = match (self.splits, self.teams) {
            (1, 1) => 0,
            (1, _) => TEAM_CYCLES,
            _ => SPLIT_CYCLES,
        };
        turns * (shape.units().div_ceil(self.splits.into()) * unit + adding)
    }

    fn tiles(self, shape: Shape, batch: u32) -> u64 {
        shape.rows().div_ceil(BLOCK_ROWS) * u64::from(batch.div_ceil(self.tile))
    }
}

/// How the line of units is divided among blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) groups: u32,
    pub(super) blocks: u32,
    /// Units that every block has.
    pub(super) part: u32,
    /// Blocks that have one more, the first ones.
    pub(super) longer_parts: u32,
}

impl Parts {
    /// A block for each multiprocessor, unless there are fewer units.
    pub(super) fn new(shape: Shape, multiprocessors: u32) -> Parts {
        // A shape has at most 2^31 units.
        let groups = shape.rows().div_ceil(GROUP_ROWS.into()) as u32;
        let line = groups * shape.units() as u32;
        let blocks = multiprocessors.min(line);
        Parts {
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

    /// On an H100, where so many clusters of 1 to 4 blocks fit: the fastest of all that were measured, or not slower by more than a fiftieth.
    #[test]
    fn the_estimate_chooses_what_was_fastest() {
        let fitting = |splits| [132, 66, 39, 28][splits as usize - 1];
        let wide = [
            (32, 1, 1),
            (64, 1, 1),
            (128, 1, 1),
            (256, 1, 1),
            (256, 1, 1),
            (256, 1, 1),
        ];
        let narrow = [
            (32, 2, 2),
            (64, 2, 2),
            (128, 3, 1),
            (128, 2, 2),
            (256, 2, 1),
            (256, 1, 1),
        ];
        for ((rows, columns), fastest) in [
            ((14_336, 4096), wide),
            ((4096, 14_336), narrow),
            ((4096, 4096), narrow),
        ] {
            let shape = Shape::new(rows, columns).unwrap();
            let chosen = [32, 64, 128, 256, 512, 1024].map(|batch| {
                let cycles =
                    |kernel: &LargeKernel| kernel.cycles(shape, batch, fitting(kernel.splits));
                let kernel = LARGE_KERNELS.into_iter().min_by_key(cycles).unwrap();
                (kernel.tile, kernel.splits, kernel.teams)
            });
            assert_eq!(chosen, fastest, "{rows} x {columns}");
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
    fn a_kernel_of_splits_wants_columns_for_all_of_them() {
        let takes = |rows, columns| {
            let shape = Shape::new(rows, columns).unwrap();
            let takes = |kernel: &&LargeKernel| kernel.takes(shape);
            let kernels = LARGE_KERNELS.iter().filter(takes);
            kernels
                .map(|kernel| (kernel.tile, kernel.splits))
                .collect::<Vec<_>>()
        };
        let alone = [(32, 1), (64, 1), (128, 1), (256, 1)];
        assert_eq!(takes(8, 64), alone);
        assert_eq!(
            takes(8, 64 * 12),
            [(32, 1), (64, 1), (128, 1), (128, 2), (256, 1), (256, 2)]
        );
        assert_eq!(takes(8, 64 * 48).len(), LARGE_KERNELS.len());
        assert_eq!(takes(7, 4096), []);
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
