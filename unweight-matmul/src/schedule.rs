//! Schedule of a matmul over a device: pure functions, tested without a GPU.

use crate::Kernel;
use crate::layout::{K_TILE_BYTES, K_TILE_COLUMNS, PANEL_ROWS, Shape};

/// A kernel of `kernels/matmul/small_batch_matmul.cu` or `kernels/matmul/planes_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SmallKernel {
    /// The most rows of x that the kernel takes. They are part of its name.
    pub(crate) batch: u32,
    /// Stages of its rings. They are part of its name.
    pub(crate) stages: u32,
    /// Size of a K tile in shared memory.
    k_tile_bytes: u32,
}

const fn small(batch: u32, stages: u32, k_tile_bytes: u64) -> SmallKernel {
    SmallKernel {
        batch,
        stages,
        k_tile_bytes: k_tile_bytes as u32,
    }
}

/// The small-batch kernels, in ascending order of their batch. The first kernel for a batch that
/// fits a block's shared memory is taken: on an H200 it is the faster one.
pub(crate) const SMALL_KERNELS: [SmallKernel; 5] = [
    small(8, 4, K_TILE_BYTES),
    small(8, 3, K_TILE_BYTES),
    small(16, 4, K_TILE_BYTES),
    small(32, 3, K_TILE_BYTES),
    small(64, 2, K_TILE_BYTES),
];

/// Size of a K tile's weights in both planes, in bytes.
const K_TILE_PLANES_BYTES: u64 = 2 * PANEL_ROWS * K_TILE_COLUMNS;

/// The kernels that read planes, in the same order as `SMALL_KERNELS`.
pub(crate) const PLANES_KERNELS: [SmallKernel; 4] = [
    small(8, 3, K_TILE_PLANES_BYTES),
    small(16, 3, K_TILE_PLANES_BYTES),
    small(32, 3, K_TILE_PLANES_BYTES),
    small(64, 2, K_TILE_PLANES_BYTES),
];

/// The most rows of x for a small-batch kernel and for a kernel that reads planes.
pub(crate) const MOST_SMALL_BATCH: u32 = SMALL_KERNELS[SMALL_KERNELS.len() - 1].batch;
pub(crate) const MOST_PLANES_BATCH: u32 = PLANES_KERNELS[PLANES_KERNELS.len() - 1].batch;
pub(crate) const SMALL_THREADS: u32 = 512;
const WARPS: u32 = 16;
const SPLITS: u32 = 4;
const GROUP_ROWS: u32 = 64;

impl SmallKernel {
    /// Shared memory of a block: rings of weights and of x, the splits' sums, whose rows are 4
    /// longer than a group, and a scale for each row of x.
    pub(crate) const fn shared_bytes(self) -> u32 {
        let weights = WARPS * self.stages * self.k_tile_bytes;
        let x = SPLITS * self.stages * K_TILE_COLUMNS as u32 * self.batch * 2;
        let sums = SPLITS * self.batch * (GROUP_ROWS + 4) * 4;
        weights + x + sums + 4 * self.batch
    }

    /// Size of the partial sums in bytes: two slots for each block.
    pub(crate) const fn partial_bytes(self, blocks: u32) -> usize {
        2 * blocks as usize * (self.batch * GROUP_ROWS * 4) as usize
    }
}

/// A kernel of `kernels/matmul/large_batch_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeKernel {
    /// Rows of x in one block's tile. They are part of the kernel's name.
    pub(crate) tile: u32,
    pub(crate) shared_bytes: u32,
    /// Cycles of a multiprocessor for one K tile of a block's rows, as measured on an H200.
    k_tile_cycles: u64,
}

const fn large(tile: u32, shared_bytes: u32, k_tile_cycles: u64) -> LargeKernel {
    LargeKernel {
        tile,
        shared_bytes,
        k_tile_cycles,
    }
}

pub(crate) const LARGE_KERNELS: [LargeKernel; 4] = [
    large(32, 207_072, 480),
    large(64, 223_424, 565),
    large(128, 190_592, 830),
    large(256, 198_752, 1375),
];

pub(crate) const LARGE_THREADS: u32 = 384;
const PANELS: u32 = 8;
const BLOCK_ROWS: u32 = PANELS * PANEL_ROWS as u32;
/// Cycles as measured on an H200: for a block to wait for the sums of other blocks, to add those of
/// one block, and to publish or add the sums of one row of x in a tile.
const WAIT_CYCLES: u64 = 3000;
const ADD_CYCLES: u64 = 350;
const SUM_ROW_CYCLES: u64 = 10;
/// Bytes of weights that memory delivers in a cycle (2,300 on an H200, 1,700 on an H100), and the
/// size of a K tile of a block's rows.
const MEMORY_BYTES: u64 = 2000;
const BLOCK_K_TILE_BYTES: u64 = PANELS as u64 * K_TILE_BYTES;
/// The most rows of x in one launch, so that 32 bits are enough for tile numbers.
pub(crate) const MOST_LARGE_BATCH: u32 = 4096;

impl LargeKernel {
    /// Whether the kernel takes matrices of this shape.
    pub(crate) const fn supports(shape: Shape) -> bool {
        shape.rows().is_multiple_of(8)
    }

    /// The kernel's name in a choice.
    pub(crate) const fn name(self) -> Kernel {
        Kernel::LargeBatch { tile: self.tile }
    }

    /// Whether the tile is not much too small or too large for this many rows of x.
    pub(crate) const fn suits(self, batch: u32) -> bool {
        let smallest = LARGE_KERNELS[0].tile;
        self.tile == smallest && batch <= 2 * smallest
            || self.tile <= 2 * batch && batch <= 8 * self.tile
    }

    /// The division with the shortest estimated time on this many multiprocessors.
    pub(crate) fn division(self, shape: Shape, batch: u32, multiprocessors: u32) -> Division {
        let most = u64::from(multiprocessors);
        let tiles = Tiles {
            k_tiles: shape.k_tiles(),
            x_tiles: batch.div_ceil(self.tile).into(),
            count: shape.rows().div_ceil(BLOCK_ROWS.into()) * u64::from(batch.div_ceil(self.tile)),
        };
        let undivided = self.undivided(tiles, tiles.count.div_ceil(tiles.count.div_ceil(most)));
        // The tiles of the last wave do not occupy all multiprocessors. They are divided into the
        // same number of ranges each, or into one range for every multiprocessor.
        let rest = tiles.count % most;
        let k_tiles = rest * tiles.k_tiles;
        let alike = (2..=most / rest.max(1)).map(|each| each * rest);
        let divided = alike
            .chain([most])
            .filter(|&ranges| rest > 0 && ranges <= k_tiles && u32::try_from(k_tiles).is_ok());
        let divided = divided.map(|ranges| self.divided(tiles, rest, ranges, most));
        // `min_by_key` returns the first of equal minima, so the undivided schedule is preferred.
        let divisions = std::iter::once(undivided).chain(divided);
        let fastest = divisions.min_by_key(|division| division.cycles);
        fastest.expect("there is one")
    }

    /// The division with all tiles whole.
    fn undivided(self, tiles: Tiles, blocks: u64) -> Division {
        let cycles_of_k_tile = self.cycles_of_k_tile(tiles, blocks);
        Division {
            blocks: blocks as u32,
            whole_tiles: tiles.count as u32,
            stream_k_tiles: 0,
            ranges: 0,
            cycles: tiles.count.div_ceil(blocks) * tiles.k_tiles * cycles_of_k_tile,
        }
    }

    /// A division with the last tiles in this many ranges and the others whole.
    fn divided(self, tiles: Tiles, last_tiles: u64, ranges: u64, most: u64) -> Division {
        let stream_k_tiles = last_tiles * tiles.k_tiles;
        let whole_tiles = tiles.count - last_tiles;
        let range_tiles = stream_k_tiles.div_ceil(ranges);
        let others = match ranges % last_tiles {
            0 => ranges / last_tiles - 1,
            _ => tiles.k_tiles.div_ceil(range_tiles),
        };
        let sum = u64::from(self.tile) * SUM_ROW_CYCLES;
        let adding = WAIT_CYCLES + sum + others * (ADD_CYCLES + sum);
        Division {
            blocks: if whole_tiles == 0 { ranges } else { most } as u32,
            whole_tiles: whole_tiles as u32,
            stream_k_tiles: stream_k_tiles as u32,
            ranges: ranges as u32,
            cycles: whole_tiles / most * tiles.k_tiles * self.cycles_of_k_tile(tiles, most)
                + range_tiles * self.cycles_of_k_tile(tiles, ranges)
                + adding,
        }
    }

    /// Cycles for a K tile while this many blocks run. Memory delivers weights once for all rows of
    /// x.
    fn cycles_of_k_tile(self, tiles: Tiles, blocks: u64) -> u64 {
        let bytes = BLOCK_K_TILE_BYTES * blocks / tiles.x_tiles;
        self.k_tile_cycles.max(bytes / MEMORY_BYTES)
    }

    /// Size of the partial sums in bytes.
    pub(crate) const fn partial_bytes(self, blocks: u32) -> usize {
        blocks as usize * (self.tile * BLOCK_ROWS * 4) as usize
    }

    /// The number of counters, one for each row panel of a shared tile. Fewer tiles are shared than
    /// there are blocks.
    pub(crate) const fn counters(blocks: u32) -> u32 {
        PANELS * blocks
    }
}

/// The tiles of a matmul.
#[derive(Clone, Copy)]
struct Tiles {
    /// K tiles in one tile.
    k_tiles: u64,
    /// Tiles for the same rows of W.
    x_tiles: u64,
    count: u64,
}

/// The division of a matmul's tiles among blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    pub(crate) blocks: u32,
    /// Number of tiles that a single block computes.
    pub(crate) whole_tiles: u32,
    /// Number of K tiles in the other tiles, which the stream-K schedule divides.
    pub(crate) stream_k_tiles: u32,
    /// Number of ranges of the stream-K schedule, of equal length.
    pub(crate) ranges: u32,
    /// Estimated cycles, for the choice between kernels.
    pub(crate) cycles: u64,
}

/// The stream-K schedule of the small-batch kernels: the K tiles of all panel groups, in order,
/// divided into one range for each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamK {
    pub(crate) multiprocessors: u32,
    /// Panel groups: the number of 64 rows of W.
    pub(crate) groups: u32,
    pub(crate) blocks: u32,
    /// The number of K tiles in every block's range.
    pub(crate) range_tiles: u32,
    /// The number of blocks, from the first on, whose ranges have one K tile more.
    pub(crate) longer_ranges: u32,
}

impl StreamK {
    /// The number of blocks that share a panel group, rounded down.
    pub(crate) const fn blocks_of_a_group(self) -> u32 {
        self.blocks / self.groups
    }

    /// The schedule with a block for each multiprocessor, or fewer if there are fewer K tiles.
    pub(crate) fn new(shape: Shape, multiprocessors: u32) -> StreamK {
        // A shape has at most 2^31 K tiles.
        let groups = shape.rows().div_ceil(GROUP_ROWS.into()) as u32;
        let k_tiles = groups * shape.k_tiles() as u32;
        let blocks = multiprocessors.min(k_tiles);
        StreamK {
            multiprocessors,
            groups,
            blocks,
            range_tiles: k_tiles / blocks,
            longer_ranges: k_tiles % blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_make_up_all_k_tiles_and_none_is_empty() {
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
                let schedule = StreamK::new(shape, multiprocessors);
                assert!(schedule.range_tiles > 0 && schedule.longer_ranges < schedule.blocks);
                assert!(schedule.blocks <= multiprocessors);
                assert_eq!(
                    u64::from(schedule.range_tiles) * u64::from(schedule.blocks)
                        + u64::from(schedule.longer_ranges),
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
                (kernel.tile, division.whole_tiles, division.ranges)
            });
            assert_eq!(chosen, fastest, "{rows} x {columns}");
        }
    }

    #[test]
    fn ranges_are_not_longer_than_a_tile_and_none_is_empty() {
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
                    let shared = tiles - u64::from(division.whole_tiles);
                    assert_eq!(u64::from(division.stream_k_tiles), shared * shape.k_tiles());
                    let ranges = u64::from(division.ranges);
                    assert!(ranges >= shared && ranges <= division.stream_k_tiles.into());
                    assert!(ranges <= division.blocks.into());
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
    fn a_block_of_some_kernel_fits_any_device_and_of_all_a_hopper() {
        let any = |kernels: &[SmallKernel]| {
            (kernels.iter()).any(|kernel| kernel.shared_bytes() <= 99 << 10)
        };
        assert!(any(&SMALL_KERNELS));
        assert!(
            (SMALL_KERNELS.iter().chain(&PLANES_KERNELS))
                .all(|kernel| kernel.shared_bytes() <= 227 << 10)
        );
    }
}
