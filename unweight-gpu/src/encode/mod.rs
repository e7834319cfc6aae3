//! Encoding of weights in device memory.

mod batch;
mod encoded;
pub(crate) mod job;
mod kernels;
mod launch;
pub(crate) mod plan;

pub use batch::{EncodeBatch, EncodeTask};
pub use encoded::EncodedTensor;
pub use plan::longest_payload_bytes;

pub(crate) use kernels::load_chunk_encoder;
pub(crate) use launch::{Encoder, Kept, PreparedTask, Sources, config};
