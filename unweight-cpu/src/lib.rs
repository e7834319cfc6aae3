//! The Unweight codec on a CPU.
//!
//! - [`mod@reference`] codes and decodes one chunk, in the order of the specification: no SIMD, no
//!   threads, nothing clever. What every faster path must equal.
//! - [`fast`] does the same at the speed of the machine, and is what everything else uses.
//! - [`Container`] opens a file (or bytes in memory) through [`Storage`] and gives tensors, chunks and
//!   ranges of weights out of it, reading only what it must.
//! - [`encode_tensor`], [`decode_tensor`] and [`transcode_tensor`] move whole tensors, into a
//!   [`ContainerWriter`](unweight_format::write::ContainerWriter) or out of a [`Container`]. They run their chunks on an
//!   [`Executor`]: [`Serial`], or one that a program makes of its thread pool.
//! - [`restore`](fn@restore) and [`transcode`] do so for a whole file, with every rule checked.
//! - [`MemoryBudget`] bounds what all of it allocates: by the file's true length, or by what the caller allows.
//! - [`safetensors`] reads the source format's header, strictly.
//!
//! Section numbers are those of `spec/unweight.md`.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use half::bf16;
//! use unweight_cpu::{Container, DEFAULT_CHUNK_SIZE_LOG2, OpenFile, Serial, encode_tensor};
//! use unweight_format::write::{ContainerWriter, Declaration};
//! use unweight_format::{Dtype, Encoding, SourceKind};
//!
//! let weights: Vec<bf16> = (0..100_000).map(|i| bf16::from_f32((i as f32).sin())).collect();
//! let declared = vec![Declaration::new("w", Dtype::Bf16, &[100, 1000])];
//! let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared)?;
//! encode_tensor(&mut writer, &weights[..], Encoding::Huffman, DEFAULT_CHUNK_SIZE_LOG2, &Serial)?;
//! let file: Vec<u8> = writer.finish()?;
//!
//! let open = OpenFile::read(file.as_slice())?;
//! let container = Container::parse(&open)?;
//! let tensor = container.directory().find("w").unwrap();
//! let mut some = [bf16::ZERO; 10];
//! container.decode_range(&tensor, 50_000..50_010, &mut some)?;
//! assert_eq!(some[..], weights[50_000..50_010]);
//! # Ok(())
//! # }
//! ```

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod budget;
mod chunk_counts;
mod container;
mod decode;
mod encode;
mod executor;
pub mod fast;
mod pool;
mod ranges;
mod read_error;
pub mod reference;
mod restore;
pub mod safetensors;
mod storage;
mod transcode;
mod weights;

pub use budget::{MemoryBudget, OverBudget, Purpose, free_thread_buffers};
pub use container::{Container, OpenFile};
pub use decode::{decode_tensor, decode_tensor_into};
pub use encode::{
    DEFAULT_CHUNK_SIZE_LOG2, TransferError, copy_raw_tensor, encode_tensor, encode_tensor_with,
};
pub use executor::{Executor, ExecutorError, Serial};
pub use read_error::ReadError;
pub use restore::restore;
pub use storage::{Storage, StorageError, StorageFault, read_extent};
pub use transcode::{transcode, transcode_tensor};
pub use weights::{StoredWeights, Weights};
