//! The Unweight codec on a CPU, for records and chunks. It does not handle files.
//!
//! - [`mod@reference`] codes and decodes one chunk, in the order of the specification: no SIMD, no
//!   threads, nothing clever. Every faster backend must equal it.
//! - [`fast`] does the same at the speed of the machine. All other crates use its
//!   [`Codec`](fast::Codec).
//! - [`TensorCounts`] keeps what the first pass over a tensor has counted for the second.
//! - [`pages`] has advice to the system about memory that is to be filled.
//!
//! # Encoding a tensor
//!
//! 1. [`reference::sample_ranges`] has the weights of the sample;
//!    [`Codec::count_sample`](fast::Codec::count_sample) counts them, and
//!    [`Sample::choose_forms`](reference::Sample::choose_forms) gives the forms. If they
//!    [are raw](reference::SampledForms::are_raw), the tensor is stored as it is.
//! 2. [`Codec::count_chunk`](fast::Codec::count_chunk) counts each chunk, on any thread.
//!    [`TensorCounts::push`] takes the results in order, and [`TensorCounts::plan`] gives the
//!    tensor's [`TensorPlan`](reference::TensorPlan).
//! 3. [`Codec::encode_chunk`](fast::Codec::encode_chunk) encodes each chunk, on any thread. If the
//!    plan has constant fields alone, [`Codec::split`](fast::Codec::split) makes the plain plane.
//!
//! The crate `unweight` handles whole tensors and files. Section numbers refer to
//! `spec/unweight.md`.

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod chunk_counts;
mod chunk_records;
pub mod fast;
pub mod pages;
pub mod reference;
mod tensor_counts;

pub use chunk_records::ChunkRecords;
pub use tensor_counts::{ChunkEntryCounts, CountedChunk, EntryCounts, TensorCounts, counts_bytes};
