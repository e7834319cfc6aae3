//! The Unweight codec on a CPU: records and chunks, nothing of files.
//!
//! - [`mod@reference`] codes and decodes one chunk, in the order of the specification: no SIMD, no
//!   threads, nothing clever. Every faster backend must equal it.
//! - [`fast`] does the same at the speed of the machine. A [`Codec`](fast::Codec) is what everything else uses.
//! - [`TensorCounts`] keeps what the first pass over a tensor has counted for the second.
//!
//! Whole tensors and files are the crate `unweight`'s. Section numbers are those of `spec/unweight.md`.

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod chunk_counts;
pub mod fast;
pub mod reference;

pub use chunk_counts::{ChunkCounts, TensorCounts, counts_bytes};
