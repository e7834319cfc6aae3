//! A BF16 matrix in device memory, in the layout of its file.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream};
use unweight_format::{Forms, Palette};
use unweight_gpu::kernels::DeviceBuffer;
use unweight_gpu::{CheckedTensor, Device, DeviceTensor};

use crate::decoded::{coded_exponents, decode, require_matrix};
use crate::exponent_tables::{ExponentTables, TableAddresses};
use crate::job::{FragmentsJob, PlanesJob};
use crate::kernels::MatmulKernels;
use crate::layout::Shape;
use crate::{Fragments, MatmulError, NoPlan, View, WeightForm};

/// A BF16 tensor of two dimensions in device memory. The forms of its fields decide what is kept
/// there:
///
/// | forms | in memory | pipelines |
/// | --- | --- | --- |
/// | exponent coded, all else plain | as in the file, some 10.7 bits a weight | [`WholeDecode`], [`ExponentDecode`], [`PaletteTranscode`] |
/// | exponent coded, others coded or constant | as in the file | [`WholeDecode`] |
/// | exponent plain or constant | decoded, 16 bits a weight | [`WholeDecode`], which decodes nothing then |
///
/// [`PaletteTranscode`] also needs 4 bytes for each patch.
///
/// [`ExponentDecode`]: crate::ExponentDecode
/// [`PaletteTranscode`]: crate::PaletteTranscode
/// [`WholeDecode`]: crate::WholeDecode
///
/// Its records were checked when it was created, so launches that decode it need no status.
#[derive(Debug)]
pub struct CompressedMatrix {
    context: Arc<CudaContext>,
    kernels: Arc<MatmulKernels>,
    shape: Shape,
    forms: Forms,
    stored: Stored,
}

/// The matrix in device memory.
#[derive(Debug)]
enum Stored {
    /// A tensor of which the exponent is coded, and nothing else coded or constant.
    Exponent(Box<CodedExponent>),
    /// A tensor with a coded exponent, and other fields that are coded or constant.
    Fields(CheckedTensor),
    /// The weights.
    Decoded(DeviceBuffer<u8>),
}

/// A tensor of which the exponent is coded, and nothing else coded or constant.
#[derive(Debug)]
pub(crate) struct CodedExponent {
    pub(crate) tensor: CheckedTensor,
    pub(crate) palette: Palette,
    /// The palette and the patches of fragment form; None if the palette lacks too many exponents
    /// for it.
    pub(crate) tables: Option<ExponentTables>,
}

impl CompressedMatrix {
    /// Takes a BF16 tensor of this shape in any forms, decodes it once to check every record, and
    /// finds its patches if the exponent alone is coded. Waits for that, so it is meant for load
    /// time. It takes 2 to 3.5 bytes of device memory for each weight meanwhile.
    ///
    /// # Errors
    /// [`MatmulError::NotBf16`] for a tensor of another type; [`GpuError::WrongLength`] if the
    /// numbers of weights of tensor and shape differ; [`GpuError::BadChunk`];
    /// [`GpuError::OtherContext`]; [`GpuError::NoKernels`] and [`GpuError::Compile`]; the errors of
    /// the driver.
    ///
    /// [`GpuError::WrongLength`]: unweight_gpu::GpuError::WrongLength
    /// [`GpuError::BadChunk`]: unweight_gpu::GpuError::BadChunk
    /// [`GpuError::OtherContext`]: unweight_gpu::GpuError::OtherContext
    /// [`GpuError::NoKernels`]: unweight_gpu::GpuError::NoKernels
    /// [`GpuError::Compile`]: unweight_gpu::GpuError::Compile
    pub fn new(
        device: &Device,
        tensor: Arc<DeviceTensor>,
        shape: Shape,
    ) -> Result<CompressedMatrix, MatmulError> {
        require_matrix(&tensor, shape)?;
        let forms = tensor.payload().forms();
        let stored = match coded_exponents(tensor.palettes()).copied() {
            Some(palette) if forms.is_bf16_exponent() => {
                let exponent = CodedExponent::new(device, tensor, shape, palette)?;
                Stored::Exponent(Box::new(exponent))
            }
            Some(_) => Stored::Fields(CheckedTensor::decode(device, tensor)?.tensor),
            None => {
                let weights = decode(device, &tensor)?;
                let stream = weights.stream().clone();
                Stored::Decoded(DeviceBuffer::new(weights, &stream))
            }
        };
        Ok(CompressedMatrix {
            context: device.context().clone(),
            kernels: device.kernels()?,
            shape,
            forms,
            stored,
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

    /// The forms of the tensor's fields.
    pub const fn forms(&self) -> Forms {
        self.forms
    }

    /// The palette of the exponents. None if they are not coded.
    pub fn palette(&self) -> Option<&Palette> {
        match &self.stored {
            Stored::Exponent(exponent) => Some(&exponent.palette),
            Stored::Fields(tensor) => coded_exponents(tensor.tensor().palettes()),
            Stored::Decoded(_) => None,
        }
    }

    /// Whether [`PaletteTranscode`](crate::PaletteTranscode) can convert it to fragment form: its
    /// exponent alone is coded, and its palette lacks the exponents of at most one weight in 16.
    pub const fn has_fragment_form(&self) -> bool {
        matches!(&self.stored, Stored::Exponent(exponent) if exponent.tables.is_some())
    }

    /// Its size in device memory, in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.stored {
            Stored::Exponent(exponent) => exponent.bytes(),
            Stored::Fields(tensor) => tensor.tensor().bytes(),
            Stored::Decoded(weights) => weights.memory().num_bytes() as u64,
        }
    }

    /// The form, which decides what pipelines there are.
    pub(crate) const fn form(&self) -> WeightForm {
        match self.stored {
            Stored::Exponent(_) => WeightForm::Coded,
            Stored::Fields(_) | Stored::Decoded(_) => WeightForm::Fields,
        }
    }

    /// What pipelines need that decode or replace exponents alone.
    ///
    /// # Errors
    /// [`NoPlan::Fields`] if not the exponent alone is coded.
    pub(crate) const fn coded_exponent(&self) -> Result<&CodedExponent, NoPlan> {
        match &self.stored {
            Stored::Exponent(exponent) => Ok(exponent),
            Stored::Fields(_) | Stored::Decoded(_) => Err(NoPlan::Fields(self.forms)),
        }
    }

    /// The address of the weights, if they are decoded.
    pub(crate) const fn decoded_at(&self) -> Option<u64> {
        match &self.stored {
            Stored::Decoded(weights) => Some(weights.address()),
            Stored::Exponent(_) | Stored::Fields(_) => None,
        }
    }

    /// Launches the decoder, unless the weights are decoded.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`CheckedTensor::decode_weights`].
    pub(crate) unsafe fn decode(
        &self,
        stream: &CudaStream,
        to: u64,
        multiprocessors: Option<u32>,
    ) -> Result<(), MatmulError> {
        let tensor = match &self.stored {
            Stored::Exponent(exponent) => &exponent.tensor,
            Stored::Fields(tensor) => tensor,
            Stored::Decoded(_) => return Ok(()),
        };
        // SAFETY: the caller keeps the preconditions.
        unsafe { tensor.decode_weights(stream, to, multiprocessors)? };
        Ok(())
    }
}

impl CodedExponent {
    /// # Errors
    /// The errors of [`CompressedMatrix::new`].
    fn new(
        device: &Device,
        tensor: Arc<DeviceTensor>,
        shape: Shape,
        palette: Palette,
    ) -> Result<CodedExponent, MatmulError> {
        let decoded = CheckedTensor::decode(device, tensor)?;
        let matrix = View::slice(&decoded.weights, decoded.weights.stream());
        let tables = match Fragments::arrange(device, &matrix, shape, palette) {
            Ok(fragments) => Some(fragments.into_tables()),
            Err(MatmulError::TooManyPatches { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(CodedExponent {
            tensor: decoded.tensor,
            palette,
            tables,
        })
    }

    fn bytes(&self) -> u64 {
        self.tensor.tensor().bytes() + self.tables.as_ref().map_or(0, ExponentTables::bytes)
    }

    /// Launches the conversion of both planes to K tiles, with these tables of the tensor.
    ///
    /// # Safety
    /// The tensor, which has this shape, its tables, and a plane of its exponents must exist until
    /// the launch is done. Nobody else may use the memory of its K tiles at `k_tiles` until then.
    pub(crate) unsafe fn arrange(
        &self,
        kernels: &MatmulKernels,
        stream: &Arc<CudaStream>,
        shape: Shape,
        tables: &TableAddresses,
        exponents: u64,
        k_tiles: u64,
    ) -> Result<(), MatmulError> {
        let job = PlanesJob {
            exponents,
            sign_mantissa: self.tensor.plain(),
            fragments: FragmentsJob::new(shape, 0, k_tiles, tables),
        };
        // SAFETY: the preconditions at the head of kernels/matmul/fragments.cu: both planes are
        // aligned and have the length of the shape.
        unsafe { kernels.fragments.planes.launch(stream, shape, &job) }
    }
}
