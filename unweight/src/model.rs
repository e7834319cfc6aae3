//! An open container.

use std::error::Error as StdError;
use std::io::Write;
use std::path::Path;

use unweight_format::write::Sink;
use unweight_format::{Encoding, FileHeader};

use crate::container::{self, Container, Opened};
#[cfg(feature = "cuda")]
use crate::cuda::CudaReader;
use crate::options::OpenOptions;
use crate::threads::Threads;
use crate::{Error, MemoryBudget, Storage, Tensor};

/// An open container: its tensors, as a whole or in part.
///
/// It owns its storage and can be sent to, and shared between, threads. Only header and directory are read when it is opened.
///
/// ```
/// # fn main() -> Result<(), unweight::Error> {
/// # let bytes = unweight::Writer::new().tensor("w", &[2, 2], &[half::bf16::ONE; 4]).finish(Vec::new())?;
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
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        OpenOptions::new().open(path)
    }

    pub(crate) fn read(
        storage: Box<dyn Storage + Send>,
        options: &OpenOptions,
    ) -> Result<Model, Error> {
        let length = storage.byte_length().map_err(Error::Read)?;
        let default =
            || MemoryBudget::for_length(length).with_threads(options.threads.count() as u64);
        let budget = options.memory.unwrap_or_else(default);
        let opened = Opened::read(&*storage, length, budget)?;
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
    /// The first rule that is broken; [`Error::OverBudget`]; [`Error::Read`]; with
    /// [`Backend::Cuda`](crate::Backend) the device's.
    pub fn verify(&self) -> Result<(), Error> {
        self.restore_with(|_| Ok(()))
    }

    /// Writes the source, byte for byte, and checks every rule of the specification on the way. After an error the output is not to be
    /// used: what is wrong is known only when everything has been read.
    ///
    /// # Errors
    /// As [`Model::verify`]; [`Error::Write`].
    pub fn restore(&self, output: &mut impl Write) -> Result<(), Error> {
        self.restore_with(|bytes| output.write_all(bytes).map_err(Error::Write))
    }

    /// As [`Model::restore`], into a callback, which gets the bytes in order and in pieces.
    ///
    /// # Errors
    /// As [`Model::verify`], and what the callback returns; [`Error::callback`] makes an error of the caller's own one.
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

    /// Writes a container of the same tensors, the coded ones in this encoding, and checks every rule of the specification on the way.
    ///
    /// # Errors
    /// As [`Model::verify`]; [`Error::Write`].
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

    /// The layer below: chunks, records and planes, for programs that bring threads or devices of their own.
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
