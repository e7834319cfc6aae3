//! Files in object stores and behind HTTP, by URL. Feature `remote`.
//!
//! ```no_run
//! # fn main() -> Result<(), unweight::Error> {
//! use unweight::OpenOptions;
//!
//! let model = OpenOptions::new().open_url("s3://bucket/model.unw")?;
//! let weights = model.tensor("w")?.range(1..3)?; // one ranged read
//! # Ok(())
//! # }
//! ```
//!
//! | URL | store | credentials and settings |
//! | --- | --- | --- |
//! | `s3://bucket/key` | S3 and what speaks its protocol | `AWS_*`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`; web identity, ECS and EC2 roles; `AWS_SKIP_SIGNATURE=true` for public buckets |
//! | `gs://bucket/key` | Google Cloud Storage | `GOOGLE_*`: `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_SERVICE_ACCOUNT`; the metadata server |
//! | `az://container/key` | Azure Blob Storage | `AZURE_*`: `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`; managed identities |
//! | `https://host/path` | a server that answers ranges | none, or a signed URL |
//! | `file:///path` | this machine | |
//!
//! Opening takes one ranged read, or two if the directory is longer than 1 MiB. Tensors are read by
//! merged ranges ([`Coalesce`]), one for each thread at a time. Requests that fail are repeated. An
//! object that changes while it is open is an error, not a mixture: each answer's size and ETag
//! (without an ETag, the time of the last change) are compared with those of the first.
//!
//! Messages name the place, without the query of a URL, and never have credentials.

mod place;
mod problem;
mod runtime;
mod store;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};
use unweight_format::Extent;

use crate::storage::coalesce::Coalesce;
use crate::{Checkpoint, Error, Model, OpenOptions, Storage};
use place::{Place, Scheme};
pub use problem::{RemoteError, RemoteProblem};
use runtime::block_on;

/// How objects are read.
///
/// ```
/// use std::time::{Duration, Instant};
/// use unweight::remote::RemoteOptions;
///
/// let options = RemoteOptions::new()
///     .setting("aws_endpoint_url", "http://localhost:9000")
///     .retries(3)
///     .patience(Duration::from_secs(20));
/// ```
#[derive(Clone)]
pub struct RemoteOptions {
    settings: BTreeMap<String, String>,
    retries: usize,
    patience: Duration,
}

impl RemoteOptions {
    /// The default: settings of the environment alone, 6 retries within 60 seconds.
    pub fn new() -> RemoteOptions {
        RemoteOptions {
            settings: BTreeMap::new(),
            retries: 6,
            patience: Duration::from_secs(60),
        }
    }

    /// A setting of the store that takes precedence over the environment. The name is that of the
    /// environment variable in lower case, for example `aws_region`.
    pub fn setting(mut self, name: &str, value: &str) -> RemoteOptions {
        self.settings
            .insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// How often a request is repeated after a failed connection, an answer that ends early, or a
    /// status that says that the server is busy.
    pub fn retries(mut self, retries: usize) -> RemoteOptions {
        self.retries = retries;
        self
    }

    /// The time from the first attempt after which a request is not repeated again, and the longest
    /// time in which a server may send nothing.
    pub fn patience(mut self, patience: Duration) -> RemoteOptions {
        self.patience = patience;
        self
    }
}

impl Default for RemoteOptions {
    fn default() -> RemoteOptions {
        RemoteOptions::new()
    }
}

/// Values of settings may be credentials.
impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("settings", &self.settings.keys())
            .field("retries", &self.retries)
            .field("patience", &self.patience)
            .finish()
    }
}

/// Whether a name is a URL: begins with a scheme and `://`. A scheme has at least two characters,
/// so that `C://` is a path.
pub fn is_url(name: &str) -> bool {
    let scheme = name.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_part = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
    scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(is_part)
}

/// An object of a store, read by ranges.
pub struct RemoteFile {
    store: Box<dyn ObjectStore>,
    path: Path,
    shown: String,
    identity: Identity,
    patience: Patience,
    /// The first bytes, which came with the length. Dropped at the first read of others.
    begin: Mutex<Option<Vec<u8>>>,
}

/// What shows that an object is still the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    length: u64,
    e_tag: Option<String>,
    /// Seconds of the epoch; compared if there is no ETag.
    modified: i64,
}

/// How answers that end early are repeated. The store itself does so only with an ETag, and then
/// does not say whether the object has changed. It repeats requests without an answer.
#[derive(Clone, Copy, Debug)]
struct Patience {
    retries: usize,
    limit: Duration,
}

impl Patience {
    fn repeat<T>(
        self,
        mut attempt: impl FnMut() -> Result<T, RemoteProblem>,
    ) -> Result<T, RemoteProblem> {
        const PAUSE: Duration = Duration::from_millis(100);
        let begin = Instant::now();
        for _ in 0..self.retries {
            match attempt() {
                Err(RemoteProblem::Interrupted) if begin.elapsed() < self.limit => {}
                done => return done,
            }
            std::thread::sleep(PAUSE);
        }
        attempt()
    }
}

impl Identity {
    fn of(meta: &ObjectMeta) -> Identity {
        Identity {
            length: meta.size,
            e_tag: meta.e_tag.clone(),
            modified: meta.last_modified.timestamp(),
        }
    }

    /// A weak ETag never matches in `If-Match`. It is compared with the answer's alone.
    fn if_match(&self) -> Option<String> {
        let e_tag = self.e_tag.as_ref()?;
        (!e_tag.starts_with("W/")).then(|| e_tag.clone())
    }

    fn is(&self, other: &Identity) -> bool {
        let is_same_time = self.e_tag.is_some() || self.modified == other.modified;
        self.length == other.length && self.e_tag == other.e_tag && is_same_time
    }
}

impl RemoteFile {
    /// Opens the object at a URL of any scheme but `file`, and reads up to `begin_bytes` of its
    /// first bytes, with which the first reads are then answered.
    ///
    /// # Errors
    /// [`Error::Read`] with a [`RemoteError`].
    pub fn open(url: &str, begin_bytes: u64, options: &RemoteOptions) -> Result<RemoteFile, Error> {
        let place = Place::parse(url).map_err(Error::Read)?;
        RemoteFile::at(&place, begin_bytes, options).map_err(Error::Read)
    }

    fn at(place: &Place, begin_bytes: u64, options: &RemoteOptions) -> io::Result<RemoteFile> {
        let shown = place.shown();
        let failed = |problem: RemoteProblem| RemoteError::at(&shown, problem);
        let store = store::build(place, options).map_err(failed)?;
        let path = place.path().map_err(failed)?;
        let patience = Patience {
            retries: options.retries,
            limit: options.patience,
        };
        let first = patience.repeat(|| block_on(first_bytes(&*store, &path, begin_bytes)));
        let (identity, begin) = first.map_err(failed)?;
        Ok(RemoteFile {
            store,
            path,
            patience,
            identity,
            begin: Mutex::new(Some(begin)),
            shown,
        })
    }

    /// The place, as messages name it: without the query of the URL.
    pub fn place(&self) -> &str {
        &self.shown
    }

    /// Answers a read with the first bytes. Drops them if they do not have all of it.
    fn read_begin(&self, extent: Extent, output: &mut [u8]) -> bool {
        let mut begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        match begin.as_deref().and_then(|bytes| extent.of(bytes)) {
            Some(bytes) => output.copy_from_slice(bytes),
            None => {
                *begin = None;
                return false;
            }
        }
        true
    }

    fn read_range(&self, extent: Extent, output: &mut [u8]) -> Result<(), RemoteProblem> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(extent.offset..extent.end())),
            if_match: self.identity.if_match(),
            ..GetOptions::default()
        };
        let attempt = async {
            let answer = self.store.get_opts(&self.path, options.clone()).await;
            let answer = answer.map_err(|error| RemoteProblem::of(&error))?;
            if !self.identity.is(&Identity::of(&answer.meta)) {
                return Err(RemoteProblem::Changed);
            }
            copy(answer, output).await
        };
        block_on(attempt)
    }
}

/// The length and ETag of an object, and its first bytes: one request, unless the object is empty.
async fn first_bytes(
    store: &dyn ObjectStore,
    path: &Path,
    begin_bytes: u64,
) -> Result<(Identity, Vec<u8>), RemoteProblem> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(0..begin_bytes.max(1))),
        ..GetOptions::default()
    };
    match store.get_opts(path, options).await {
        Ok(answer) => {
            let identity = Identity::of(&answer.meta);
            let length = (answer.range.end - answer.range.start).min(begin_bytes.max(1));
            let mut begin = vec![0; length as usize];
            copy(answer, &mut begin).await?;
            Ok((identity, begin))
        }
        // No range of an empty object can be answered.
        Err(error) => match RemoteProblem::of(&error) {
            RemoteProblem::Status(416) => {
                let meta = store.head(path).await;
                let meta = meta.map_err(|error| RemoteProblem::of(&error))?;
                match meta.size {
                    0 => Ok((Identity::of(&meta), Vec::new())),
                    _ => Err(RemoteProblem::NoRanges),
                }
            }
            problem => Err(problem),
        },
    }
}

/// Copies the bytes of an answer, which must be as many as `output` has.
async fn copy(answer: GetResult, output: &mut [u8]) -> Result<(), RemoteProblem> {
    let mut stream = answer.into_stream();
    let mut rest = output;
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| RemoteProblem::of(&error))?;
        let (these, others) = rest
            .split_at_mut_checked(bytes.len())
            .ok_or(RemoteProblem::WrongLength)?;
        these.copy_from_slice(&bytes);
        rest = others;
    }
    match rest.is_empty() {
        true => Ok(()),
        false => Err(RemoteProblem::Interrupted),
    }
}

impl Storage for RemoteFile {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.identity.length)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let length = usize::try_from(extent.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        buffer.try_reserve(length.saturating_sub(buffer.len()))?;
        buffer.resize(length, 0);
        crate::read_extent_into(self, extent, buffer)?;
        Ok(buffer)
    }

    fn read_into(&self, extent: Extent, output: &mut [u8]) -> io::Result<()> {
        let length = self.identity.length;
        if extent.offset > length || extent.length > length - extent.offset {
            return Err(crate::StorageError::ends_at(extent, length).into());
        }
        if extent.length == 0 || self.read_begin(extent, output) {
            return Ok(());
        }
        let read = self.patience.repeat(|| self.read_range(extent, output));
        read.map_err(|problem| RemoteError::at(&self.shown, problem))
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFile")
            .field("place", &self.shown)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl OpenOptions {
    /// Opens the container at a URL. Reads are merged as [`Coalesce::new`] says, unless
    /// [`OpenOptions::coalesce`] was called.
    ///
    /// # Errors
    /// The errors of [`OpenOptions::open_storage`], with the place; [`Error::Read`] with a
    /// [`RemoteError`]; for a `file` URL those of [`file::open`](crate::file::open).
    pub fn open_url(&self, url: &str) -> Result<Model, Error> {
        self.open_url_with(url, &RemoteOptions::new())
    }

    /// Does the same as [`OpenOptions::open_url`] with these settings of the store.
    ///
    /// # Errors
    /// The errors of [`OpenOptions::open_url`].
    pub fn open_url_with(&self, url: &str, remote: &RemoteOptions) -> Result<Model, Error> {
        let (storage, options, shown) = self.storage_at(url, remote)?;
        let model = options.open_storage(storage);
        model.map_err(|error| at(error, &shown))
    }

    /// The storage at a URL, how it is best read, and its place for messages.
    fn storage_at(
        &self,
        url: &str,
        remote: &RemoteOptions,
    ) -> Result<(Box<dyn Storage + Send>, OpenOptions, String), Error> {
        let place = Place::parse(url).map_err(Error::Read)?;
        let shown = place.shown();
        if place.scheme == Scheme::File {
            let path = place.local_path().map_err(Error::Read)?;
            return Ok((Box::new(crate::file::open(path)?), self.clone(), shown));
        }
        let coalesce = self.coalesce.unwrap_or_default();
        let begin_bytes = begin_bytes(coalesce, self);
        let file = RemoteFile::at(&place, begin_bytes, remote).map_err(Error::Read)?;
        Ok((Box::new(file), self.clone().coalesce(coalesce), shown))
    }
}

impl Checkpoint {
    /// Opens an Unweight or safetensors file at a URL.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::open_storage`] and [`OpenOptions::open_url`].
    pub fn open_url(
        url: &str,
        options: &OpenOptions,
        remote: &RemoteOptions,
    ) -> Result<Checkpoint, Error> {
        let (storage, options, shown) = options.storage_at(url, remote)?;
        let checkpoint = Checkpoint::open_storage(storage, &options);
        checkpoint.map_err(|error| at(error, &shown))
    }
}

/// The number of bytes that opening a container reads first, so that one request answers it.
fn begin_bytes(coalesce: Coalesce, options: &OpenOptions) -> u64 {
    let allowed = options.memory.map_or(u64::MAX, |budget| budget.bytes() / 8);
    coalesce.gap().min(coalesce.longest()).min(allowed)
}

/// Adds the place, unless the message has it.
fn at(error: Error, shown: &str) -> Error {
    let is_remote = |error: &io::Error| problem::remote_error(error).is_some();
    match &error {
        Error::Read(inner) if is_remote(inner) => error,
        _ => error.at(shown),
    }
}
