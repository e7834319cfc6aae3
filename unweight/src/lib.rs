//! Lossless compression of model weights.

#![forbid(unsafe_code)]

pub mod container;
mod memory;
mod read_error;
pub mod safetensors;
mod storage;
mod threads;

pub use container::{Container, OpenFile};
pub use memory::{MemoryBudget, OverBudget, Purpose};
pub use read_error::ReadError;
pub use storage::{Storage, StoredWeights, Weights};
pub use threads::{Executor, Serial};

/// The default chunk: 2^15 = 32,768 weights (section 11; the rationale has the measurements).
pub const DEFAULT_CHUNK_SIZE_LOG2: u8 = 15;
