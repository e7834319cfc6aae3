//! An open container.

use std::error::Error as StdError;
use std::io::Write;
use std::path::Path;

use unweight_format::write::Sink;
use unweight_format::{Encoding, FileHeader};

use crate::breakdown::FileBreakdown;
use crate::container::{self, Container, Opened};
#[cfg(feature = "cuda")]
use crate::cuda::CudaReader;
use crate::options::OpenOptions;
use crate::threads::Threads;
use crate::{Error, Storage, Tensor};

/// An open container. It gives access to its tensors, whole or in part.
///
/// A model owns its storage, and can be sent to and shared between threads. Opening it reads only
/// the header, the directory and the extensions.
///
/// ```
/// # fn main() -> Result<(), unweight::Error> {
/// # let writer = unweight::Writer::new().tensor("w", &[2, 2], &[half::bf16::ONE; 4]);
/// # let bytes = writer.finish(Vec::new())?;
/// use unweight::OpenOptions;
///
/// let model = OpenOptions::new().open_bytes(bytes)?;
/// for tensor in model.tensors() {
///     println!("{} {} {:?}", tensor.name(), tensor.dtype(), tensor.shape().collect::<Vec<_>>());
/// }
/// let weights = model.tensor("w")?.range(1..3)?;
/// # assert_eq!(weights, [half::bf16::ONE; 2]);
/// # Ok(())
/// # }
/// ```
pub struct Model {
    storage: Box<dyn Storage + Send>,
    opened: Opened,
    threads: Threads,
    #[cfg(feature = "cuda")]
    cuda: Option<CudaReader>,
}

impl Model {
    /// Opens a file with the default [`OpenOptions`].
    ///
    /// # Errors
    /// The errors of [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        OpenOptions::new().open(path)
    }

    pub(crate) fn read(
        storage: Box<dyn Storage + Send>,
        options: &OpenOptions,
    ) -> Result<Model, Error> {
        let length = storage.byte_length().map_err(Error::Read)?;
        let budget = options.budget(length);
        let opened = Opened::read(&*storage, length, budget, options.coalesce)?;
        Ok(Model {
            storage,
            opened: opened.with_codec(options.backend.codec()),
            threads: options.threads.clone(),
            #[cfg(feature = "cuda")]
            cuda: options.cuda_reader(),
        })
    }

    /// The file header: version, lengths, kind of the source.
    pub fn header(&self) -> &FileHeader {
        self.opened.header()
    }

    /// All tensors, in the order of their data.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        let tensors = self.opened.directory().tensors();
        tensors.map(|tensor| Tensor::new(self, tensor))
    }

    /// Number of tensors.
    pub fn tensor_count(&self) -> u32 {
        self.opened.directory().tensor_count()
    }

    /// The tensor with this number, counted from 0 in the order of [`Model::tensors`]. Takes the
    /// same time for every number.
    pub fn tensor_at(&self, number: u32) -> Option<Tensor<'_>> {
        let tensor = self.opened.directory().tensor(number)?;
        Some(Tensor::new(self, tensor))
    }

    /// Number of bytes that [`Model::restore`] writes. A file may state more than a `u64` can hold;
    /// the result is then `u64::MAX`.
    pub fn restored_bytes(&self) -> u64 {
        let data = self.tensors().map(|tensor| tensor.data_bytes());
        data.fold(self.header().source().length, u64::saturating_add)
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::NoTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        let found = self.opened.directory().find(name);
        let tensor = found.ok_or_else(|| Error::NoTensor(name.to_owned()))?;
        Ok(Tensor::new(self, tensor))
    }

    /// Checks every rule of the specification, and every checksum.
    ///
    /// # Errors
    /// The first broken rule; [`Error::OverBudget`]; [`Error::Read`]; with
    /// [`Backend::Cuda`](crate::Backend) the errors of the device.
    pub fn verify(&self) -> Result<(), Error> {
        self.restore_with(|_| Ok(()))
    }

    /// Writes the source, byte for byte, and checks every rule of the specification on the way. The
    /// output must be discarded after an error: some checks are complete only after everything has
    /// been read.
    ///
    /// # Errors
    /// The errors of [`Model::verify`]; [`Error::Write`].
    pub fn restore(&self, output: &mut impl Write) -> Result<(), Error> {
        self.restore_with(|bytes| output.write_all(bytes).map_err(Error::Write))
    }

    /// Same as [`Model::restore`], but passes the bytes to a callback, in order and in pieces.
    ///
    /// # Errors
    /// The errors of [`Model::verify`], and those that the callback returns. [`Error::callback`]
    /// wraps an error of the caller's own type.
    pub fn restore_with(
        &self,
        output: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        #[cfg(feature = "cuda")]
        if let Some(CudaReader {
            device,
            host_budget,
        }) = &self.cuda
        {
            return device.restore(&self.container(), *host_budget, &self.threads, output);
        }
        container::restore(&self.container(), &self.threads, output)
    }

    /// Writes a container with the same tensors, with their coded fields in this encoding (section
    /// 11.9). Checks every rule of the specification on the way.
    ///
    /// # Errors
    /// The errors of [`Model::verify`]; [`Error::Write`].
    pub fn transcode<S>(&self, encoding: Encoding, sink: S) -> Result<S, Error>
    where
        S: Sink<Error: StdError + Send + Sync + 'static> + Send,
    {
        Ok(container::transcode(
            &self.container(),
            encoding,
            sink,
            &self.threads,
        )?)
    }

    /// Where the bits of the file go. Reads all tensors, and checks every rule on them except zero
    /// padding between the parts of the file.
    ///
    /// # Errors
    /// The first broken rule; [`Error::OverBudget`]; [`Error::Read`].
    pub fn breakdown(&self) -> Result<FileBreakdown<'_>, Error> {
        Ok(self.container().breakdown(&self.threads)?)
    }

    /// The lower-level API with chunks and records, for programs with their own threads or
    /// devices.
    pub fn container(&self) -> Container<'_, dyn Storage + Send> {
        self.opened.container(&*self.storage)
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn cuda(&self) -> Option<&CudaReader> {
        self.cuda.as_ref()
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("header", self.opened.header())
            .finish_non_exhaustive()
    }
}
