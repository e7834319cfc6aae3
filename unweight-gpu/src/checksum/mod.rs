//! Checksums of chunks and of whole tensors.

mod kernels;

pub(crate) use kernels::ChecksumKernels;
