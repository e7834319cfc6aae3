//! Matmul with uncompressed weights by cuBLASLt. Whole decodes use it, and it is the baseline of
//! measurements.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::{result, sys};
use cudarc::driver::CudaStream;

use crate::activations::require_lengths;
use crate::layout::Shape;
use crate::{Activations, MatmulError, View, ViewMut};

/// Size of cuBLASLt's workspace, as cuBLAS advises for Hopper.
pub(crate) const CUBLAS_BYTES: usize = 32 << 20;
/// `CUBLAS_OP_T`, which cudarc's bindings lack.
const OP_T: i32 = 1;
/// Number of algorithms that an exhaustive test tries.
const MOST_ALGORITHMS: usize = 8;

/// y = x W^T for one shape and batch, with W in row-major BF16 and an algorithm that is chosen
/// once.
#[derive(Debug)]
pub struct PlainMatmul {
    handle: sys::cublasLtHandle_t,
    description: sys::cublasLtMatmulDesc_t,
    weights: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    /// The algorithms, with cuBLASLt's choice first.
    algorithms: Vec<sys::cublasLtMatmulHeuristicResult_t>,
    chosen: usize,
    shape: Shape,
    batch: u32,
}

impl PlainMatmul {
    /// Size of cuBLASLt's workspace in bytes.
    pub const WORKSPACE_BYTES: usize = CUBLAS_BYTES;

    /// Asks cuBLASLt for algorithms.
    ///
    /// # Errors
    /// [`MatmulError::NoCublas`]; the errors of cuBLASLt.
    pub fn new(shape: Shape, batch: u32) -> Result<PlainMatmul, MatmulError> {
        // SAFETY: the call opens a system library by its name, and runs the library's initializers.
        if !unsafe { sys::is_culib_present() } {
            return Err(MatmulError::NoCublas);
        }
        let (rows, columns) = (shape.rows(), shape.columns());
        let bf16 = sys::cudaDataType::CUDA_R_16BF;
        let mut plain = PlainMatmul {
            handle: result::create_handle()?,
            description: result::create_matmul_desc(
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cudaDataType::CUDA_R_32F,
            )?,
            // cuBLAS matrices are column-major, so to cuBLAS W is its own transpose.
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

    fn ask_for_algorithms(&mut self) -> Result<(), MatmulError> {
        let (transposed, workspace_bytes) = (OP_T, CUBLAS_BYTES);
        let preference = result::create_matmul_pref()?;
        let mut found = 0;
        let mut algorithms = Vec::with_capacity(MOST_ALGORITHMS);
        // SAFETY: all handles are alive, attributes are given by address and size, and the vector
        // has room for the requested number of results.
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
            return Err(MatmulError::NoCublas);
        }
        self.algorithms = algorithms;
        Ok(())
    }

    /// Leaves all except this many multiprocessors to others, and asks for algorithms again.
    ///
    /// # Errors
    /// The errors of cuBLASLt.
    pub fn limit_multiprocessors(&mut self, count: u32) -> Result<(), MatmulError> {
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

    /// The number of algorithms that cuBLASLt offers, with its own choice first.
    pub fn algorithms(&self) -> usize {
        self.algorithms.len()
    }

    /// Selects another algorithm.
    ///
    /// # Panics
    /// If there are fewer algorithms.
    pub fn choose(&mut self, algorithm: usize) {
        assert!(algorithm < self.algorithms.len());
        self.chosen = algorithm;
    }

    pub(crate) fn is_for(&self, shape: Shape, batch: u32) -> bool {
        (self.shape, self.batch) == (shape, batch)
    }

    /// Launches the matmul, with [`PlainMatmul::WORKSPACE_BYTES`] of device memory at `workspace`.
    /// Returns at once.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength); the errors of cuBLASLt.
    ///
    /// # Safety
    /// The workspace, the weights, x, y and this value must exist, and nobody else may write them
    /// or read y, until the matmul is done. If the stream is capturing, that holds until the last
    /// launch of the graph is done.
    pub unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        weights: &View<'_>,
        x: &View<'_>,
        y: &ViewMut<'_>,
        workspace: u64,
    ) -> Result<(), MatmulError> {
        let activations = Activations {
            values: *x,
            batch: self.batch,
        };
        require_lengths(self.shape, activations, y)?;
        weights.require(self.shape.weights())?;
        stream.context().bind_to_thread()?;
        let (one, zero) = (1f32, 0f32);
        // SAFETY: lengths were checked, and all other arguments were created for this shape.
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
        // SAFETY: `new` created each handle, and each is destroyed once. Errors are ignored because
        // nobody can handle them.
        unsafe {
            let _ = result::destroy_matrix_layout(self.weights);
            let _ = result::destroy_matrix_layout(self.x);
            let _ = result::destroy_matrix_layout(self.y);
            let _ = result::destroy_matmul_desc(self.description);
            let _ = result::destroy_handle(self.handle);
        }
    }
}
