//! Files that are either Unweight or safetensors files.

use unweight_format::{Dtype, Extent, layout};

use crate::options::OpenOptions;
use crate::safetensors::{Header, SafetensorsFile, SourceTensor};
use crate::slice::Runs;
use crate::{Error, Indices, Model, Storage, Tensor, read_extent};

/// An open file of tensors: an Unweight file or a safetensors file, as its first bytes say. Both
/// give the same access, so that a program reads compressed and other checkpoints alike.
///
/// ```
/// # fn main() -> Result<(), unweight::Error> {
/// # let writer = unweight::Writer::new().tensor("w", &[2, 2], &[half::bf16::ONE; 4]);
/// # let bytes = writer.finish_safetensors(None, Vec::new())?;
/// use unweight::{Checkpoint, OpenOptions};
///
/// let compressed = Checkpoint::open_bytes(bytes.clone(), &OpenOptions::new())?;
/// let plain = Checkpoint::open_bytes(unweight::decompress(&bytes)?, &OpenOptions::new())?;
/// for checkpoint in [&compressed, &plain] {
///     let weights = checkpoint.tensor("w")?;
///     assert_eq!(weights.shape(), [2, 2]);
///     assert_eq!(weights.to_bytes()?, [0x80, 0x3f].repeat(4));
/// }
/// assert!(compressed.model().is_some() && plain.model().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    file: File,
}

#[derive(Debug)]
pub(crate) enum File {
    Unweight(Box<Model>),
    Safetensors(SafetensorsFile),
}

impl Checkpoint {
    /// Opens a file.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::open_storage`]; those of [`file::open`](crate::file::open).
    pub fn open(
        path: impl AsRef<std::path::Path>,
        options: &OpenOptions,
    ) -> Result<Checkpoint, Error> {
        let path = path.as_ref();
        let file = crate::file::open(path)?;
        Checkpoint::open_storage(file, options).map_err(|error| error.at(path))
    }

    /// Opens a file in memory.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::open_storage`].
    pub fn open_bytes(
        bytes: impl Into<Vec<u8>>,
        options: &OpenOptions,
    ) -> Result<Checkpoint, Error> {
        Checkpoint::open_storage(bytes.into(), options)
    }

    /// Opens a file in any storage. [`OpenOptions::backend`] and [`OpenOptions::coalesce`] have no
    /// effect on safetensors files. [`OpenOptions::memory`] bounds what reading either kind
    /// allocates.
    ///
    /// # Errors
    /// The errors of [`OpenOptions::open_storage`], also for a file that is of neither kind. If the
    /// file looks like a safetensors file: [`Error::Source`], [`Error::SourceLength`],
    /// [`Error::OverBudget`], [`Error::Read`].
    pub fn open_storage(
        storage: impl Storage + Send + 'static,
        options: &OpenOptions,
    ) -> Result<Checkpoint, Error> {
        let storage = options.retried(storage);
        let length = storage.byte_length().map_err(Error::Read)?;
        let file = match looks_like_safetensors(&*storage, length)? {
            false => File::Unweight(Box::new(Model::read(storage, options)?)),
            true => File::Safetensors(SafetensorsFile::read(
                storage,
                length,
                options.budget(length),
                options.threads.clone(),
            )?),
        };
        Ok(Checkpoint { file })
    }

    #[cfg(feature = "cuda")]
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// The container, if this is an Unweight file.
    pub fn model(&self) -> Option<&Model> {
        match &self.file {
            File::Unweight(model) => Some(model),
            File::Safetensors(_) => None,
        }
    }

    /// All tensors, in the order of their data.
    pub fn tensors(&self) -> Box<dyn Iterator<Item = CheckpointTensor<'_>> + '_> {
        match &self.file {
            File::Unweight(model) => Box::new(model.tensors().map(CheckpointTensor::of_model)),
            File::Safetensors(file) => {
                let tensors = file.header().tensors.iter();
                Box::new(tensors.map(|tensor| CheckpointTensor(Kind::Safetensors(file, tensor))))
            }
        }
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::NoTensor`].
    pub fn tensor(&self, name: &str) -> Result<CheckpointTensor<'_>, Error> {
        match &self.file {
            File::Unweight(model) => model.tensor(name).map(CheckpointTensor::of_model),
            File::Safetensors(file) => match file.tensor(name) {
                Some(tensor) => Ok(CheckpointTensor(Kind::Safetensors(file, tensor))),
                None => Err(Error::NoTensor(name.to_owned())),
            },
        }
    }

    /// The strings of `__metadata__` of the safetensors header, in its order. None if there is no
    /// header, or if it has none. An Unweight file's header is read each time.
    ///
    /// # Errors
    /// `source-crc`, `source-header`; [`Error::OverBudget`]; [`Error::Read`].
    pub fn metadata(&self) -> Result<Option<Vec<(String, String)>>, Error> {
        match &self.file {
            File::Unweight(model) => {
                let source = model.container().checked_source()?;
                match source.is_empty() {
                    true => Ok(None),
                    false => Ok(Header::metadata(&source)?),
                }
            }
            File::Safetensors(file) => Ok(Header::metadata(file.header_bytes())?),
        }
    }
}

/// A tensor of an open [`Checkpoint`].
#[derive(Clone, Copy, Debug)]
pub struct CheckpointTensor<'c>(Kind<'c>);

#[derive(Clone, Copy, Debug)]
enum Kind<'c> {
    Unweight(Tensor<'c>),
    Safetensors(&'c SafetensorsFile, &'c SourceTensor),
}

impl<'c> CheckpointTensor<'c> {
    fn of_model(tensor: Tensor<'c>) -> CheckpointTensor<'c> {
        CheckpointTensor(Kind::Unweight(tensor))
    }

    /// The name, unchecked as in [`Tensor::name`].
    pub fn name(&self) -> &'c str {
        match self.0 {
            Kind::Unweight(tensor) => tensor.name(),
            Kind::Safetensors(_, tensor) => &tensor.name,
        }
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        match self.0 {
            Kind::Unweight(tensor) => tensor.dtype(),
            Kind::Safetensors(_, tensor) => tensor.dtype,
        }
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> Vec<u64> {
        match self.0 {
            Kind::Unweight(tensor) => tensor.shape().collect(),
            Kind::Safetensors(_, tensor) => tensor.shape.clone(),
        }
    }

    /// Number of original bytes.
    pub fn data_bytes(&self) -> u64 {
        match self.0 {
            Kind::Unweight(tensor) => tensor.data_bytes(),
            Kind::Safetensors(_, tensor) => tensor.end - tensor.begin,
        }
    }

    /// All original bytes.
    ///
    /// # Errors
    /// The errors of [`CheckpointTensor::read_bytes_into`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.data_bytes());
        let length = length.map_err(|_| self.wrong_length(usize::MAX as u64, self.data_bytes()))?;
        let mut bytes = vec![0; length];
        self.read_bytes_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes all original bytes into `bytes`, which must be as long. The content of `bytes` is
    /// unspecified after an error.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_bytes_into`]. For a safetensors file [`Error::WrongLength`],
    /// [`Error::OverBudget`], [`Error::Read`], and [`Error::SourceLength`] if it has become shorter.
    pub fn read_bytes_into(&self, bytes: &mut [u8]) -> Result<(), Error> {
        match self.0 {
            Kind::Unweight(tensor) => tensor.read_bytes_into(bytes),
            Kind::Safetensors(..) => {
                let all: Vec<Indices> = self.shape().iter().map(|&end| (0..end).into()).collect();
                self.read_slice_into(&all, bytes)
            }
        }
    }

    /// Writes the original bytes of a slice into `bytes`, which must be as long: the elements with
    /// these indices of each dimension, outermost first, in row-major order. Reads only what
    /// contains them. The content of `bytes` is unspecified after an error.
    ///
    /// # Errors
    /// The errors of [`Tensor::read_slice_into`], or those of [`CheckpointTensor::read_bytes_into`]
    /// and [`Error::WrongSlice`].
    pub fn read_slice_into(&self, slice: &[Indices], bytes: &mut [u8]) -> Result<(), Error> {
        let (file, tensor) = match self.0 {
            Kind::Unweight(tensor) => return tensor.read_slice_into(slice, bytes),
            Kind::Safetensors(file, tensor) => (file, tensor),
        };
        let runs = Runs::new(&tensor.shape, tensor.dtype.bits(), slice);
        let runs = runs.map_err(|problem| Error::WrongSlice {
            tensor: tensor.name.clone(),
            problem,
        })?;
        if runs.bytes() != bytes.len() as u64 {
            return Err(self.wrong_length(runs.bytes(), bytes.len() as u64));
        }
        file.read_runs(tensor, &runs, bytes)
    }

    fn wrong_length(&self, expected: u64, found: u64) -> Error {
        Error::WrongLength {
            tensor: self.name().to_owned(),
            expected,
            found,
        }
    }
}

/// Whether a file begins with the length and the first byte of a safetensors header, and not with
/// the magic of an Unweight file.
fn looks_like_safetensors(storage: &dyn Storage, length: u64) -> Result<bool, Error> {
    const JSON: usize = layout::SAFETENSORS_LENGTH_BYTES as usize;
    let begin = Extent {
        offset: 0,
        length: length.min(JSON as u64 + 1),
    };
    let mut buffer = Vec::new();
    let begin = read_extent(storage, begin, &mut buffer);
    let begin = begin.map_err(|error| Error::Read(error.into()))?;
    Ok(!begin.starts_with(&layout::MAGIC) && begin.get(JSON) == Some(&b'{'))
}
