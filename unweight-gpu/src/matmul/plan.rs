//! How a product is laid out over a device: pure functions, tested without a GPU.

use super::layout::Shape;

/// A kernel of `kernels/small_batch_matmul.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SmallKernel {
    /// The most rows of x that it takes. Its name has them.
    pub(super) rows: u32,
    /// Of its rings.
    stages: u32,
}

/// From the fewest rows of x on.
pub(super) const SMALL_KERNELS: [SmallKernel; 4] = [
    SmallKernel { rows: 8, stages: 3 },
    SmallKernel {
        rows: 16,
        stages: 3,
    },
    SmallKernel {
        rows: 32,
        stages: 3,
    },
    SmallKernel {
        rows: 64,
        stages: 2,
    },
];

pub(super) const SMALL_THREADS: u32 = 512;
const WARPS: u32 = 16;
const SPLITS: u32 = 4;
const GROUP_ROWS: u32 = 64;

impl SmallKernel {
    /// Shared memory of a block: rings of weights and of x, and the splits' sums, whose rows are 4 longer than a group.
    pub(super) const fn shared_bytes(self) -> u32 {
        let weights = WARPS * self.stages * super::layout::UNIT_BYTES as u32;
        let x = SPLITS * self.stages * super::layout::UNIT_COLUMNS as u32 * self.rows * 2;
        let sums = SPLITS * self.rows * (GROUP_ROWS + 4) * 4;
        weights + x + sums
    }

    /// Bytes of partial sums: two slots for each block.
    pub(super) const fn partial_bytes(self, blocks: u32) -> usize {
        2 * blocks as usize * (self.rows * GROUP_ROWS * 4) as usize
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

    #[test]
    fn a_block_of_the_first_kernel_fits_any_device_and_of_all_a_hopper() {
        assert!(SMALL_KERNELS[0].shared_bytes() <= 99 << 10);
        assert!(
            SMALL_KERNELS
                .iter()
                .all(|kernel| kernel.shared_bytes() <= 227 << 10)
        );
    }
}
