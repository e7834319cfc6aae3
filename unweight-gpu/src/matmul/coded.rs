//! A coded matrix in device memory, in the layout of its file.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream};
use unweight_format::Palette;

use super::Fragments;
use super::fragments::{FragmentsKernels, Patches};
use super::job::{FragmentsJob, PlanesJob};
use super::kernels::MatmulKernels;
use super::layout::Shape;
use crate::{CheckedTensor, Device, DeviceTensor, GpuError, View};

/// A coded tensor of two dimensions in device memory. It takes some 10.7 bits for each weight if
/// its records are Huffman-coded, and 4 bytes for each patch.
///
/// Its records were checked when it was created, so launches that decode it need no status.
#[derive(Debug)]
pub struct Coded {
    tensor: CheckedTensor,
    kernels: Arc<FragmentsKernels>,
    matmul: Arc<MatmulKernels>,
    shape: Shape,
    /// The patches; None if the palette lacks too many exponents for fragment form.
    patches: Option<Patches>,
}

impl Coded {
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
    ) -> Result<Coded, GpuError> {
        let planes = *tensor.planes();
        if planes.weights() != shape.weights() {
            return Err(GpuError::WrongLength {
                needed_bytes: 2 * shape.weights(),
                given_bytes: 2 * planes.weights(),
            });
        }
        let decoded = CheckedTensor::decode(device, tensor)?;
        let matrix = View::slice(&decoded.weights, device.own_stream());
        let patches = match Fragments::arrange(device, &matrix, shape, *planes.palette()) {
            Ok(fragments) => Some(fragments.into_patches()),
            Err(GpuError::TooManyPatches { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Coded {
            tensor: decoded.tensor,
            kernels: device.kernels()?,
            matmul: device.kernels()?,
            shape,
            patches,
        })
    }

    /// The kernels that multiply by this matrix.
    pub(super) fn matmul_kernels(&self) -> &MatmulKernels {
        &self.matmul
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        self.tensor.tensor().context()
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

    pub(super) fn sign_mantissa(&self) -> u64 {
        self.tensor.sign_mantissa()
    }

    pub(super) const fn patches(&self) -> Option<&Patches> {
        self.patches.as_ref()
    }

    /// The tensor, for launches of the decoder.
    pub(super) const fn tensor(&self) -> &CheckedTensor {
        &self.tensor
    }

    /// Launches the conversion of both planes to K tiles.
    ///
    /// # Safety
    /// The matrix and a plane of its exponents must exist until the launch is done. Nobody else may
    /// use the room for its K tiles at `units` until then.
    pub(super) unsafe fn arrange(
        &self,
        stream: &Arc<CudaStream>,
        exponents: u64,
        units: u64,
    ) -> Result<(), GpuError> {
        let job = PlanesJob {
            exponents,
            sign_mantissa: self.sign_mantissa(),
            fragments: FragmentsJob {
                weights: units,
                ..FragmentsJob::new(self.shape, self.palette())
            },
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: both planes are
        // aligned and have the length of the shape.
        unsafe { self.kernels.planes.launch(stream, self.shape, &job) }
    }
}
