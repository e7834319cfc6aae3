//! Packed matrices in torch's memory on a CUDA device.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use unweight::gpu::kernels::{LaunchStream, RelaxedCapture};
use unweight::gpu::load::CallerStream;
use unweight::gpu::{GpuError, KeptContext};
use unweight::{CudaDevice, Error};
use unweight_matmul::layout::{most_frequent, patch_count};
use unweight_matmul::{
    Activations, Direct, Experts, FragmentsMemory, FragmentsRef, FusedMatmul, GroupedActivations,
    GroupedMatmul, Linear, MatmulDevice, MatmulError, NormedRows, Pipeline, Residual, RoutingShape,
    RowsOfX, Shape, SharedWorkspace, StoredPalette, TokenExperts, View, ViewMut,
};

use crate::cuda::device_of;
use crate::error::{exception, wrong_argument};

/// Workspaces are made for matrices of so many rows at least, so that few are needed.
const ROWS: u64 = 1 << 18;

/// Addresses of K tiles, patches, patch ends and palette; the numbers of patches and of stored
/// exponents; the matrix's rows and columns.
type Matrix = (u64, u64, u64, u64, u32, u32, u64, u64);

/// Addresses of a residual, of the norm's factors after it, of their sum and of the sums of squares.
type ResidualOfY = (u64, u64, u64, u64);

/// Address of the sums of squares of x before its norm; epsilon.
type NormOfX = (u64, f32);

/// The numbers of tokens, of experts for each token, and of all experts.
type Routing = (u32, u32, u32);

/// The kernels for packed matrices on one device. Addresses are of memory on the device, and streams
/// are `CUstream`s of its primary context.
#[pyclass(frozen, module = "unweight._unweight")]
pub(crate) struct PackedKernels {
    device: CudaDevice,
    kernels: MatmulDevice,
    /// Loaded at first use.
    grouped: Mutex<Option<GroupedMatmul>>,
    /// A workspace for each stream. Graphs may have their addresses, so they are never freed.
    workspaces: Mutex<HashMap<usize, &'static SharedWorkspace>>,
}

#[pymethods]
impl PackedKernels {
    /// The kernels of the device of this number.
    #[new]
    fn new(py: Python<'_>, device: usize) -> PyResult<PackedKernels> {
        let opened = py.detach(|| {
            let _kept = KeptContext::new();
            // Torch, whose tensors these are, has initialised the driver.
            let _relaxed = RelaxedCapture::begin()?;
            let device = device_of(device)?;
            let kernels = MatmulDevice::new(device.device());
            Ok((device, kernels))
        });
        let (device, kernels) = opened.map_err(|error: Error| exception(py, &error, None))?;
        Ok(PackedKernels {
            device,
            kernels: kernels.map_err(|error| exception_of(py, error))?,
            grouped: Mutex::default(),
            workspaces: Mutex::default(),
        })
    }

    /// Adds the counts of a matrix's exponents to 256 numbers of 64 bits.
    fn count_exponents(
        &self,
        py: Python<'_>,
        weights: u64,
        rows: u64,
        columns: u64,
        counts: u64,
        stream: usize,
    ) -> PyResult<()> {
        let shape = shape(py, rows, columns)?;
        self.launch(py, stream, |stream| {
            let (weights, counts) = (
                self.view(weights, shape.weights()),
                self.view_mut(counts, 8 * 256),
            );
            // SAFETY: `_packed_cuda.py`, the only caller, holds tensors of these lengths on this
            // device until torch's stream, which this is, has passed the launch.
            unsafe {
                self.kernels
                    .count_exponents(stream, &weights, shape, &counts)
            }
        })
    }

    /// Writes the number of patches of each row panel where their ends will be.
    fn count_patches(
        &self,
        py: Python<'_>,
        matrix: Matrix,
        weights: u64,
        stream: usize,
    ) -> PyResult<()> {
        let matrix = self.matrix(py, matrix)?;
        self.launch(py, stream, |stream| {
            let weights = self.view(weights, matrix.shape().weights());
            // SAFETY: as in `count_exponents`.
            unsafe { matrix.count_patches(stream, &weights) }
        })
    }

    /// Writes K tiles and patches.
    fn arrange(&self, py: Python<'_>, matrix: Matrix, weights: u64, stream: usize) -> PyResult<()> {
        let matrix = self.matrix(py, matrix)?;
        self.launch(py, stream, |stream| {
            let weights = self.view(weights, matrix.shape().weights());
            // SAFETY: as in `count_exponents`.
            unsafe { matrix.arrange(stream, &weights) }
        })
    }

    /// Writes the row-major BF16 matrix.
    fn restore(&self, py: Python<'_>, matrix: Matrix, weights: u64, stream: usize) -> PyResult<()> {
        let matrix = self.matrix(py, matrix)?;
        self.launch(py, stream, |stream| {
            let weights = self.view_mut(weights, 2 * matrix.shape().weights());
            // SAFETY: as in `count_exponents`.
            unsafe { matrix.restore(stream, &weights) }
        })
    }

    /// Writes y = x W^T + bias for `batch` rows of x. `bias` is 0 for none. Returns false, and does
    /// nothing, if the matrix should better be restored for so many rows, and torch multiply.
    #[expect(clippy::too_many_arguments, reason = "the tensors of a product")]
    fn multiply(
        &self,
        py: Python<'_>,
        matrix: Matrix,
        x: u64,
        batch: u32,
        y: u64,
        bias: u64,
        stream: usize,
    ) -> PyResult<bool> {
        let matrix = self.matrix(py, matrix)?;
        let shape = matrix.shape();
        if Linear::new(matrix).advised(batch).name().pipeline != Pipeline::Direct {
            return Ok(false);
        }
        self.launch(py, stream, |launches| {
            let mut plan = Direct::new(matrix);
            if bias != 0 {
                plan = plan.with_bias(self.view(bias, shape.rows()))?;
            }
            let values = self.view(x, u64::from(batch) * shape.columns());
            let y = self.view_mut(y, 2 * u64::from(batch) * shape.rows());
            let workspace = self.workspace(stream, shape)?;
            // SAFETY: as in `count_exponents`. The workspace is never dropped; launches on one
            // stream run one after the other, and those of a graph where it was captured.
            unsafe { plan.multiply_on(launches, workspace, Activations { values, batch }, &y) }
        })?;
        Ok(true)
    }

    /// Same as `multiply`, without a bias, and with a residual and the first half of a norm after the
    /// product, or the second half of a norm before it, or silu(gate) * up after it. Returns false,
    /// and does nothing, if the gate alone should better be calculated after the product.
    #[expect(clippy::too_many_arguments, reason = "the tensors of a product")]
    fn multiply_fused(
        &self,
        py: Python<'_>,
        matrix: Matrix,
        x: u64,
        batch: u32,
        y: u64,
        residual: Option<ResidualOfY>,
        norm: Option<NormOfX>,
        gated: bool,
        stream: usize,
    ) -> PyResult<bool> {
        if gated && norm.is_none() && !FusedMatmul::gate_is_advised(batch) {
            return Ok(false);
        }
        let matrix = self.matrix(py, matrix)?;
        let shape = matrix.shape();
        self.launch(py, stream, |launches| {
            let (rows, columns) = (
                u64::from(batch) * shape.rows(),
                u64::from(batch) * shape.columns(),
            );
            let (values, weight, sum, squares) = residual.unwrap_or_default();
            let (sum, squares) = (
                self.view_mut(sum, 2 * rows),
                self.view_mut(squares, rows / 4),
            );
            let (squares_of_x, epsilon) = norm.unwrap_or_default();
            let squares_of_x = self.view_mut(squares_of_x, columns / 4);
            let mut fused = FusedMatmul::new(matrix);
            if residual.is_some() {
                fused = fused.with_residual(Residual {
                    values: self.view(values, rows),
                    weight: self.view(weight, shape.rows()),
                    sum: &sum,
                    squares: &squares,
                })?;
            }
            if norm.is_some() {
                fused = fused.with_normed_rows(NormedRows {
                    squares: &squares_of_x,
                    epsilon,
                });
            }
            if gated {
                fused = fused.with_silu_mul()?;
            }
            let (values, outputs) = (self.view(x, columns), rows >> u32::from(gated));
            let (x, y) = (Activations { values, batch }, self.view_mut(y, 2 * outputs));
            let workspace = self.workspace(stream, shape)?;
            // SAFETY: as in `multiply`. None of the tensors overlap.
            unsafe { fused.multiply_on(launches, workspace, x, &y) }
        })?;
        Ok(true)
    }

    /// Sorts the slots of tokens by expert. `experts` has the number of the expert of each slot,
    /// and `scales` its factor; 0 for ones.
    fn route(
        &self,
        py: Python<'_>,
        shape: Routing,
        experts: u64,
        scales: u64,
        routing: (u64, u64),
        stream: usize,
    ) -> PyResult<()> {
        let shape = routing_shape(py, shape)?;
        self.launch(py, stream, |stream| {
            let grouped = self.grouped()?;
            let chosen = TokenExperts {
                experts,
                scales: (scales != 0).then_some(scales),
            };
            let (address, bytes) = routing;
            let routing = self.view_mut(address, bytes);
            // SAFETY: as in `count_exponents`. Torch's stream orders the use of the routing.
            unsafe { grouped.route(stream, shape, chosen, &routing) }
        })
    }

    /// Writes y = x W^T for each slot, with the W of its expert. `matrix` has the experts' rows
    /// one after the other, x a row for each token of the routing, and `routing` what `route` wrote
    /// for the same numbers. If `scaled`, sums are multiplied by the routing's factors.
    #[expect(clippy::too_many_arguments, reason = "the tensors of a product")]
    fn multiply_grouped(
        &self,
        py: Python<'_>,
        matrix: Matrix,
        shape: Routing,
        routing: (u64, u64),
        x: u64,
        scaled: bool,
        y: u64,
        stream: usize,
    ) -> PyResult<()> {
        let matrix = self.matrix(py, matrix)?;
        let shape = routing_shape(py, shape)?;
        let experts = Experts::new(matrix, shape.experts());
        let experts = experts.map_err(|error| exception_of(py, error))?;
        self.launch(py, stream, |launches| {
            let grouped = self.grouped()?;
            let (routing, given_bytes) = routing;
            let needed_bytes = grouped.routing_bytes(shape);
            if given_bytes < needed_bytes {
                return Err(GpuError::WrongLength {
                    needed_bytes,
                    given_bytes,
                }
                .into());
            }
            let activations = GroupedActivations {
                shape,
                routing,
                x: self.view(x, u64::from(shape.tokens()) * experts.columns()),
                rows: RowsOfX::Tokens,
                scaled,
            };
            let y = self.view_mut(y, 2 * u64::from(shape.slots()) * u64::from(experts.rows()));
            // Any workspace suffices.
            let workspace = self.workspace(stream, Shape::new(1, experts.columns())?)?;
            // SAFETY: as in `multiply`, and `route` wrote the routing on this stream, or torch
            // ordered the streams.
            unsafe { grouped.multiply(launches, workspace, &experts, activations, &y) }
        })
    }
}

impl PackedKernels {
    /// The kernels of grouped products.
    fn grouped(&self) -> Result<GroupedMatmul, MatmulError> {
        let mut grouped = self.grouped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grouped) = &*grouped {
            return Ok(grouped.clone());
        }
        // Torch may be capturing a graph.
        let _relaxed = RelaxedCapture::begin()?;
        let loaded = GroupedMatmul::new(self.device.device())?;
        Ok(grouped.insert(loaded).clone())
    }

    /// Calls `launch` with a stream of torch, without the interpreter: the driver may wait for room
    /// in its queue. Keeps the thread's current context.
    fn launch(
        &self,
        py: Python<'_>,
        stream: usize,
        launch: impl FnOnce(LaunchStream<'_>) -> Result<(), MatmulError> + Send,
    ) -> PyResult<()> {
        let done = py.detach(|| {
            let _kept = KeptContext::new();
            // SAFETY: it is torch's current stream of the device, as `_packed_cuda.py` asks for it.
            // Torch uses primary contexts, and keeps its streams.
            let stream = unsafe { CallerStream::from_raw(stream as *mut c_void) };
            launch(stream.for_launches(self.kernels.context())?)
        });
        done.map_err(|error| exception_of(py, error))
    }

    fn matrix(&self, py: Python<'_>, matrix: Matrix) -> PyResult<FragmentsRef<'_>> {
        let (k_tiles, patches, patch_ends, palette, patch_count, exponents, rows, columns) = matrix;
        let memory = FragmentsMemory {
            k_tiles,
            patches,
            patch_count,
            patch_ends,
            palette,
            stored: match exponents {
                1 => StoredPalette::Consecutive,
                _ => StoredPalette::Any,
            },
        };
        let shape = shape(py, rows, columns)?;
        // SAFETY: `_packed_cuda.py` checks types, lengths, device and alignment of the tensors, and
        // torch keeps their memory until its stream has passed the launches. `pack`, copies and the
        // loads of files write them, and none of these lets the next launch begin early.
        Ok(unsafe { FragmentsRef::at(&self.kernels, shape, memory) })
    }

    fn view(&self, address: u64, values: u64) -> View<'_> {
        // SAFETY: as in `matrix`.
        unsafe { View::at_address(address, values) }
    }

    fn view_mut(&self, address: u64, bytes: u64) -> ViewMut<'_> {
        // SAFETY: as in `matrix`.
        unsafe { ViewMut::at_address(address, bytes) }
    }

    /// The workspace of a stream for matrices of this shape, made if there is none that suffices.
    fn workspace(
        &self,
        stream: usize,
        shape: Shape,
    ) -> Result<&'static SharedWorkspace, MatmulError> {
        let mut workspaces = self
            .workspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(workspace) = workspaces.get(&stream)
            && workspace.suffices_for(shape)
        {
            return Ok(workspace);
        }
        let rows = shape.rows().max(ROWS);
        let workspace = SharedWorkspace::new(self.device.device(), rows)?;
        let workspace: &'static SharedWorkspace = Box::leak(Box::new(workspace));
        workspaces.insert(stream, workspace);
        Ok(workspace)
    }
}

/// A palette for these counts of exponents, and the number of weights that it lacks; or why the
/// matrix has no packed form.
#[derive(IntoPyObject)]
pub(crate) enum Chosen<'py> {
    Palette((Bound<'py, PyBytes>, u64)),
    Refused(String),
}

/// Chooses the palette of a matrix by the counts of its exponents.
#[pyfunction]
pub(crate) fn choose_palette(
    py: Python<'_>,
    counts: [u64; 256],
    rows: u64,
    columns: u64,
) -> PyResult<Chosen<'_>> {
    let palette = most_frequent(&counts);
    let patches = patch_count(&counts, &palette);
    if let Err(error) = shape(py, rows, columns)?.require_few_patches(patches) {
        return Ok(Chosen::Refused(error.to_string()));
    }
    let (_, stored) = StoredPalette::of(&palette);
    Ok(Chosen::Palette((PyBytes::new(py, stored), patches)))
}

/// The most rows of x whose norm products around it should calculate.
#[pyfunction]
pub(crate) const fn most_rows_of_fused_norm() -> u32 {
    FusedMatmul::MOST_NORM_ROWS
}

/// Bytes that suffice for the routing of these tokens on every device.
#[pyfunction]
pub(crate) fn routing_bytes(py: Python<'_>, shape: Routing) -> PyResult<u64> {
    Ok(routing_shape(py, shape)?.sufficient_bytes())
}

fn shape(py: Python<'_>, rows: u64, columns: u64) -> PyResult<Shape> {
    Shape::new(rows, columns).map_err(|error| exception_of(py, error))
}

fn routing_shape(py: Python<'_>, (tokens, top_k, experts): Routing) -> PyResult<RoutingShape> {
    RoutingShape::new(tokens, top_k, experts).map_err(|error| exception_of(py, error))
}

fn exception_of(py: Python<'_>, error: MatmulError) -> PyErr {
    match error {
        MatmulError::Gpu(error) => exception(py, &Error::from(error), None),
        // What a kernel cannot do that was asked for.
        other => wrong_argument(py, other.to_string()),
    }
}
