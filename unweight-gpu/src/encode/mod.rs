//! Encoding of weights in device memory.

mod batch;
mod choose;
mod encoded;
pub(crate) mod job;
mod kernels;
mod launch;
pub(crate) mod plan;
pub(crate) mod sample;
pub(crate) mod split;

pub use batch::{EncodeBatch, EncodeTask};
pub use encoded::EncodedTensor;
pub use plan::longest_payload_bytes;

pub(crate) use kernels::load_chunk_encoder;
pub(crate) use launch::{Encoder, Kept, PreparedTask, config};
