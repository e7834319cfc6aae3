//! Grouped matmuls: mixture of experts. Each token is multiplied by the matrices of the experts that
//! were chosen for it, on the device.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

mod job;
pub(crate) mod kernels;
mod routing;

use std::sync::Arc;

use cudarc::driver::{CudaFunction, DeviceRepr, LaunchConfig};
use unweight_gpu::Device;
use unweight_gpu::kernels::{Launch, LaunchStream};

pub use job::{GroupedMatmulJob, RoutingJob};
pub use kernels::GroupedKernel;
pub use routing::{RoutingShape, RoutingTiles};

use crate::layout::{K_TILE_COLUMNS, PANEL_ROWS};
use crate::{FragmentsRef, MatmulError, SharedWorkspace, View, ViewMut};
use kernels::GroupedKernels;

/// The matrices of a layer's experts, packed as one matrix in fragment form: the rows of the first
/// expert, then those of the second.
#[derive(Clone, Copy, Debug)]
pub struct Experts<'a> {
    matrix: FragmentsRef<'a>,
    count: u32,
    /// Rows of each.
    rows: u32,
}

impl<'a> Experts<'a> {
    /// The matrices of `count` experts in one matrix.
    ///
    /// # Errors
    /// [`MatmulError::NotOfExperts`] unless each expert has the same number of rows, a multiple of
    /// 16.
    pub fn new(
        matrix: impl Into<FragmentsRef<'a>>,
        count: u32,
    ) -> Result<Experts<'a>, MatmulError> {
        let matrix = matrix.into();
        let rows = matrix.shape().rows();
        if count == 0 || !rows.is_multiple_of(PANEL_ROWS * u64::from(count)) {
            return Err(MatmulError::NotOfExperts {
                rows,
                experts: count,
            });
        }
        Ok(Experts {
            matrix,
            count,
            rows: (rows / u64::from(count)) as u32,
        })
    }

    /// The number of experts.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The number of rows of each expert's matrix.
    pub const fn rows(&self) -> u32 {
        self.rows
    }

    /// The number of columns.
    pub const fn columns(&self) -> u64 {
        self.matrix.shape().columns()
    }
}

/// What was chosen for all tokens, by device address.
#[derive(Clone, Copy, Debug)]
pub struct TokenExperts {
    /// The number of the expert of each slot: 32 bits, at a multiple of 4. A number that no expert
    /// has, negative ones among them, stands for an expert elsewhere: its y is zeros.
    pub experts: u64,
    /// The weight of each slot in FP32, at a multiple of 4. None for ones.
    pub scales: Option<u64>,
}

/// The rows of x of a grouped matmul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOfX {
    /// A row for each token, which its slots share: the first matmul of experts.
    Tokens,
    /// A row for each slot: the second one.
    Slots,
}

/// The operands of a grouped matmul.
#[derive(Clone, Copy, Debug)]
pub struct GroupedActivations<'a> {
    /// The numbers of the routing.
    pub shape: RoutingShape,
    /// The device address of what [`GroupedMatmul::route`] wrote for these numbers.
    pub routing: u64,
    /// x, BF16 and row-major, with as many values in a row as the experts have columns.
    pub x: View<'a>,
    /// What has a row of x.
    pub rows: RowsOfX,
    /// Whether sums are multiplied by the routing's scales in FP32 before they are rounded.
    pub scaled: bool,
}

/// Grouped matmuls of a device: y = x W^T for each slot, with the W of the slot's expert in fragment
/// form. Nothing waits for the host, so a graph of them may be captured. An expert that no token has
/// costs nothing.
///
/// A layer is a routing and two matmuls, each one launch:
///
/// ```no_run
/// # use unweight_gpu::{Device, cudarc::driver::CudaStream};
/// # use unweight_matmul::*;
/// # fn layer(device: &Device, stream: &CudaStream, gate_up: Experts<'_>, down: Experts<'_>,
/// #     chosen: TokenExperts, memory: ViewMut<'_>, routing: u64, x: View<'_>, h: ViewMut<'_>,
/// #     activated: View<'_>, y: ViewMut<'_>) -> Result<(), MatmulError> {
/// let grouped = GroupedMatmul::new(device)?;
/// let workspace = SharedWorkspace::new(device, 1)?; // One for matrices of any shape.
/// let shape = RoutingShape::new(16, 8, 128)?; // 16 tokens, 8 of 128 experts each
/// let bytes = grouped.routing_bytes(shape);
/// # let _ = bytes;
/// // `memory` has that many bytes, at the address `routing`.
/// let first = GroupedActivations { shape, routing, x, rows: RowsOfX::Tokens, scaled: false };
/// let second = GroupedActivations { x: activated, rows: RowsOfX::Slots, scaled: true, ..first };
/// // SAFETY: all of it is of this device, and there until the stream was waited for.
/// unsafe {
///     grouped.route(stream, shape, chosen, &memory)?;
///     grouped.multiply(stream, &workspace, &gate_up, first, &h)?;
///     // The activation function, from `h` to `activated`.
///     grouped.multiply(stream, &workspace, &down, second, &y)?;
/// }
/// // The sum over the experts of a token is the caller's.
/// # Ok(())
/// # }
/// ```
///
/// **Exactness.** As for [`Direct`](crate::Direct): weights are exact, products are exact in FP32,
/// and sums are FP32. They are multiplied by the scale, and rounded once. Matrices of at most 2048
/// columns and tiles of at most 16 slots are added up from the first column on, so a result depends
/// on nothing but its row of x and of W. Otherwise the order depends on the experts of all slots
/// and on the device, and is the same from run to run.
#[derive(Clone, Debug)]
pub struct GroupedMatmul {
    kernels: Arc<GroupedKernels>,
}

impl GroupedMatmul {
    /// Loads the kernels, if the device has not done so.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`](unweight_gpu::GpuError::NoKernels);
    /// [`GpuError::Compile`](unweight_gpu::GpuError::Compile); the errors of the driver.
    pub fn new(device: &Device) -> Result<GroupedMatmul, MatmulError> {
        Ok(GroupedMatmul {
            kernels: device.kernels()?,
        })
    }

    /// Size of a routing in device memory, in bytes.
    pub fn routing_bytes(&self, shape: RoutingShape) -> u64 {
        self.tiles(shape).bytes()
    }

    fn tiles(&self, shape: RoutingShape) -> RoutingTiles {
        shape.tiles(self.kernels.most_tile_rows())
    }

    /// Launches the sort of slots by expert, for all matmuls of these tokens. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for a routing that is shorter
    /// than [`GroupedMatmul::routing_bytes`]; the errors of the driver.
    ///
    /// # Safety
    /// The stream must be of this device. The experts and scales must exist, and nobody may write
    /// them, until the launch is done. Nobody else may use the routing until the matmuls with it are
    /// done. If the stream is capturing, all of this holds until the last launch of the graph is
    /// done.
    ///
    /// # Panics
    /// If the address of the experts or of the scales is not a multiple of 4.
    pub unsafe fn route<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        shape: RoutingShape,
        chosen: TokenExperts,
        routing: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let addresses = [chosen.experts, chosen.scales.unwrap_or(0)];
        assert!(
            addresses.iter().all(|at| at.is_multiple_of(4)),
            "4-byte loads"
        );
        let tiles = self.tiles(shape);
        routing.require(tiles.bytes())?;
        if shape.slots() == 0 {
            return Ok(());
        }
        let job = RoutingJob {
            experts: chosen.experts,
            scales: chosen.scales.unwrap_or(0),
            routing: routing.address(),
            slots: shape.slots(),
            expert_count: shape.experts(),
            tile_rows: tiles.rows,
            most_tiles: tiles.most,
        };
        let config = GroupedKernels::route_config(shape.experts());
        // SAFETY: the preconditions at the head of kernels/matmul/routing.cu: the caller keeps
        // those of memory, and the routing is aligned and long enough for any experts:
        // `there_is_room_for_the_tiles_of_any_experts`.
        unsafe { self.launch(stream.into(), &self.kernels.route, config, &job) }
    }

    /// Launches y = x W^T for each slot. Any workspace suffices for any matrix. y has a row for each slot, with as many values as an expert
    /// has rows, BF16 and row-major. Returns at once.
    ///
    /// # Errors
    /// [`MatmulError::NotOfExperts`] if the routing has another number of experts;
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an x of the wrong length
    /// or a y that is too short; [`MatmulError::TooManySlots`]; the errors of the driver.
    ///
    /// # Safety
    /// - The experts' matrix, the workspace, the routing, x, y and the stream must be of this
    ///   device.
    /// - The routing must have the length of [`GroupedMatmul::routing_bytes`], and have been written
    ///   by [`GroupedMatmul::route`] for the same numbers, in an order that the stream ensures.
    ///   (Other contents give a wrong y, but kernels stay within the memory and end.)
    /// - The matrix, the workspace, the routing, x and y must exist, and nobody else may write them
    ///   or read y, until the matmul is done. No other matmul may use the workspace at the same
    ///   time.
    /// - If the stream is capturing, all of this must hold until the last launch of the graph is
    ///   done.
    ///
    /// # Panics
    /// If the address of the routing is not a multiple of 16.
    pub unsafe fn multiply<'s>(
        &self,
        stream: impl Into<LaunchStream<'s>>,
        workspace: &SharedWorkspace,
        experts: &Experts<'_>,
        activations: GroupedActivations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let GroupedActivations { shape, .. } = activations;
        assert!(activations.routing.is_multiple_of(16), "16-byte loads");
        if shape.experts() != experts.count {
            return Err(MatmulError::NotOfExperts {
                rows: experts.matrix.shape().rows(),
                experts: shape.experts(),
            });
        }
        let rows_of_x = match activations.rows {
            RowsOfX::Tokens => shape.tokens(),
            RowsOfX::Slots => shape.slots(),
        };
        let columns = experts.columns();
        activations.x.require(u64::from(rows_of_x) * columns)?;
        y.require(2 * u64::from(shape.slots()) * u64::from(experts.rows))?;
        if shape.slots() == 0 {
            return Ok(());
        }
        let tiles = self.tiles(shape);
        require_numbers(experts, tiles, rows_of_x, shape)?;
        let tables = experts.matrix.tables();
        let chosen = self.kernels.choose(columns, tiles.rows, tables.stored);
        let chosen = chosen.expect("a kernel for every number of columns has tiles of this size");
        let sums = workspace.sums().of_grouped();
        let job = GroupedMatmulJob {
            weights: experts.matrix.k_tiles_at(),
            patches: tables.patches,
            patch_ends: tables.patch_ends,
            palette: tables.palette,
            routing: activations.routing,
            x: activations.x.address(),
            y: y.address(),
            partials: sums.partials,
            arrived: sums.arrived,
            slots: shape.slots(),
            slots_of_x: match activations.rows {
                RowsOfX::Tokens => shape.top_k(),
                RowsOfX::Slots => 1,
            },
            expert_count: experts.count,
            rows: experts.rows,
            k_tiles: (columns / K_TILE_COLUMNS) as u32,
            most_tiles: tiles.most,
            patch_count: tables.patch_count,
            blocks: chosen.config.grid_dim.0,
            scaled: activations.scaled.into(),
        };
        // SAFETY: the preconditions at the heads of kernels/matmul/grouped_matmul.cu and
        // grouped_panels.cu: the caller keeps those of memory, lengths and numbers were checked,
        // and the workspace has partial sums and counters for all blocks.
        unsafe { self.launch(stream.into(), chosen.function, chosen.config, &job) }
    }

    /// Launches a kernel that takes a job by value. It may begin before the previous launch has
    /// ended, which all these kernels wait for.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// The preconditions of the kernel.
    unsafe fn launch<J: DeviceRepr>(
        &self,
        stream: LaunchStream<'_>,
        function: &CudaFunction,
        config: LaunchConfig,
        job: &J,
    ) -> Result<(), MatmulError> {
        let launch = Launch::of(function)
            .overlapping(self.kernels.overlap)
            .arg(job);
        // SAFETY: the kernel takes one job by value; the caller keeps the other preconditions.
        unsafe { launch.launch(stream, config)? };
        Ok(())
    }
}

/// Returns an error if 32 bits do not number the K tiles of all tiles of slots, or the pieces of x.
fn require_numbers(
    experts: &Experts<'_>,
    tiles: RoutingTiles,
    rows_of_x: u32,
    shape: RoutingShape,
) -> Result<(), MatmulError> {
    const PIECE_COLUMNS: u64 = 8;
    const GROUP_ROWS: u64 = 64;
    const MOST: u64 = 1 << 31;
    let k_tiles = experts.columns() / K_TILE_COLUMNS;
    let groups = u64::from(experts.rows).div_ceil(GROUP_ROWS);
    let in_tile = groups * k_tiles.max(GROUP_ROWS / PANEL_ROWS);
    let x_pieces = u64::from(rows_of_x) * experts.columns() / PIECE_COLUMNS;
    if u64::from(tiles.most).saturating_mul(in_tile) >= MOST || x_pieces >= MOST {
        return Err(MatmulError::TooManySlots {
            slots: shape.slots(),
        });
    }
    Ok(())
}
