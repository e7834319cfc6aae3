//! The product with uncompressed weights, by cuBLASLt: what a whole decode is followed by, and what others are measured against.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::{result, sys};
use cudarc::driver::CudaStream;

use super::layout::Shape;
use super::workspace::CUBLAS_BYTES;
use crate::{GpuError, View, ViewMut};

/// `CUBLAS_OP_T`, which cudarc's bindings lack.
const OP_T: i32 = 1;
/// Algorithms that a test of all of them tries.
const MOST_ALGORITHMS: usize = 8;

/// y = x W^T for one shape and batch, W row-major BF16: an algorithm chosen once.
#[derive(Debug)]
pub struct PlainMatmul {
    handle: sys::cublasLtHandle_t,
    description: sys::cublasLtMatmulDesc_t,
    weights: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    /// cuBLASLt's choice first.
    algorithms: Vec<sys::cublasLtMatmulHeuristicResult_t>,
    chosen: usize,
    shape: Shape,
    batch: u32,
}

impl PlainMatmul {
    /// Of cuBLASLt's workspace.
    pub const WORKSPACE_BYTES: usize = CUBLAS_BYTES;

    /// Asks cuBLASLt for algorithms.
    ///
    /// # Errors
    /// [`GpuError::NoCublas`]; cuBLASLt's.
    pub fn new(shape: Shape, batch: u32) -> Result<PlainMatmul, GpuError> {
        // SAFETY: it opens a library of the system by its name, and runs what that library runs when it is loaded.
        if !unsafe { sys::is_culib_present() } {
            return Err(GpuError::NoCublas);
        }
        let (rows, columns) = (shape.rows(), shape.columns());
        let bf16 = sys::cudaDataType::CUDA_R_16BF;
        let mut plain = PlainMatmul {
            handle: result::create_handle()?,
            description: result::create_matmul_desc(
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cudaDataType::CUDA_R_32F,
            )?,
            // To cuBLAS, whose matrices go by columns, W is its own transpose.
            weights: result::create_matrix_layout(bf16, columns, rows, columns as i64)?,
            x: result::create_matrix_layout(bf16, columns, batch.into(), columns as i64)?,
            y: result::create_matrix_layout(bf16, rows, batch.into(), rows as i64)?,
            algorithms: vec![],
            chosen: 0,
            shape,
            batch,
        };
        plain.ask_for_algorithms()?;
        Ok(plain)
    }

    fn ask_for_algorithms(&mut self) -> Result<(), GpuError> {
        let (transposed, workspace_bytes) = (OP_T, CUBLAS_BYTES);
        let preference = result::create_matmul_pref()?;
        let mut found = 0;
        let mut algorithms = Vec::with_capacity(MOST_ALGORITHMS);
        // SAFETY: all handles are alive, attributes are given by address and size, and the vector has room for as many results as are asked for.
        unsafe {
            result::set_matmul_desc_attribute(
                self.description,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const transposed).cast(),
                size_of_val(&transposed),
            )?;
            let asked = result::set_matmul_pref_attribute(
                preference,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace_bytes).cast(),
                size_of_val(&workspace_bytes),
            )
            .and_then(|()| {
                sys::cublasLtMatmulAlgoGetHeuristic(
                    self.handle,
                    self.description,
                    self.weights,
                    self.x,
                    self.y,
                    self.y,
                    preference,
                    MOST_ALGORITHMS as i32,
                    algorithms.as_mut_ptr(),
                    &mut found,
                )
                .result()
            });
            result::destroy_matmul_pref(preference)?;
            asked?;
            algorithms.set_len(found as usize);
        }
        if algorithms.is_empty() {
            return Err(GpuError::NoCublas);
        }
        self.algorithms = algorithms;
        Ok(())
    }

    /// Leaves all but so many multiprocessors to others, and asks for algorithms again.
    ///
    /// # Errors
    /// cuBLASLt's.
    pub fn limit_multiprocessors(&mut self, count: u32) -> Result<(), GpuError> {
        let count = count as i32;
        // SAFETY: the handle is alive, and the attribute is given by address and size.
        unsafe {
            result::set_matmul_desc_attribute(
                self.description,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET,
                (&raw const count).cast(),
                size_of_val(&count),
            )?;
        }
        self.chosen = 0;
        self.ask_for_algorithms()
    }

    /// How many algorithms cuBLASLt offers, its own choice first.
    pub fn algorithms(&self) -> usize {
        self.algorithms.len()
    }

    /// Takes another of them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn choose(&mut self, algorithm: usize) {
        assert!(algorithm < self.algorithms.len());
        self.chosen = algorithm;
    }

    pub(super) fn is_for(&self, shape: Shape, batch: u32) -> bool {
        (self.shape, self.batch) == (shape, batch)
    }

    /// Launches the product, with [`PlainMatmul::WORKSPACE_BYTES`] of device memory at `workspace`. Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`]; cuBLASLt's.
    ///
    /// # Safety
    /// They, the weights, x, y and this are there, and nobody else writes them or reads y, until the product is done; where the stream is capturing, until the
    /// last launch of the graph is.
    pub unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        weights: &View<'_>,
        x: &View<'_>,
        y: &ViewMut<'_>,
        workspace: u64,
    ) -> Result<(), GpuError> {
        let batch = u64::from(self.batch);
        super::linear::require_lengths(self.shape, batch, x, y)?;
        weights.require(self.shape.weights())?;
        let (one, zero) = (1f32, 0f32);
        // SAFETY: lengths were checked, and the rest was made for this shape.
        unsafe {
            result::matmul(
                self.handle,
                self.description,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                weights.address() as *const c_void,
                self.weights,
                x.address() as *const c_void,
                self.x,
                y.address() as *const c_void,
                self.y,
                y.address() as *mut c_void,
                self.y,
                &raw const self.algorithms[self.chosen].algo,
                workspace as *mut c_void,
                CUBLAS_BYTES,
                stream.cu_stream().cast(),
            )?;
        }
        Ok(())
    }
}

impl Drop for PlainMatmul {
    fn drop(&mut self) {
        // SAFETY: each was made by `new`, and is destroyed once. There is nobody to tell of errors.
        unsafe {
            let _ = result::destroy_matrix_layout(self.weights);
            let _ = result::destroy_matrix_layout(self.x);
            let _ = result::destroy_matrix_layout(self.y);
            let _ = result::destroy_matmul_desc(self.description);
            let _ = result::destroy_handle(self.handle);
        }
    }
}
