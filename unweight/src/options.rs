//! Options of opening and compressing.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use unweight_format::{Encoding, limits};

use crate::progress::ProgressCallback;
use crate::storage::retry::{RetryPolicy, Retrying};
use crate::threads::Threads;
use crate::{Backend, DEFAULT_CHUNK_SIZE_LOG2, Error, MemoryBudget, Model, Progress, Storage};

/// How a container is opened, and with what means it is read.
///
/// ```no_run
/// # fn main() -> Result<(), unweight::Error> {
/// use unweight::{MemoryBudget, OpenOptions};
/// let model = OpenOptions::new().memory(MemoryBudget::of_bytes(64 << 20)).threads(4).open("model.unw")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) threads: Threads,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) backend: Backend,
}

impl OpenOptions {
    /// The default: as much memory as any valid file of that length needs, a thread for each processor, the fastest backend.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// The most memory that may be allocated for the file and one operation on it. Operations that run at the same time take as much
    /// each.
    pub fn memory(mut self, budget: MemoryBudget) -> OpenOptions {
        self.memory = Some(budget);
        self
    }

    /// The number of threads, the caller's included, 0 for one a processor; or [`Threads`] that are shared.
    pub fn threads(mut self, threads: impl Into<Threads>) -> OpenOptions {
        self.threads = threads.into();
        self
    }

    /// Reads again where the storage failed, for as long as `policy` says so. It gets the error and the number of attempts that have
    /// failed, and may sleep. A storage that gave another number of bytes than it was asked for is read again too.
    ///
    /// Each read is copied once more: for storages that are slow anyway.
    pub fn retry(
        mut self,
        policy: impl Fn(&io::Error, u32) -> bool + Send + Sync + 'static,
    ) -> OpenOptions {
        self.retry = Some(RetryPolicy::new(policy));
        self
    }

    /// What decodes. With [`Backend::Cuda`](Backend) the device's work on a tensor takes host
    /// memory too: its payload, and what it is decoded to. A budget that was given bounds that; the
    /// default budget does not.
    pub fn backend(mut self, backend: Backend) -> OpenOptions {
        self.backend = backend;
        self
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn cuda_reader(&self) -> Option<crate::cuda::CudaReader> {
        match &self.backend {
            Backend::Cuda(device) => Some(crate::cuda::CudaReader {
                device: device.clone(),
                host_budget: self.memory,
            }),
            _ => None,
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`OpenOptions::open_storage`]; [`Error::Read`] if the file cannot be opened.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Model, Error> {
        let file = std::fs::File::open(path).map_err(Error::Read)?;
        self.open_storage(file)
    }

    /// Opens a container in memory.
    ///
    /// # Errors
    /// As [`OpenOptions::open_storage`].
    pub fn open_bytes(&self, bytes: impl Into<Vec<u8>>) -> Result<Model, Error> {
        self.open_storage(bytes.into())
    }

    /// Opens a container in any storage.
    ///
    /// # Errors
    /// The rules of sections 3.1 and 3.2 of the specification and those on directory entries, [`Error::OverBudget`], [`Error::Read`].
    pub fn open_storage(&self, storage: impl Storage + Send + 'static) -> Result<Model, Error> {
        let storage: Box<dyn Storage + Send> = match &self.retry {
            Some(policy) => Box::new(Retrying::new(storage, policy.clone())),
            None => Box::new(storage),
        };
        Model::read(storage, self)
    }
}

/// How safetensors files are compressed.
///
/// ```
/// use unweight::{CompressOptions, Encoding};
/// let options = CompressOptions::new().encoding(Encoding::Palette).select(|name| !name.contains("embed"));
/// ```
#[derive(Clone, Debug)]
pub struct CompressOptions {
    pub(crate) encoding: Encoding,
    pub(crate) chunk_size_log2: u8,
    pub(crate) selection: Selection,
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) threads: Threads,
    pub(crate) progress: Option<ProgressCallback>,
}

impl Default for CompressOptions {
    fn default() -> Self {
        CompressOptions {
            encoding: Encoding::Huffman,
            chunk_size_log2: DEFAULT_CHUNK_SIZE_LOG2,
            selection: Selection::default(),
            memory: None,
            threads: Threads::default(),
            progress: None,
        }
    }
}

impl CompressOptions {
    /// The default: Huffman codes, chunks of 2^15 weights, all tensors, a thread for each processor.
    pub fn new() -> CompressOptions {
        CompressOptions::default()
    }

    /// How exponents are coded. Tensors that would not become smaller are stored raw all the same.
    pub fn encoding(mut self, encoding: Encoding) -> CompressOptions {
        self.encoding = encoding;
        self
    }

    /// Binary logarithm of the weights of a chunk.
    ///
    /// # Panics
    /// If it is not 12 to 16.
    pub fn chunk_size_log2(mut self, chunk_size_log2: u8) -> CompressOptions {
        assert!(
            limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2),
            "the binary logarithm of a chunk's weights is {chunk_size_log2}, expected 12 to 16"
        );
        self.chunk_size_log2 = chunk_size_log2;
        self
    }

    /// Codes only the tensors for whose name this is true.
    pub fn select(
        mut self,
        is_coded: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> CompressOptions {
        self.selection = Selection(Some(Arc::new(is_coded)));
        self
    }

    /// The most memory that may be allocated for a file.
    pub fn memory(mut self, budget: MemoryBudget) -> CompressOptions {
        self.memory = Some(budget);
        self
    }

    /// The number of threads, the caller's included, 0 for one a processor; or [`Threads`] that are shared. The bytes are the same for
    /// any.
    pub fn threads(mut self, threads: impl Into<Threads>) -> CompressOptions {
        self.threads = threads.into();
        self
    }

    /// Is called again and again, from any thread; `Break` cancels, with [`Error::Cancelled`].
    pub fn progress(
        mut self,
        callback: impl Fn(Progress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> CompressOptions {
        self.progress = Some(ProgressCallback::new(callback));
        self
    }
}

/// The tensors that are to be coded, by name; all of them by default.
#[derive(Clone, Default)]
pub(crate) struct Selection(Option<Arc<NameFilter>>);

/// Says of a tensor's name whether it is to be coded.
type NameFilter = dyn Fn(&str) -> bool + Send + Sync;

impl Selection {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|selected| selected(name))
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Selection(by name)",
            None => "Selection(all)",
        })
    }
}
