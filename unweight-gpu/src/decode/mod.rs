//! Decoding of coded tensors, or of ranges of their chunks.

mod batch;
mod checked;
mod device_tensor;
mod input;
pub(crate) mod job;
mod kernels;
mod launch;
pub(crate) mod plan;
mod record_ends;
pub(crate) mod status;
mod task;
mod verified;

pub use batch::Batch;
pub use checked::{CheckedTensor, DecodedTensor};
pub use device_tensor::DeviceTensor;
pub use input::Input;
pub use status::BadChunk;
pub use task::DecodeTask;
pub use verified::decode_verified;

pub(crate) use kernels::DecodeKernels;
