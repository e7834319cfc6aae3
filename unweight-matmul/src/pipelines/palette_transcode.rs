//! Matmul of a coded matrix by way of fragment form.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::Phases;
use super::from_k_tiles::{FromKTiles, KTiles};
use crate::Activations;
use crate::compressed_matrix::CodedExponent;
use crate::exponent_tables::TableAddresses;
use crate::fused::Fusion;
use crate::layout::Shape;
use crate::workspace::WorkspaceNeed;
use crate::{CompressedMatrix, Kernel, MatmulError, Pipeline, PlanName, ViewMut, Workspace};

/// Converts a matrix to fragment form in the workspace, and continues like
/// [`Direct`](super::Direct). The exponent must be coded, and nothing else coded or constant.
#[derive(Clone, Copy, Debug)]
pub struct PaletteTranscode<'a> {
    matmul: FromKTiles<'a>,
    matrix: &'a CompressedMatrix,
    exponent: &'a CodedExponent,
    tables: TableAddresses,
}

impl<'a> PaletteTranscode<'a> {
    /// The plan for this matrix. None if it cannot be converted to fragment form
    /// ([`CompressedMatrix::has_fragment_form`]).
    pub fn new(matrix: &'a CompressedMatrix) -> Option<PaletteTranscode<'a>> {
        let exponent = matrix.coded_exponent().ok()?;
        Some(PaletteTranscode {
            matmul: FromKTiles::new(matrix.kernels(), matrix.shape()),
            matrix,
            exponent,
            tables: exponent.tables.as_ref()?.addresses(),
        })
    }

    /// The same plan with this kernel.
    #[must_use]
    pub const fn with_kernel(self, kernel: Kernel) -> PaletteTranscode<'a> {
        let matmul = self.matmul.with_kernel(kernel);
        PaletteTranscode { matmul, ..self }
    }

    pub(crate) const fn need(shape: Shape) -> WorkspaceNeed {
        WorkspaceNeed {
            prepared_bytes: shape.k_tile_bytes(),
            exponent_bytes: shape.weights(),
            ..WorkspaceNeed::of_sums(shape)
        }
    }
}

impl Phases for PaletteTranscode<'_> {
    fn name(&self) -> PlanName {
        PlanName {
            pipeline: Pipeline::PaletteTranscode,
            kernel: self.matmul.kernel(),
        }
    }

    fn shape(&self) -> Shape {
        self.matrix.shape()
    }

    fn need(&self) -> WorkspaceNeed {
        PaletteTranscode::need(self.shape())
    }

    fn kernels(&self, batch: u32) -> Vec<Kernel> {
        self.matmul.kernels(batch)
    }

    unsafe fn prepare(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        to: u64,
    ) -> Result<(), MatmulError> {
        let multiprocessors = workspace.decoding_multiprocessors();
        let (kernels, shape) = (self.matrix.kernels(), self.shape());
        let exponents = workspace.exponents(shape.weights())?;
        // SAFETY: for both calls: the caller keeps the preconditions; the workspace has a byte for
        // each weight at `exponents`, and preparations come one after the other.
        unsafe {
            let tensor = &self.exponent.tensor;
            tensor.decode_exponents(stream, exponents, multiprocessors)?;
            (self.exponent).arrange(kernels, stream, shape, &self.tables, exponents, to)
        }
    }

    unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        prepared: u64,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let k_tiles = KTiles {
            address: prepared,
            tables: &self.tables,
            bias: None,
            is_resident: false,
            fusion: Fusion::default(),
        };
        // SAFETY: the caller keeps the preconditions.
        unsafe {
            self.matmul
                .multiply(stream.into(), workspace.sums(), &k_tiles, x, y)
        }
    }
}
