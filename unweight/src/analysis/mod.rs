//! Where the bits of a model go, before or after it is compressed, and what it takes in GPU memory.
//!
//! [`analyze`] reads the tensors of Unweight files once, and checks them on the way. Of safetensors
//! files it compresses samples: at most eight chunks of each tensor.
//!
//! ```no_run
//! # fn main() -> Result<(), unweight::Error> {
//! use unweight::analysis::{AnalysisOptions, analyze};
//!
//! let found = analyze("Llama-3.1-8B", &AnalysisOptions::new().estimate(true))?;
//! let summary = &found.summary;
//! println!("about {} of {} bytes", summary.stored_bytes, summary.original_bytes);
//! for kind in &summary.kinds {
//!     println!("{:?}: {:?} bits per weight", kind.name, kind.sum.bits_per_weight());
//! }
//! # Ok(())
//! # }
//! ```

mod collector;
mod magnitudes;
mod names;
mod result;
mod sample;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use result::{
    Analysis, DtypeSum, Histogram, KINDS, KindSum, LAYERS, LayerSum, Magnitudes, NoGain, NoGainSum,
    OUTLIER_TIMES, Parts, ResidentMemory, Sum, Summary, TensorAnalysis,
};

use crate::error::reading;
use crate::file::{Action, FileOptions, Position, Reporter, open};
use crate::{CompressOptions, CompressPlan, Error, Model, Purpose, Storage, folder};
use collector::{Collector, Found};
use sample::Sampled;

/// Options of [`analyze`].
#[derive(Clone, Debug, Default)]
pub struct AnalysisOptions {
    files: FileOptions,
    is_estimate: bool,
    fragments: Option<Fragments>,
}

/// A BF16 matrix, for an estimate of its GPU memory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Bf16Matrix<'a> {
    /// Rows: outputs.
    pub rows: u64,
    /// Columns: inputs.
    pub columns: u64,
    /// The number of occurrences of each exponent. An estimate if the model is a sample.
    pub exponents: &'a [u64; 256],
}

/// Returns the bytes of a matrix in another form, or None if it has no such form.
type BytesOf = dyn Fn(&Bf16Matrix<'_>) -> Option<u64> + Send + Sync;

#[derive(Clone)]
struct Fragments(Arc<BytesOf>);

impl fmt::Debug for Fragments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fragments")
    }
}

impl AnalysisOptions {
    /// The default: Unweight files, the default [`FileOptions`].
    pub fn new() -> AnalysisOptions {
        AnalysisOptions::default()
    }

    /// Sets threads, memory and events. An output has no meaning here.
    pub fn files(mut self, options: FileOptions) -> AnalysisOptions {
        self.files = options;
        self
    }

    /// Estimates what compression would give, from samples of safetensors files.
    pub fn estimate(mut self, is_estimate: bool) -> AnalysisOptions {
        self.is_estimate = is_estimate;
        self
    }

    /// Sets the function that returns the GPU memory of a matrix in the form of `unweight-matmul`,
    /// in bytes; None if the matrix has no such form.
    pub fn fragments(
        mut self,
        bytes: impl Fn(&Bf16Matrix<'_>) -> Option<u64> + Send + Sync + 'static,
    ) -> AnalysisOptions {
        self.fragments = Some(Fragments(Arc::new(bytes)));
        self
    }
}

/// Analyzes a file, or the files of a model folder.
///
/// Every rule on the tensors of Unweight files is checked, except zero padding between the parts of
/// a file. The memory budget is that of [`FileOptions::memory`]; the result and names of tensors
/// are counted.
///
/// # Errors
/// The errors of [`Model::breakdown`](crate::Model::breakdown), with the path of the file; for
/// samples those of [`CompressPlan::read`]; for a folder those of [`folder::containers`].
pub fn analyze(path: impl AsRef<Path>, options: &AnalysisOptions) -> Result<Analysis, Error> {
    let path = path.as_ref();
    let is_folder = path.metadata().map_err(reading(path))?.is_dir();
    let paths = match (is_folder, options.is_estimate) {
        (true, true) => folder::sources(path)?,
        (true, false) => folder::containers(path)?,
        (false, _) => vec![path.to_owned()],
    };
    let reporter = options.files.reporter();
    let work = Work {
        root: path,
        paths: &paths,
        options,
        reporter: &reporter,
    };
    work.analyze()
}

/// One run of [`analyze`].
struct Work<'a> {
    root: &'a Path,
    paths: &'a [PathBuf],
    options: &'a AnalysisOptions,
    reporter: &'a Reporter,
}

/// An open file.
enum Opened<S> {
    Unweight(Box<Model>),
    Safetensors(CompressPlan, S),
}

impl Work<'_> {
    fn analyze(&self) -> Result<Analysis, Error> {
        let mut collector = Collector::new(self.root, self.options);
        // Names first: histograms are kept for the largest kinds alone.
        for path in self.paths {
            self.reporter.require_not_cancelled()?;
            let opened = self.open(open(path)?).map_err(|error| error.at(path))?;
            (opened.each_name(|name, bytes| collector.name(name, bytes)))
                .map_err(|error| error.at(path))?;
        }
        collector.choose_kinds();
        for (number, path) in self.paths.iter().enumerate() {
            let file = open(path)?;
            let relative = path.strip_prefix(self.root).unwrap_or(path);
            let position = Position {
                number: number + 1,
                count: self.paths.len(),
                name: if relative.as_os_str().is_empty() {
                    path
                } else {
                    relative
                },
            };
            let opened = self.open(open(path)?).map_err(|error| error.at(path))?;
            let total = opened.bytes_to_read();
            drop(opened);
            let metered = self
                .reporter
                .begin(position.step(Action::Analyze), file, total)?;
            let opened = self.open(metered).map_err(|error| error.at(path))?;
            (opened.each_tensor(self.options, &mut collector)).map_err(|error| error.at(path))?;
        }
        Ok(collector.finish(self.paths.len()))
    }

    fn open<S: Storage + Send + 'static>(&self, storage: S) -> Result<Opened<S>, Error> {
        let files = &self.options.files;
        if !self.options.is_estimate {
            let model = Model::read(Box::new(storage), &files.reading)?;
            return Ok(Opened::Unweight(Box::new(model)));
        }
        let mut compression = CompressOptions::new().threads(files.reading.threads.clone());
        compression.memory = files.reading.memory;
        let plan = CompressPlan::read(&storage, &compression)?;
        Ok(Opened::Safetensors(plan, storage))
    }
}

impl<S: Storage> Opened<S> {
    /// Calls `then` with the name and the original bytes of each tensor. What an analysis keeps of
    /// them is within the memory budget.
    fn each_name(&self, mut then: impl FnMut(&str, u64)) -> Result<(), Error> {
        match self {
            Opened::Unweight(model) => {
                let needed = model.tensors().fold(0, |bytes: u64, tensor| {
                    bytes.saturating_add(collector::kept_bytes(
                        tensor.name(),
                        tensor.shape().count(),
                    ))
                });
                let container = model.container();
                let needed = container.held_bytes().saturating_add(needed);
                container.budget().require(Purpose::Report, needed)?;
                model
                    .tensors()
                    .for_each(|tensor| then(tensor.name(), tensor.data_bytes()));
            }
            Opened::Safetensors(plan, _) => {
                let tensors = &plan.header().tensors;
                let needed = tensors
                    .iter()
                    .fold(plan.header().header_bytes, |bytes, tensor| {
                        bytes
                            .saturating_add(collector::kept_bytes(&tensor.name, tensor.shape.len()))
                    });
                plan.budget().require(Purpose::Report, needed)?;
                plan.require_writable()?;
                (tensors.iter()).for_each(|tensor| then(&tensor.name, tensor.end - tensor.begin));
            }
        }
        Ok(())
    }

    /// Estimate of the bytes that [`Opened::each_tensor`] reads, with those that opening reads.
    fn bytes_to_read(&self) -> u64 {
        match self {
            Opened::Unweight(model) => model.header().file_length(),
            Opened::Safetensors(plan, _) => {
                let samples = plan.header().tensors.iter().map(sample::bytes_of);
                samples.fold(plan.header().header_bytes, u64::saturating_add)
            }
        }
    }

    fn each_tensor(
        &self,
        options: &AnalysisOptions,
        collector: &mut Collector,
    ) -> Result<(), Error> {
        let threads = &options.files.reading.threads;
        match self {
            Opened::Unweight(model) => {
                let container = model.container();
                let directory = *container.directory();
                let frame_bytes = directory.payload_start() + directory.guard().length;
                collector.file(
                    model.restored_bytes(),
                    model.header().file_length(),
                    frame_bytes,
                );
                for tensor in directory.tensors() {
                    let (breakdown, counts) = container.counted_breakdown(&tensor, threads)?;
                    collector.add(&Found::whole(&tensor, breakdown, counts));
                }
            }
            Opened::Safetensors(plan, storage) => {
                let frame_bytes = plan.frame_bytes();
                let length = storage.byte_length().map_err(Error::Read)?;
                let mut stored_bytes = frame_bytes;
                let mut buffer = Vec::new();
                for tensor in &plan.header().tensors {
                    let data = plan.header().data(tensor);
                    let sampled = Sampled::of(storage, tensor, data, threads, &mut buffer)?;
                    let found = sampled.found(tensor);
                    stored_bytes = stored_bytes.saturating_add(found.stored_bytes());
                    collector.add(&found);
                }
                collector.file(length, stored_bytes, frame_bytes);
            }
        }
        Ok(())
    }
}
