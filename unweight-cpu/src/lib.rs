//! The Unweight codec on a CPU: records and chunks, nothing of files.
//!
//! - [`mod@reference`] codes and decodes one chunk, in the order of the specification: no SIMD, no
//!   threads, nothing clever. Every faster backend must equal it.
//! - [`fast`] does the same at the speed of the machine. A [`Codec`](fast::Codec) is what everything else uses.
//! - [`TensorCounts`] keeps what the first pass over a tensor has counted for the second.
//!
//! Whole tensors and files are the crate `unweight`'s. Section numbers are those of `spec/unweight.md`.
//!
//! ```
//! use unweight_cpu::fast::{Codec, Scratch};
//! use unweight_cpu::reference::{ExponentCounts, TensorPlan};
//! use unweight_format::Encoding;
//!
//! let weights: Vec<u8> = (0..4096).flat_map(|i| half::bf16::from_f32((i as f32).sin()).to_le_bytes()).collect();
//! let codec = Codec::current();
//! let mut counts = ExponentCounts::default();
//! codec.count_weights(&weights, &mut counts);
//! let plan = TensorPlan::new(&counts, Encoding::Huffman);
//! let (mut sign_mantissa, mut record) = (Vec::new(), Vec::new());
//! codec.encode_weights(&mut Scratch::default(), &plan, &weights, &mut sign_mantissa, &mut record);
//! assert!(sign_mantissa.len() + record.len() < weights.len() * 7 / 10);
//! ```

mod chunk_counts;
pub mod fast;
pub mod reference;

pub use chunk_counts::{ChunkCounts, TensorCounts, counts_bytes};
