//! The kernels of grouped matmuls: their geometry, which is pure, and their functions.

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaFunction, LaunchConfig};
use unweight_gpu::kernels::{KernelSet, load_with_shared};
use unweight_gpu::{Device, GpuError};

use super::routing::MOST_EXPERTS;
use crate::kernels::ForPalettes;
use crate::layout::{K_TILE_BYTES, K_TILE_COLUMNS};
use crate::{StoredPalette, modules};

/// Slots of a tile, of the smallest and the largest kernel.
pub(super) const LEAST_TILE_ROWS: u32 = 8;
pub(super) const MOST_TILE_ROWS: u32 = 64;

/// The most columns of matrices for the kernels that keep x of a tile in shared memory.
const MOST_PANEL_COLUMNS: u64 = 2048;

const GROUP_ROWS: u32 = 64;
const ROUTING_THREADS: u32 = 1024;
const ROUTING_WARPS: u32 = 32;
/// Bytes of the routing in a block's shared memory.
const RECORDS_BYTES: u32 = 512;
/// Shared memory of each block that the driver reserves.
const RESERVED_BYTES: u32 = 1024;

/// A kernel of `kernels/matmul/grouped_matmul.cu` or `kernels/matmul/grouped_panels.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupedKernel {
    /// Whether a warp has all columns of a row panel (`grouped_panels.cu`), or warps share the
    /// columns (`grouped_matmul.cu`).
    pub by_panels: bool,
    /// Slots of a tile. They are part of the kernel's name.
    pub tile_rows: u32,
    /// Stages of its rings.
    stages: u32,
    /// Blocks that fit the registers of a multiprocessor, for consecutive and any palettes.
    blocks: [u32; 2],
}

const fn shared(tile_rows: u32, stages: u32, blocks: [u32; 2]) -> GroupedKernel {
    GroupedKernel {
        by_panels: false,
        tile_rows,
        stages,
        blocks,
    }
}

const fn panels(tile_rows: u32, stages: u32, blocks: [u32; 2]) -> GroupedKernel {
    GroupedKernel {
        by_panels: true,
        ..shared(tile_rows, stages, blocks)
    }
}

/// The kernels of `grouped_matmul.cu`, for any number of columns, in ascending order.
const KERNELS: [GroupedKernel; 4] = [
    shared(8, 3, [2, 1]),
    shared(16, 4, [1, 1]),
    shared(32, 3, [1, 1]),
    shared(64, 2, [1, 1]),
];

/// The kernels of `grouped_panels.cu`.
const PANEL_KERNELS: [GroupedKernel; 2] = [panels(8, 3, [4, 3]), panels(16, 4, [2, 2])];

impl GroupedKernel {
    /// All kernels, for tests.
    pub fn all() -> impl Iterator<Item = GroupedKernel> {
        KERNELS.into_iter().chain(PANEL_KERNELS)
    }

    /// Shared memory of a block.
    pub const fn shared_bytes(self, k_tiles: u32) -> u32 {
        let (rows, stages) = (self.tile_rows, self.stages);
        let x_row = 2 * K_TILE_COLUMNS as u32;
        let ring = self.warps() * stages * K_TILE_BYTES as u32;
        let rest = if self.by_panels {
            k_tiles * rows * x_row
        } else {
            // Rings of x, sums of the splits, slots and scales, two words.
            4 * stages * rows * x_row + 4 * rows * (GROUP_ROWS + 4) * 4 + 8 * rows + 8
        };
        ring + rest + RECORDS_BYTES
    }

    const fn warps(self) -> u32 {
        if self.by_panels { 8 } else { 16 }
    }

    const fn takes(self, columns: u64) -> bool {
        !self.by_panels || columns <= MOST_PANEL_COLUMNS
    }

    /// Blocks of a multiprocessor with this much shared memory.
    fn blocks(self, stored: StoredPalette, k_tiles: u32, multiprocessor_bytes: u32) -> u32 {
        let of_shared = multiprocessor_bytes / (self.shared_bytes(k_tiles) + RESERVED_BYTES);
        let of_registers = match stored {
            StoredPalette::Consecutive => self.blocks[0],
            StoredPalette::Any => self.blocks[1],
        };
        of_registers.min(of_shared).max(1)
    }
}

/// Size of the partial sums of any grouped matmul in bytes: two slots for each block.
pub(crate) fn partial_bytes(multiprocessors: u32) -> usize {
    let of_kernel = |kernel: &GroupedKernel| {
        let blocks = kernel.blocks[0] * multiprocessors;
        2 * blocks as usize * (kernel.tile_rows * GROUP_ROWS * 4) as usize
    };
    KERNELS.iter().map(of_kernel).max().unwrap_or(0)
}

/// The number of counters of any grouped matmul: one for each block.
pub(crate) fn counters(multiprocessors: u32) -> u32 {
    let most = KERNELS.iter().map(|kernel| kernel.blocks[0]).max();
    most.unwrap_or(0) * multiprocessors
}

/// A kernel that was chosen for a matmul.
pub(super) struct ChosenKernel<'k> {
    pub(super) function: &'k CudaFunction,
    pub(super) config: LaunchConfig,
}

/// The functions of a device.
#[derive(Debug)]
pub(super) struct GroupedKernels {
    pub(super) route: CudaFunction,
    /// The kernels that fit the shared memory of a block, in the order of the constants.
    kernels: Vec<(GroupedKernel, ForPalettes)>,
    most_shared_bytes: u32,
    multiprocessor_bytes: u32,
    multiprocessors: u32,
    pub(super) overlap: bool,
}

impl KernelSet for GroupedKernels {
    fn load(device: &Device) -> Result<GroupedKernels, GpuError> {
        let most_shared_bytes = device.most_shared_bytes()?;
        let route = device.load_module(&modules::ROUTING)?;
        let grouped = device.load_module(&modules::GROUPED_MATMUL)?;
        let by_panels = device.load_module(&modules::GROUPED_PANELS)?;
        let fitting = GroupedKernel::all()
            .filter(|kernel| kernel.by_panels || kernel.shared_bytes(0) <= most_shared_bytes);
        let kernels = fitting.map(|kernel| {
            let (module, name) = match kernel.by_panels {
                true => (&by_panels, "grouped_panels"),
                false => (&grouped, "grouped_matmul"),
            };
            let name = format!("{name}_{}", kernel.tile_rows);
            Ok((kernel, ForPalettes::load(module, &name, most_shared_bytes)?))
        });
        let attribute =
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR;
        Ok(GroupedKernels {
            route: load_with_shared(&route, "route", routing_shared_bytes(MOST_EXPERTS))?,
            kernels: kernels.collect::<Result<_, GpuError>>()?,
            most_shared_bytes,
            multiprocessor_bytes: device.context().attribute(attribute)? as u32,
            multiprocessors: device.multiprocessors()?,
            overlap: device.compute_capability().overlaps_launches(),
        })
    }
}

impl GroupedKernels {
    /// The most slots of a tile that kernels for every number of columns take.
    pub(super) fn most_tile_rows(&self) -> u32 {
        let kernels = self.kernels.iter().filter(|(kernel, _)| !kernel.by_panels);
        let rows = kernels.map(|(kernel, _)| kernel.tile_rows).max();
        rows.unwrap_or(LEAST_TILE_ROWS)
    }

    /// The launch of the routing kernel.
    pub(super) const fn route_config(expert_count: u32) -> LaunchConfig {
        LaunchConfig {
            grid_dim: (expert_count + 1, 1, 1),
            block_dim: (ROUTING_THREADS, 1, 1),
            shared_mem_bytes: routing_shared_bytes(expert_count),
        }
    }

    /// The kernel for matrices of so many columns and tiles of so many slots.
    pub(super) fn choose(
        &self,
        columns: u64,
        tile_rows: u32,
        stored: StoredPalette,
    ) -> Option<ChosenKernel<'_>> {
        let k_tiles = (columns / K_TILE_COLUMNS) as u32;
        let suits = |kernel: GroupedKernel| {
            kernel.tile_rows == tile_rows
                && kernel.takes(columns)
                && kernel.shared_bytes(k_tiles) <= self.most_shared_bytes
        };
        // The kernels by panels come last, and are the faster ones where they suit.
        let mut kernels = self.kernels.iter().rev();
        let (kernel, functions) = kernels.find(|(kernel, _)| suits(*kernel))?;
        let blocks = kernel.blocks(stored, k_tiles, self.multiprocessor_bytes);
        Some(ChosenKernel {
            function: match stored {
                StoredPalette::Consecutive => &functions.consecutive,
                StoredPalette::Any => &functions.any,
            },
            config: LaunchConfig {
                grid_dim: (blocks * self.multiprocessors, 1, 1),
                block_dim: (32 * kernel.warps(), 1, 1),
                shared_mem_bytes: kernel.shared_bytes(k_tiles),
            },
        })
    }
}

/// Shared memory of a block of the routing kernel: a count for each expert and for none, and two for
/// each warp.
const fn routing_shared_bytes(expert_count: u32) -> u32 {
    4 * (expert_count + 1 + 2 * ROUTING_WARPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_for_every_matrix_fits_any_device_and_all_fit_a_hopper() {
        assert!(KERNELS[0].shared_bytes(0) <= 99 << 10);
        let k_tiles = (MOST_PANEL_COLUMNS / K_TILE_COLUMNS) as u32;
        let all = GroupedKernel::all();
        assert!(
            all.map(|kernel| kernel.shared_bytes(k_tiles))
                .all(|bytes| bytes <= 227 << 10)
        );
        assert!(routing_shared_bytes(MOST_EXPERTS) <= 48 << 10);
    }

    #[test]
    fn an_h200_runs_as_many_blocks_as_its_registers_allow() {
        let h200 = 228 << 10;
        for (kernel, columns) in [
            (KERNELS[0], 4096),
            (PANEL_KERNELS[0], 768),
            (PANEL_KERNELS[1], 2048),
        ] {
            let k_tiles = columns / 64;
            let blocks = kernel.blocks(StoredPalette::Consecutive, k_tiles, h200);
            assert_eq!(blocks, kernel.blocks[0], "{kernel:?}");
        }
        assert_eq!(
            PANEL_KERNELS[0].blocks(StoredPalette::Consecutive, 32, h200),
            3
        );
    }
}
