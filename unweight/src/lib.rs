//! Lossless compression of model weights, in files that any decoder of the Unweight specification
//! can read.
//!
//! ```
//! # fn main() -> Result<(), unweight::Error> {
//! # let header = br#"{"w":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}"#;
//! # let mut source = (header.len() as u64).to_le_bytes().to_vec();
//! # source.extend_from_slice(header);
//! # source.extend_from_slice(&[1, 0x3f, 2, 0x3f, 3, 0x3f, 4, 0x3f]);
//! use unweight::{CompressOptions, OpenOptions};
//!
//! let file = unweight::compress(&source, &CompressOptions::new())?;
//! let model = OpenOptions::new().open_bytes(file.clone())?;
//! let weights = model.tensor("w")?.range(1..3)?;
//! assert_eq!(unweight::decompress(&file)?, source);
//! # assert_eq!(weights.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Files and whole model folders on a disk, with progress, cancellation and resuming:
//!
//! ```no_run
//! # fn main() -> Result<(), unweight::Error> {
//! use unweight::{file::FileOptions, folder};
//!
//! folder::compress("Llama-3.1-8B", "Llama-3.1-8B.unw", &FileOptions::new().verify(true))?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`folder`] and [`mod@file`] convert and verify on a disk. Their outputs get their names when
//!   they are complete. [`output`] makes other files the same way, and [`temporary`] removes what a
//!   program that ends early would leave behind.
//! - [`compress`] and [`decompress`] convert files in memory. [`compress_to`] converts any
//!   [`Storage`] into any [`Sink`](format::write::Sink).
//! - [`Model`] is an open container: tensors, ranges of their weights, [`verify`](Model::verify),
//!   [`restore`](Model::restore), [`transcode`](Model::transcode).
//! - [`Checkpoint`] opens Unweight and safetensors files alike.
//! - [`Writer`] writes a container of tensors in memory.
//! - [`breakdown`] says where the bits of a file go, and [`analysis`] where those of a whole model
//!   go, before or after it is compressed.
//! - [`Backend`] selects the decoder: an instruction set of the CPU or, with the feature `cuda`, a
//!   CUDA device. With the feature, `CudaLoader` loads tensors to the caller's device memory.
//! - [`container`] is the API below these, for programs with their own threads or devices.
//!
//! With the feature `remote`, `OpenOptions::open_url` and `Checkpoint::open_url` read files in object
//! stores and behind HTTP.
//!
//! Features: `rayon` (default) for threads; `remote` for URLs; `cuda` for `Backend::Cuda`, with `unweight-gpu` as
//! `unweight::gpu` and cudarc as `unweight::cudarc`. Building with `cuda` needs neither CUDA nor a
//! device.
//!
//! Section numbers are those of the specification, `spec/unweight.md`.

#![forbid(unsafe_code)]

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod analysis;
mod backend;
pub mod breakdown;
mod checkpoint;
mod compress;
pub mod container;
#[cfg(feature = "cuda")]
mod cuda;
mod diagnostics;
mod error;
mod error_kind;
pub mod file;
pub mod folder;
mod memory;
mod model;
mod options;
pub mod output;
mod progress;
mod read_error;
#[cfg(feature = "remote")]
pub mod remote;
pub mod safetensors;
mod slice;
mod storage;
pub mod temporary;
mod tensor;
mod threads;
mod writer;

/// The version of cudarc whose streams and device memory this crate uses.
#[cfg(feature = "cuda")]
pub use unweight_gpu::cudarc;

pub use half;
pub use unweight_cpu as cpu;
pub use unweight_cpu::fast::Isa;
pub use unweight_format as format;
pub use unweight_format::{Dtype, Encoding, Form, Forms};
#[cfg(feature = "cuda")]
pub use unweight_gpu as gpu;

pub use backend::Backend;
pub use checkpoint::{Checkpoint, CheckpointTensor};
pub use compress::{CompressPlan, compress, compress_to, decompress};
#[cfg(feature = "cuda")]
pub use cuda::{CudaDevice, CudaLoader, CudaOptions, CudaTarget, Disagreement};
pub use error::Error;
pub use error_kind::ErrorKind;
pub use memory::{MemoryBudget, OverBudget, Purpose};
pub use model::Model;
pub use options::{CompressOptions, OpenOptions};
pub use progress::Progress;
pub use read_error::ReadError;
pub use slice::{Indices, SliceProblem};
pub use storage::{Coalesce, Storage, StorageError, StorageFault, read_extent, read_extent_into};
pub use tensor::Tensor;
pub use threads::{Executor, ExecutorError, Job, Refused, Serial, Threads};
pub use writer::Writer;

/// The default chunk: 2^15 = 32,768 weights (section 11; the rationale has the measurements).
pub const DEFAULT_CHUNK_SIZE_LOG2: u8 = 15;
