//! Checksums of chunks and of whole tensors.

pub(crate) mod constants;
mod kernels;
mod tensors;

pub(crate) use kernels::ChecksumKernels;
pub(crate) use tensors::{TensorChunks, checksum_config, weight_checksums};
