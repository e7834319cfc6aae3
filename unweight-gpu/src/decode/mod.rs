//! Decoding of tensors of any type and forms, or of ranges of their chunks.

mod batch;
mod checked;
pub(crate) mod checked_parts;
mod device_tensor;
mod input;
pub(crate) mod job;
pub(crate) mod jobs;
mod kernels;
mod launch;
pub(crate) mod launches;
pub(crate) mod plan;
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
