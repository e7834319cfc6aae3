//! Options of opening and compressing.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use unweight_format::{Encoding, limits};

use crate::progress::ProgressCallback;
use crate::storage::retry::{RetryPolicy, Retrying};
use crate::threads::Threads;
use crate::{
    Backend, Coalesce, DEFAULT_CHUNK_SIZE_LOG2, Error, MemoryBudget, Model, Progress, Storage,
};

/// Options for opening a container, and the resources for reading it.
///
/// ```no_run
/// # fn main() -> Result<(), unweight::Error> {
/// use unweight::{MemoryBudget, OpenOptions};
/// let budget = MemoryBudget::of_bytes(64 << 20);
/// let model = OpenOptions::new().memory(budget).threads(4).open("model.unw")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) threads: Threads,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) coalesce: Option<Coalesce>,
    pub(crate) backend: Backend,
}

impl OpenOptions {
    /// The default: enough memory for any valid file of that length, one thread for each processor,
    /// the fastest backend.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// The most memory that may be allocated for the file and one operation on it. Each of several
    /// concurrent operations may use that much.
    pub fn memory(mut self, budget: MemoryBudget) -> OpenOptions {
        self.memory = Some(budget);
        self
    }

    /// The number of threads, including the caller's. 0 means one for each processor. A shared
    /// [`Threads`] is accepted too.
    pub fn threads(mut self, threads: impl Into<Threads>) -> OpenOptions {
        self.threads = threads.into();
        self
    }

    /// Retries failed reads as long as `policy` returns true. `policy` gets the error and the
    /// number of failed attempts, and may sleep. Answers of a wrong length are retried too.
    ///
    /// Each read is copied once more, so this option suits slow storages.
    pub fn retry(
        mut self,
        policy: impl Fn(&io::Error, u32) -> bool + Send + Sync + 'static,
    ) -> OpenOptions {
        self.retry = Some(RetryPolicy::new(policy));
        self
    }

    /// Merges neighbouring reads, for storages with a high latency. By default nothing is merged:
    /// local files and memory are read as needed, without copies.
    pub fn coalesce(mut self, coalesce: Coalesce) -> OpenOptions {
        self.coalesce = Some(coalesce);
        self
    }

    /// Selects the decoder. With [`Backend::Cuda`](Backend) the device's work on a tensor also
    /// takes host memory, for its payload and its decoded bytes. An explicit budget bounds that
    /// memory; the default budget does not.
    pub fn backend(mut self, backend: Backend) -> OpenOptions {
        self.backend = backend;
        self
    }

    /// The memory budget for a file of this length.
    pub(crate) fn budget(&self, length: u64) -> MemoryBudget {
        let default = || MemoryBudget::for_file(length, &self.threads);
        self.memory.unwrap_or_else(default)
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
    /// The errors of [`OpenOptions::open_storage`]; [`Error::Read`] if the file cannot be opened.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Model, Error> {
        let file = std::fs::File::open(path).map_err(Error::Read)?;
        self.open_storage(file)
    }

    /// Opens a container in memory.
    ///
    /// # Errors
    /// The errors of [`OpenOptions::open_storage`].
    pub fn open_bytes(&self, bytes: impl Into<Vec<u8>>) -> Result<Model, Error> {
        self.open_storage(bytes.into())
    }

    /// Opens a container in any storage.
    ///
    /// # Errors
    /// The rules of sections 3.1 and 3.2 of the specification and those on directory entries;
    /// [`Error::OverBudget`]; [`Error::Read`].
    pub fn open_storage(&self, storage: impl Storage + Send + 'static) -> Result<Model, Error> {
        Model::read(self.retried(storage), self)
    }

    /// The storage, with the retries of these options.
    pub(crate) fn retried(
        &self,
        storage: impl Storage + Send + 'static,
    ) -> Box<dyn Storage + Send> {
        match &self.retry {
            Some(policy) => Box::new(Retrying::new(storage, policy.clone())),
            None => Box::new(storage),
        }
    }
}

/// Options for compressing safetensors files.
///
/// ```
/// use unweight::{CompressOptions, Encoding};
/// let options = CompressOptions::new()
///     .encoding(Encoding::Palette)
///     .select(|name| !name.contains("embed"));
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
    /// The default: Huffman codes, chunks of 2^15 weights, all tensors, one thread for each
    /// processor.
    pub fn new() -> CompressOptions {
        CompressOptions::default()
    }

    /// The encoding of fields that are coded. Those of at most 4 bits are coded with Huffman codes
    /// or not at all. Tensors that would not become smaller are always stored raw.
    pub fn encoding(mut self, encoding: Encoding) -> CompressOptions {
        self.encoding = encoding;
        self
    }

    /// Binary logarithm of the number of weights in a chunk.
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

    /// Compresses only the tensors for whose name this returns true. Others are stored raw.
    pub fn select(
        mut self,
        is_compressed: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> CompressOptions {
        self.selection = Selection(Some(Arc::new(is_compressed)));
        self
    }

    /// The most memory that may be allocated for a file.
    pub fn memory(mut self, budget: MemoryBudget) -> CompressOptions {
        self.memory = Some(budget);
        self
    }

    /// The number of threads, including the caller's. 0 means one for each processor. A shared
    /// [`Threads`] is accepted too. The output does not depend on the number.
    pub fn threads(mut self, threads: impl Into<Threads>) -> CompressOptions {
        self.threads = threads.into();
        self
    }

    /// Sets the progress callback, which is called repeatedly, from any thread. `Break` cancels
    /// with [`Error::Cancelled`].
    pub fn progress(
        mut self,
        callback: impl Fn(Progress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> CompressOptions {
        self.progress = Some(ProgressCallback::new(callback));
        self
    }
}

/// Selects the tensors to compress, by name. All are compressed by default.
#[derive(Clone, Default)]
pub(crate) struct Selection(Option<Arc<NameFilter>>);

/// Returns whether the tensor with this name is to be compressed.
type NameFilter = dyn Fn(&str) -> bool + Send + Sync;

impl Selection {
    /// Whether all tensors are selected because the caller said nothing else.
    pub(crate) fn is_default(&self) -> bool {
        self.0.is_none()
    }

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
