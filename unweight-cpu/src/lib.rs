//! The Unweight codec on a CPU, for records and chunks. It does not handle files.
//!
//! - [`mod@reference`] codes and decodes one chunk, in the order of the specification: no SIMD, no
//!   threads, nothing clever. Every faster backend must equal it.
//! - [`fast`] does the same at the speed of the machine. All other crates use its
//!   [`Codec`](fast::Codec).
//! - [`TensorCounts`] keeps what the first pass over a tensor has counted for the second.
//!
//! The crate `unweight` handles whole tensors and files. Section numbers refer to
//! `spec/unweight.md`.

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod chunk_counts;
pub mod fast;
pub mod reference;

pub use chunk_counts::{ChunkCounts, TensorCounts, counts_bytes};
