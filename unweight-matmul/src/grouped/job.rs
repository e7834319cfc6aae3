//! Arguments of the kernels of grouped matmuls. They mirror the structures in
//! `kernels/abi/grouped_jobs.cuh`. Both sides assert the layout.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;

/// A sort of slots by expert. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RoutingJob {
    /// The expert of each slot.
    pub experts: u64,
    /// The scale of each slot; 0 for ones.
    pub scales: u64,
    /// The routing, which is written.
    pub routing: u64,
    /// The number of slots; at least 1.
    pub slots: u32,
    /// The number of experts.
    pub expert_count: u32,
    /// Slots of a tile.
    pub tile_rows: u32,
    /// Tiles that the routing has memory for.
    pub most_tiles: u32,
}

/// A grouped matmul. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GroupedMatmulJob {
    /// K tiles of all experts.
    pub weights: u64,
    /// Patches of all experts.
    pub patches: u64,
    /// The end of each row panel's patches.
    pub patch_ends: u64,
    /// The palette.
    pub palette: u64,
    /// The routing.
    pub routing: u64,
    /// x.
    pub x: u64,
    /// y, which is written.
    pub y: u64,
    /// Partial sums.
    pub partials: u64,
    /// Counters of blocks, which are zero between launches.
    pub arrived: u64,
    /// The number of slots; at least 1.
    pub slots: u32,
    /// Slots that share a row of x.
    pub slots_of_x: u32,
    /// The number of experts.
    pub expert_count: u32,
    /// Rows of an expert's matrix.
    pub rows: u32,
    /// The number of K tiles in a row panel.
    pub k_tiles: u32,
    /// Tiles that the routing has memory for.
    pub most_tiles: u32,
    /// The number of patches.
    pub patch_count: u32,
    /// Blocks of the launch.
    pub blocks: u32,
    /// 1 if sums are multiplied by scales.
    pub scaled: u32,
}

const _: () = {
    assert!(offset_of!(RoutingJob, experts) == 0);
    assert!(offset_of!(RoutingJob, scales) == 8);
    assert!(offset_of!(RoutingJob, routing) == 16);
    assert!(offset_of!(RoutingJob, slots) == 24);
    assert!(offset_of!(RoutingJob, expert_count) == 28);
    assert!(offset_of!(RoutingJob, tile_rows) == 32);
    assert!(offset_of!(RoutingJob, most_tiles) == 36);
    assert!(size_of::<RoutingJob>() == 40);

    assert!(offset_of!(GroupedMatmulJob, weights) == 0);
    assert!(offset_of!(GroupedMatmulJob, patches) == 8);
    assert!(offset_of!(GroupedMatmulJob, patch_ends) == 16);
    assert!(offset_of!(GroupedMatmulJob, palette) == 24);
    assert!(offset_of!(GroupedMatmulJob, routing) == 32);
    assert!(offset_of!(GroupedMatmulJob, x) == 40);
    assert!(offset_of!(GroupedMatmulJob, y) == 48);
    assert!(offset_of!(GroupedMatmulJob, partials) == 56);
    assert!(offset_of!(GroupedMatmulJob, arrived) == 64);
    assert!(offset_of!(GroupedMatmulJob, slots) == 72);
    assert!(offset_of!(GroupedMatmulJob, slots_of_x) == 76);
    assert!(offset_of!(GroupedMatmulJob, expert_count) == 80);
    assert!(offset_of!(GroupedMatmulJob, rows) == 84);
    assert!(offset_of!(GroupedMatmulJob, k_tiles) == 88);
    assert!(offset_of!(GroupedMatmulJob, most_tiles) == 92);
    assert!(offset_of!(GroupedMatmulJob, patch_count) == 96);
    assert!(offset_of!(GroupedMatmulJob, blocks) == 100);
    assert!(offset_of!(GroupedMatmulJob, scaled) == 104);
    assert!(size_of::<GroupedMatmulJob>() == 112);
};

// SAFETY: for both jobs: the fields are plain numbers, with the order and the alignment of the
// kernels' structures in C.
unsafe impl DeviceRepr for RoutingJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for GroupedMatmulJob {}
