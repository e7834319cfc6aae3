//! A tensor of an open model.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use unweight_cpu::fast::Output;
use unweight_format::{Dtype, Forms};

use crate::breakdown::TensorBreakdown;
use crate::container::{decode_tensor_into, from_little_endian};
use crate::slice::Runs;
use crate::{Error, Indices, Model};

/// A tensor of an open [`Model`].
#[derive(Clone, Copy)]
pub struct Tensor<'m> {
    model: &'m Model,
    tensor: unweight_format::Tensor<'m>,
}

impl<'m> Tensor<'m> {
    pub(crate) fn new(model: &'m Model, tensor: unweight_format::Tensor<'m>) -> Tensor<'m> {
        Tensor { model, tensor }
    }

    /// The name. It comes from the file without any check: it may be empty, look like a path, or
    /// contain control characters.
    pub fn name(&self) -> &'m str {
        self.tensor.name()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.tensor.dtype()
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> impl Iterator<Item = u64> + use<'m> {
        self.tensor.shape()
    }

    /// The product of the dimensions.
    pub fn element_count(&self) -> u64 {
        self.tensor.element_count()
    }

    /// Number of original bytes.
    pub fn data_bytes(&self) -> u64 {
        self.tensor.data_bytes()
    }

    /// The forms in which the fields of the weights are stored.
    pub fn forms(&self) -> Forms {
        self.tensor.forms()
    }

    /// The directory entry, with the extents of the payload's parts.
    pub fn entry(&self) -> &unweight_format::Tensor<'m> {
        &self.tensor
    }

    /// Where the bits of the tensor go. Reads the whole tensor, and checks its checksum.
    ///
    /// # Errors
    /// The rules of sections 3.5 and 5 to 8; [`Error::OverBudget`]; [`Error::Read`].
    pub fn breakdown(&self) -> Result<TensorBreakdown, Error> {
        let (container, threads) = (self.model.container(), self.model.threads());
        Ok(container.tensor_breakdown(&self.tensor, threads)?)
    }

    /// All weights of a BF16 tensor.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_into`].
    pub fn to_vec(&self) -> Result<Vec<bf16>, Error> {
        let mut weights = vec![bf16::ZERO; self.length(self.element_count())?];
        self.read_into(&mut weights)?;
        Ok(weights)
    }

    /// Decodes a whole BF16 tensor into `weights`, and checks its checksum. `weights` must be as
    /// long as the tensor. Its content is unspecified after an error.
    ///
    /// # Errors
    /// [`Error::WrongDtype`], [`Error::WrongLength`]; the rules of sections 3.5 and 5 to 8;
    /// [`Error::OverBudget`]; [`Error::Read`].
    pub fn read_into(&self, weights: &mut [bf16]) -> Result<(), Error> {
        self.require_bf16()?;
        self.require_length(self.element_count(), weights.len() as u64)?;
        self.decode_bytes(bytemuck::cast_slice_mut(weights))?;
        from_little_endian(weights);
        Ok(())
    }

    /// All original bytes of a tensor of any type.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_bytes_into`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.length(self.data_bytes())?];
        self.read_bytes_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the original bytes of a whole tensor of any type into `bytes`, and checks its
    /// checksum. `bytes` must be as long as the tensor. Its content is unspecified after an error.
    ///
    /// # Errors
    /// [`Error::WrongLength`]; the rules of sections 3.5 and 5 to 8; [`Error::OverBudget`];
    /// [`Error::Read`].
    pub fn read_bytes_into(&self, bytes: &mut [u8]) -> Result<(), Error> {
        self.require_length(self.data_bytes(), bytes.len() as u64)?;
        self.decode_bytes(bytes)
    }

    /// Same as [`Tensor::read_bytes_into`], but into uninitialised memory. All of it is initialised
    /// on success.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_bytes_into`].
    pub fn read_bytes_into_uninit(&self, bytes: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        self.require_length(self.data_bytes(), bytes.len() as u64)?;
        self.decode(Output::from(bytes))
    }

    /// The weights with indices in `range`, in row-major order, of a BF16 tensor. Reads and checks
    /// only the chunks that contain them.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_range_into`].
    pub fn range(&self, range: Range<u64>) -> Result<Vec<bf16>, Error> {
        self.require_range(&range, self.element_count())?;
        let mut weights = vec![bf16::ZERO; self.length(range.end - range.start)?];
        self.read_range_into(range, &mut weights)?;
        Ok(weights)
    }

    /// Same as [`Tensor::range`], but into `weights`, which must be as long as the range. Its
    /// content is unspecified after an error.
    ///
    /// # Errors
    /// [`Error::WrongDtype`], [`Error::WrongLength`]; the rules of sections 3.5, 5 and 6;
    /// [`Error::OverBudget`]; [`Error::Read`].
    pub fn read_range_into(&self, range: Range<u64>, weights: &mut [bf16]) -> Result<(), Error> {
        self.require_bf16()?;
        self.require_range(&range, self.element_count())?;
        self.require_length(range.end - range.start, weights.len() as u64)?;
        let container = self.model.container();
        Ok(container.decode_range(&self.tensor, range, weights)?)
    }

    /// Writes the original bytes with indices in `range` of a tensor of any type into `bytes`,
    /// which must be as long as the range. Reads and checks only the chunks or blocks that contain
    /// them. The content of `bytes` is unspecified after an error.
    ///
    /// # Errors
    /// [`Error::WrongLength`]; the rules of sections 3.5, 5 and 6; [`Error::OverBudget`];
    /// [`Error::Read`].
    pub fn read_byte_range_into(&self, range: Range<u64>, bytes: &mut [u8]) -> Result<(), Error> {
        self.read_byte_range(range, Output::from(bytes))
    }

    /// Same as [`Tensor::read_byte_range_into`], but into uninitialised memory. All of it is
    /// initialised on success.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_byte_range_into`].
    pub fn read_byte_range_into_uninit(
        &self,
        range: Range<u64>,
        bytes: &mut [MaybeUninit<u8>],
    ) -> Result<(), Error> {
        self.read_byte_range(range, Output::from(bytes))
    }

    fn read_byte_range(&self, range: Range<u64>, output: Output<'_>) -> Result<(), Error> {
        self.require_range(&range, self.data_bytes())?;
        self.require_length(range.end - range.start, output.len() as u64)?;
        let container = self.model.container();
        Ok(container.read_bytes_into(&self.tensor, range, output)?)
    }

    /// Writes the original bytes of a slice of a tensor of any type into `bytes`, in row-major order:
    /// the elements with these indices of each dimension, outermost first. `bytes` must be as long
    /// as the slice. Reads and checks only the chunks or blocks that contain the elements, each once;
    /// the checksum of the tensor is checked if the slice is all of it. The content of `bytes` is
    /// unspecified after an error.
    ///
    /// ```
    /// # fn main() -> Result<(), unweight::Error> {
    /// # let bytes: Vec<u8> = (0..12).collect();
    /// # let writer = unweight::Writer::new().tensor_bytes("w", unweight::Dtype::U8, &[3, 4], &bytes);
    /// # let model = unweight::OpenOptions::new().open_bytes(writer.finish(Vec::new())?)?;
    /// let mut column = [0; 3];
    /// model.tensor("w")?.read_slice_into(&[(0..3).into(), (1..2).into()], &mut column)?;
    /// assert_eq!(column, [1, 5, 9]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongSlice`], [`Error::WrongLength`]; the rules of sections 3.5, 5 and 6;
    /// [`Error::OverBudget`]; [`Error::Read`].
    pub fn read_slice_into(&self, slice: &[Indices], bytes: &mut [u8]) -> Result<(), Error> {
        let shape: Vec<u64> = self.shape().collect();
        let runs = Runs::new(&shape, self.dtype().bits(), slice);
        let runs = runs.map_err(|problem| Error::WrongSlice {
            tensor: self.name().to_owned(),
            problem,
        })?;
        self.require_length(runs.bytes(), bytes.len() as u64)?;
        if runs.only() == Some(0..self.data_bytes()) {
            return self.decode_bytes(bytes);
        }
        let (container, threads) = (self.model.container(), self.model.threads());
        Ok(container.read_runs(&self.tensor, &runs, threads, bytes)?)
    }

    /// Same as [`Tensor::decode`], but into initialised memory. A device can copy into it without
    /// an intermediate buffer.
    fn decode_bytes(&self, bytes: &mut [u8]) -> Result<(), Error> {
        #[cfg(feature = "cuda")]
        if let Some(cuda) = self.model.cuda() {
            let (container, threads) = (self.model.container(), self.model.threads());
            return cuda.read_into(&container, &self.tensor, threads, bytes);
        }
        self.decode(Output::from(bytes))
    }

    /// Decodes the whole tensor into `output`, which must be as long as the tensor.
    fn decode(&self, output: Output<'_>) -> Result<(), Error> {
        let (container, threads) = (self.model.container(), self.model.threads());
        #[cfg(feature = "cuda")]
        if let Some(cuda) = self.model.cuda() {
            return cuda.read_into_output(&container, &self.tensor, threads, output);
        }
        decode_tensor_into(&container, &self.tensor, threads, output)?;
        Ok(())
    }

    fn require_bf16(&self) -> Result<(), Error> {
        match self.dtype() {
            Dtype::Bf16 => Ok(()),
            found => Err(Error::WrongDtype {
                tensor: self.name().to_owned(),
                expected: Dtype::Bf16,
                found,
            }),
        }
    }

    fn require_range(&self, range: &Range<u64>, end: u64) -> Result<(), Error> {
        match range.start <= range.end && range.end <= end {
            true => Ok(()),
            false => Err(self.wrong_length(end, range.end.max(range.start))),
        }
    }

    fn require_length(&self, expected: u64, found: u64) -> Result<(), Error> {
        match expected == found {
            true => Ok(()),
            false => Err(self.wrong_length(expected, found)),
        }
    }

    /// The length of a buffer.
    fn length(&self, elements: u64) -> Result<usize, Error> {
        usize::try_from(elements).map_err(|_| self.wrong_length(usize::MAX as u64, elements))
    }

    fn wrong_length(&self, expected: u64, found: u64) -> Error {
        Error::WrongLength {
            tensor: self.name().to_owned(),
            expected,
            found,
        }
    }
}

impl std::fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tensor.fmt(f)
    }
}
