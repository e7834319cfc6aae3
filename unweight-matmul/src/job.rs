//! Arguments of the matmul kernels. They mirror the structures in `kernels/abi/matmul_jobs.cuh`,
//! and `LargeMatmulJob` in `kernels/matmul/large_batch_matmul.cu`. Both sides assert the layout.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::mem::offset_of;

use cudarc::driver::DeviceRepr;

use crate::Activations;
use crate::ViewMut;
use crate::exponent_tables::TableAddresses;
use crate::layout::{PANEL_ROWS, Shape};
use crate::schedule::StreamK;
use crate::tensor_map::TensorMap;

/// Addresses of the partial sums, and of the counters of panel groups and tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SumAddresses {
    pub(crate) partials: u64,
    pub(crate) arrived: u64,
}

/// A conversion between a row-major matrix and fragment form. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FragmentsJob {
    /// The row-major matrix.
    pub matrix: u64,
    /// The K tiles.
    pub weights: u64,
    /// The patches of all row panels.
    pub patches: u64,
    /// The end of each row panel's patches.
    pub patch_ends: u64,
    /// The palette's exponents.
    pub palette: u64,
    /// Rows of the matrix.
    pub rows: u32,
    /// The number of K tiles in a row panel.
    pub k_tiles: u32,
    /// The number of stored exponents of the palette: 16, or 1 for consecutive ones.
    pub exponents: u32,
    /// The number of patches.
    pub patch_count: u32,
}

impl FragmentsJob {
    /// A job for a matrix of this shape, its K tiles, and its palette and patches.
    pub(crate) fn new(
        shape: Shape,
        matrix: u64,
        k_tiles: u64,
        tables: &TableAddresses,
    ) -> FragmentsJob {
        FragmentsJob {
            matrix,
            weights: k_tiles,
            patches: tables.patches,
            patch_ends: tables.patch_ends,
            palette: tables.palette,
            rows: shape.rows() as u32,
            k_tiles: shape.k_tiles() as u32,
            exponents: tables.stored.bytes(),
            patch_count: tables.patch_count,
        }
    }
}

/// A count of a row-major matrix's exponents. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExponentCountsJob {
    /// The row-major matrix.
    pub matrix: u64,
    /// 256 counts of 64 bits.
    pub counts: u64,
    /// Rows of the matrix.
    pub rows: u32,
    /// The number of K tiles in a row panel.
    pub k_tiles: u32,
}

impl ExponentCountsJob {
    /// Size of the counts in bytes.
    pub(crate) const COUNTS_BYTES: u64 = 256 * 8;

    /// A job for a matrix of this shape.
    pub(crate) fn new(shape: Shape, matrix: u64, counts: u64) -> ExponentCountsJob {
        ExponentCountsJob {
            matrix,
            counts,
            rows: shape.rows() as u32,
            k_tiles: shape.k_tiles() as u32,
        }
    }
}

/// A conversion between planes and fragment form. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PlanesJob {
    /// The plane of exponents.
    pub exponents: u64,
    /// The plane of sign-mantissa bytes.
    pub sign_mantissa: u64,
    /// The other arguments. This job has no row-major matrix.
    pub fragments: FragmentsJob,
}

/// A residual and the first half of a norm after a matmul. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResidualJob {
    pub(crate) residual: u64,
    /// 0 without a residual.
    pub(crate) sum: u64,
    pub(crate) weight: u64,
    pub(crate) squares: u64,
}

/// The second half of a norm, in the matmul after it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScaleJob {
    /// 0 without a norm.
    pub(crate) squares: u64,
    pub(crate) epsilon: f32,
    pub(crate) reserved: u32,
}

/// A matmul. Pointers are device addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatmulJob {
    pub(crate) weights: u64,
    pub(crate) patches: u64,
    pub(crate) patch_ends: u64,
    pub(crate) palette: u64,
    /// 0 without a bias.
    pub(crate) bias: u64,
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) partials: u64,
    pub(crate) arrived: u64,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) batch: u32,
    pub(crate) k_tiles: u32,
    pub(crate) range_tiles: u32,
    pub(crate) longer_ranges: u32,
    pub(crate) patch_count: u32,
    /// 1 for y = silu(gate) * up, otherwise 0.
    pub(crate) gated: u32,
    pub(crate) residual: ResidualJob,
    pub(crate) scale: ScaleJob,
}

impl MatmulJob {
    /// A matmul of this shape and schedule without weights, and without rows of x yet.
    pub(crate) fn new(
        shape: Shape,
        schedule: StreamK,
        sums: SumAddresses,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> MatmulJob {
        MatmulJob {
            weights: 0,
            patches: 0,
            patch_ends: 0,
            palette: 0,
            bias: 0,
            x: x.values.address(),
            y: y.address(),
            partials: sums.partials,
            arrived: sums.arrived,
            rows: shape.rows() as u32,
            columns: shape.columns() as u32,
            batch: 0,
            k_tiles: shape.k_tiles() as u32,
            range_tiles: schedule.range_tiles,
            longer_ranges: schedule.longer_ranges,
            patch_count: 0,
            gated: 0,
            residual: ResidualJob::default(),
            scale: ScaleJob::default(),
        }
    }

    /// The number of values in a row of y.
    pub(crate) const fn outputs(&self) -> u32 {
        self.rows >> self.gated
    }

    /// Advances to the next rows of x.
    pub(crate) fn skip_batch(&mut self) {
        let batch = u64::from(self.batch);
        let advance = |address: &mut u64, bytes_of_row: u64| {
            // 0 means none.
            if *address != 0 {
                *address += batch * bytes_of_row;
            }
        };
        let (rows, columns) = (u64::from(self.rows), u64::from(self.columns));
        let outputs = u64::from(self.outputs());
        advance(&mut self.x, 2 * columns);
        advance(&mut self.y, 2 * outputs);
        advance(&mut self.residual.residual, 2 * rows);
        advance(&mut self.residual.sum, 2 * rows);
        advance(&mut self.residual.squares, squares_bytes(rows));
        advance(&mut self.scale.squares, squares_bytes(columns));
    }
}

/// Size of the sums of squares of a row of so many values, in bytes.
pub(crate) const fn squares_bytes(values: u64) -> u64 {
    4 * (values / PANEL_ROWS)
}

/// A matmul by a large-batch kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeMatmulJob {
    /// The copy engine's description of x.
    pub(crate) x: TensorMap,
    pub(crate) matmul: MatmulJob,
    /// Number of output tiles that a single block computes.
    pub(crate) whole_tiles: u32,
    /// Number of K tiles in the other output tiles, which the stream-K schedule divides.
    pub(crate) stream_k_tiles: u32,
    /// Number of ranges of the stream-K schedule.
    pub(crate) ranges: u32,
}

/// A matmul by a kernel that reads planes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanesMatmulJob {
    pub(crate) exponents: u64,
    pub(crate) sign_mantissa: u64,
    /// The matmul, without weights and patches.
    pub(crate) matmul: MatmulJob,
}

const _: () = {
    assert!(offset_of!(FragmentsJob, matrix) == 0);
    assert!(offset_of!(FragmentsJob, weights) == 8);
    assert!(offset_of!(FragmentsJob, patches) == 16);
    assert!(offset_of!(FragmentsJob, patch_ends) == 24);
    assert!(offset_of!(FragmentsJob, palette) == 32);
    assert!(offset_of!(FragmentsJob, rows) == 40);
    assert!(offset_of!(FragmentsJob, k_tiles) == 44);
    assert!(offset_of!(FragmentsJob, exponents) == 48);
    assert!(offset_of!(FragmentsJob, patch_count) == 52);
    assert!(size_of::<FragmentsJob>() == 56);

    assert!(offset_of!(ExponentCountsJob, matrix) == 0);
    assert!(offset_of!(ExponentCountsJob, counts) == 8);
    assert!(offset_of!(ExponentCountsJob, rows) == 16);
    assert!(offset_of!(ExponentCountsJob, k_tiles) == 20);
    assert!(size_of::<ExponentCountsJob>() == 24);

    assert!(offset_of!(PlanesJob, exponents) == 0);
    assert!(offset_of!(PlanesJob, sign_mantissa) == 8);
    assert!(offset_of!(PlanesJob, fragments) == 16);
    assert!(size_of::<PlanesJob>() == 72);

    assert!(offset_of!(ResidualJob, residual) == 0);
    assert!(offset_of!(ResidualJob, sum) == 8);
    assert!(offset_of!(ResidualJob, weight) == 16);
    assert!(offset_of!(ResidualJob, squares) == 24);
    assert!(size_of::<ResidualJob>() == 32);

    assert!(offset_of!(ScaleJob, squares) == 0);
    assert!(offset_of!(ScaleJob, epsilon) == 8);
    assert!(size_of::<ScaleJob>() == 16);

    assert!(offset_of!(MatmulJob, weights) == 0);
    assert!(offset_of!(MatmulJob, patches) == 8);
    assert!(offset_of!(MatmulJob, patch_ends) == 16);
    assert!(offset_of!(MatmulJob, palette) == 24);
    assert!(offset_of!(MatmulJob, bias) == 32);
    assert!(offset_of!(MatmulJob, x) == 40);
    assert!(offset_of!(MatmulJob, y) == 48);
    assert!(offset_of!(MatmulJob, partials) == 56);
    assert!(offset_of!(MatmulJob, arrived) == 64);
    assert!(offset_of!(MatmulJob, rows) == 72);
    assert!(offset_of!(MatmulJob, columns) == 76);
    assert!(offset_of!(MatmulJob, batch) == 80);
    assert!(offset_of!(MatmulJob, k_tiles) == 84);
    assert!(offset_of!(MatmulJob, range_tiles) == 88);
    assert!(offset_of!(MatmulJob, longer_ranges) == 92);
    assert!(offset_of!(MatmulJob, patch_count) == 96);
    assert!(offset_of!(MatmulJob, gated) == 100);
    assert!(offset_of!(MatmulJob, residual) == 104);
    assert!(offset_of!(MatmulJob, scale) == 136);
    assert!(size_of::<MatmulJob>() == 152);

    assert!(offset_of!(PlanesMatmulJob, exponents) == 0);
    assert!(offset_of!(PlanesMatmulJob, sign_mantissa) == 8);
    assert!(offset_of!(PlanesMatmulJob, matmul) == 16);
    assert!(size_of::<PlanesMatmulJob>() == 168);

    assert!(offset_of!(LargeMatmulJob, x) == 0);
    assert!(offset_of!(LargeMatmulJob, matmul) == 128);
    assert!(offset_of!(LargeMatmulJob, whole_tiles) == 280);
    assert!(offset_of!(LargeMatmulJob, stream_k_tiles) == 284);
    assert!(offset_of!(LargeMatmulJob, ranges) == 288);
    assert!(size_of::<LargeMatmulJob>() == 384);
};

// SAFETY: for all jobs: the fields are plain numbers, with the order and the alignment of the
// kernels' structures in C.
unsafe impl DeviceRepr for FragmentsJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for ExponentCountsJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for MatmulJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for LargeMatmulJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for PlanesJob {}
// SAFETY: as above.
unsafe impl DeviceRepr for PlanesMatmulJob {}
