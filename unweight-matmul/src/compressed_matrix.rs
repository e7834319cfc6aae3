//! A coded matrix in device memory, in the layout of its file.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream};
use unweight_format::Palette;
use unweight_gpu::{CheckedTensor, Device, DeviceTensor, GpuError};

use crate::fragments::Patches;
use crate::job::{FragmentsJob, PlanesJob};
use crate::kernels::MatmulKernels;
use crate::layout::Shape;
use crate::{Fragments, MatmulError, View};

/// A coded tensor of two dimensions in device memory. It takes some 10.7 bits for each weight if
/// its records are Huffman-coded, and 4 bytes for each patch.
///
/// Its records were checked when it was created, so launches that decode it need no status.
#[derive(Debug)]
pub struct CompressedMatrix {
    context: Arc<CudaContext>,
    tensor: CheckedTensor,
    kernels: Arc<MatmulKernels>,
    shape: Shape,
    /// The patches; None if the palette lacks too many exponents for fragment form.
    patches: Option<Patches>,
}

impl CompressedMatrix {
    /// Takes a tensor of this shape, decodes it once to check every record, and finds its patches.
    /// Waits for that, so it is meant for load time. It takes 3.5 bytes of device memory for each
    /// weight meanwhile.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] if the numbers of weights of tensor and shape differ;
    /// [`GpuError::BadChunk`]; [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and
    /// [`GpuError::Compile`]; the errors of the driver.
    pub fn new(
        device: &Device,
        tensor: Arc<DeviceTensor>,
        shape: Shape,
    ) -> Result<CompressedMatrix, MatmulError> {
        let planes = *tensor.planes();
        if planes.weights() != shape.weights() {
            return Err(MatmulError::Gpu(GpuError::WrongLength {
                needed_bytes: 2 * shape.weights(),
                given_bytes: 2 * planes.weights(),
            }));
        }
        let decoded = CheckedTensor::decode(device, tensor)?;
        let matrix = View::slice(&decoded.weights, decoded.weights.stream());
        let patches = match Fragments::arrange(device, &matrix, shape, *planes.palette()) {
            Ok(fragments) => Some(fragments.into_patches()),
            Err(MatmulError::TooManyPatches { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(CompressedMatrix {
            context: device.context().clone(),
            tensor: decoded.tensor,
            kernels: device.kernels()?,
            shape,
            patches,
        })
    }

    /// The kernels that multiply by this matrix.
    pub(crate) fn kernels(&self) -> &MatmulKernels {
        &self.kernels
    }

    pub(crate) const fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The tensor's palette.
    pub fn palette(&self) -> &Palette {
        self.tensor.tensor().planes().palette()
    }

    /// Whether it can be converted to fragment form. It cannot if its palette lacks the exponents
    /// of more than one weight in 16.
    pub const fn has_fragment_form(&self) -> bool {
        self.patches.is_some()
    }

    /// Its size in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tensor.tensor().bytes() + self.patches.as_ref().map_or(0, Patches::bytes)
    }

    /// The tensor, for launches of the decoder.
    pub(crate) const fn tensor(&self) -> &CheckedTensor {
        &self.tensor
    }

    pub(crate) const fn patches(&self) -> Option<&Patches> {
        self.patches.as_ref()
    }

    /// Launches the conversion of both planes to K tiles.
    ///
    /// # Safety
    /// The matrix and a plane of its exponents must exist until the launch is done. Nobody else may
    /// use the memory of its K tiles at `k_tiles` until then.
    pub(crate) unsafe fn arrange(
        &self,
        stream: &Arc<CudaStream>,
        exponents: u64,
        k_tiles: u64,
    ) -> Result<(), MatmulError> {
        let job = PlanesJob {
            exponents,
            sign_mantissa: self.tensor.sign_mantissa(),
            fragments: FragmentsJob {
                weights: k_tiles,
                ..FragmentsJob::new(self.shape, self.palette())
            },
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: both planes are
        // aligned and have the length of the shape.
        unsafe { (self.kernels.fragments.planes).launch(stream, self.shape, &job) }
    }
}
